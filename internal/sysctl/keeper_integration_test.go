//go:build integration

package sysctl

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/ipvs"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	m.Run()
}

// What the kernel does with a switch for all interfaces, and that all of it is as before in
// the end.
func TestKeeperInANamespace(t *testing.T) {
	self := netnstest.Self()
	router := netnstest.New(t, "router")
	netnstest.Cable(t, router, "eth0", self, "eth0")
	netnstest.Cable(t, router, "eth0.5", self, "eth0.5")
	self.Sysctl(t, "net/ipv4/ip_forward", "0")
	self.Sysctl(t, "net/ipv6/conf/all/forwarding", "0")
	self.Sysctl(t, "net/ipv4/conf/eth0.5/forwarding", "1")
	self.Sysctl(t, "net/ipv4/conf/all/accept_redirects", "0")
	self.Sysctl(t, "net/ipv6/conf/eth0/accept_ra", "1")
	advertised := func() bool { return strings.Contains(self.Run(t, "ip", "-6", "route", "show", "default"), "proto ra") }
	learn := func() {
		for deadline := time.Now().Add(10 * time.Second); !advertised(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no route from the router's advertisements")
			}
			router.Do(func() { advertise(t, "eth0") })
		}
	}
	learn()
	all := func() string {
		return self.Run(t, "sysctl", "-a", "-r", `^net\.ipv[46]\.(ip_forward|conf\..*\.(forwarding|accept_redirects|accept_ra|send_redirects))$`)
	}
	before := all()
	if !strings.Contains(before, "net.ipv4.conf.eth0/5.forwarding = 1") {
		t.Fatalf("parameters before:\n%s", before)
	}

	file := filepath.Join(t.TempDir(), "parameters.json")
	want := []ipvs.Parameter{
		param("net.ipv4.ip_forward", "1"), param("net.ipv4.conf.all.send_redirects", "0"), param("net.ipv4.conf.eth0/5.send_redirects", "0"),
		{Name: "net.ipv6.conf.eth0.accept_ra", Value: "2", From: "1", With: "net.ipv6.conf.all.forwarding"}, param("net.ipv6.conf.all.forwarding", "1"),
	}
	newKeeper := func() *Keeper {
		k, err := NewKeeper(file)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, s := range ensure(t, newKeeper(), want...) {
		if !strings.HasSuffix(s, " set") {
			t.Errorf("%s", s)
		}
	}
	for _, p := range want {
		if v, err := Get(Dotted(p.Name)); err != nil || v != p.Value {
			t.Errorf("%s = %q, %v", p.Name, v, err)
		}
	}
	if !advertised() {
		t.Error("forwarding has cost the route from the router's advertisement")
	}
	self.Sysctl(t, "net/ipv4/ip_forward", "0")
	k := newKeeper()
	ensure(t, k, want...)
	self.Sysctl(t, "net/ipv4/conf/all/send_redirects", "1")
	if s := ensure(t, k, want...); s[1] != "net.ipv4.conf.all.send_redirects=0 was 1 repaired, found 1" {
		t.Errorf("%q", s)
	}
	release(t, k)
	if diff := cmp.Diff(before, all()); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
	if !advertised() {
		t.Error("the end of forwarding has cost the route from the router's advertisement")
	}
	// The kernel deletes what it has learned since the last time.
	self.Run(t, "ip", "-6", "route", "del", "default")
	learn()
	if self.Sysctl(t, "net/ipv6/conf/all/forwarding", "1"); advertised() {
		t.Error("forwarding alone does not cost the route: accept_ra need not be kept")
	}
}

// advertise sends one router advertisement, which makes the sender a default router for half
// an hour (RFC 4861 section 4.2).
func advertise(t *testing.T, ifname string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	iface, err := net.InterfaceByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::1").As16(), ZoneId: uint32(iface.Index)}
	message := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0} // the kernel adds the checksum
	// It cannot be sent yet as long as the link-local address is tentative.
	if err := unix.Sendto(fd, message, 0, to); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENETUNREACH) {
		t.Fatal(err)
	}
}
