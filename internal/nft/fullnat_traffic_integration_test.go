//go:build integration

package nft

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/ipvs"
)

// The real server of these tests behind the director; it has no route to the client.
var realServer = map[bool]string{false: "10.1.0.9", true: "2001:db8:1::9"}

// fullNet is filterNet with a server that has no way to the client, and with a rule in IPVS's
// place, which sends what comes for a virtual address to the server's port 8080.
func fullNet(t *testing.T) (self, client, server *netnstest.NS) {
	t.Helper()
	self, client, server = filterNet(t)
	server.IP(t, "route del default")
	server.IP(t, "-6 route del default")
	server.IP(t, "route add 10.0.0.100/32 via 10.1.0.1")
	server.IP(t, "-6 route add 2001:db8::100/128 via 2001:db8:1::1")
	for family, dnat := range map[string]string{
		"ip":  "ip daddr 10.0.0.100 meta l4proto { tcp, udp } dnat to 10.1.0.9:8080",
		"ip6": "ip6 daddr 2001:db8::100 meta l4proto { tcp, udp } dnat to [2001:db8:1::9]:8080",
	} {
		self.Run(t, "nft", "add table "+family+" ipvs; add chain "+family+" ipvs pre { type nat hook prerouting priority dstnat; }; add rule "+family+" ipvs pre "+dnat)
	}
	t.Cleanup(func() { self.Run(t, "nft", "flush", "ruleset") })
	return self, client, server
}

// source sends a datagram from the client and returns the address that the server sees, or
// nothing if it gets no answer.
func source(t *testing.T, client *netnstest.NS, target string) string {
	t.Helper()
	var c net.Conn
	var err error
	client.Do(func() { c, err = net.Dial("udp", target) })
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(300*time.Millisecond)))
	_, err = c.Write([]byte("x"))
	must(t, err)
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		return ""
	}
	from, err := netip.ParseAddrPort(string(buf[:n]))
	must(t, err)
	if at := c.LocalAddr().(*net.UDPAddr); int(from.Port()) != at.Port {
		t.Errorf("%s: the server sees port %d, the client has %d", target, from.Port(), at.Port)
	}
	return from.Addr().Unmap().String()
}

// What has been sent elsewhere than the client sent it comes from the address that is asked
// for, by whatever it is told; nothing else does.
func TestConnectionsAreTranslated(t *testing.T) {
	self, client, server := fullNet(t)
	var c net.PacketConn
	var err error
	server.Do(func() { c, err = net.ListenPacket("udp", ":8080") })
	must(t, err)
	defer c.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(from.String()), from)
		}
	}()
	self.Run(t, "nft", "add table inet marker; add chain inet marker pre { type filter hook prerouting priority mangle; }; add rule inet marker pre meta l4proto udp meta mark set 10")

	const four, six = "10.0.0.100:53", "[2001:db8::100]:53"
	to4, to6 := realServer[false]+":8080", "["+realServer[true]+"]:8080"
	f := NewFullNAT()
	for _, tt := range []struct {
		name      string
		want      []ipvs.Translation
		four, six string
	}{
		{"nothing", nil, "", ""},
		{"one family", []ipvs.Translation{translation(service(ipvs.UDP, four), to4, "")}, "10.0.0.100", ""},
		{"both", []ipvs.Translation{translation(service(ipvs.UDP, four), to4, ""), translation(service(ipvs.UDP, six), to6, "")}, "10.0.0.100", "2001:db8::100"},
		{"other sources", []ipvs.Translation{translation(service(ipvs.UDP, four), to4, "10.1.0.1"), translation(service(ipvs.UDP, six), to6, "2001:db8:1::1")}, "10.1.0.1", "2001:db8:1::1"},
		{"another port", []ipvs.Translation{translation(service(ipvs.UDP, "10.0.0.100:54"), to4, ""), translation(service(ipvs.UDP, six), to6, "")}, "", "2001:db8::100"},
		{"another protocol", []ipvs.Translation{translation(service(ipvs.TCP, four), to4, ""), translation(service(ipvs.TCP, six), to6, "")}, "", ""},
		{"another real server", []ipvs.Translation{translation(service(ipvs.UDP, four), "10.1.0.10:8080", ""), translation(service(ipvs.UDP, six), "[2001:db8:1::10]:8080", "")}, "", ""},
		{"every port", []ipvs.Translation{translation(service(ipvs.UDP, "10.0.0.100:0"), to4, ""), translation(service(ipvs.UDP, "[2001:db8::100]:0"), to6, "2001:db8:1::1")}, "10.0.0.100", "2001:db8:1::1"},
		{"a mark", []ipvs.Translation{translation(ipvs.FWMarkKey(10, false), to4, "10.1.0.1"), translation(ipvs.FWMarkKey(10, true), to6, "")}, "10.1.0.1", "2001:db8::100"},
		{"another mark", []ipvs.Translation{translation(ipvs.FWMarkKey(11, false), to4, ""), translation(ipvs.FWMarkKey(11, true), to6, "")}, "", ""},
	} {
		if _, _, err := f.Ensure(tt.want); err != nil {
			t.Fatal(err)
		}
		if got := source(t, client, four); got != tt.four {
			t.Errorf("%s: the server sees %q, want %q", tt.name, got, tt.four)
		}
		if got := source(t, client, six); got != tt.six {
			t.Errorf("%s: the server sees %q, want %q", tt.name, got, tt.six)
		}
	}
	// What is for the real server itself only passes through, whatever its mark.
	server.IP(t, "route add default via 10.1.0.1")
	if _, _, err := f.Ensure([]ipvs.Translation{translation(ipvs.FWMarkKey(10, false), to4, ""), translation(service(ipvs.UDP, four), to4, "")}); err != nil {
		t.Fatal(err)
	}
	if got := source(t, client, to4); got != "10.0.0.9" {
		t.Errorf("without IPVS the server sees %q, want the client", got)
	}
}

// A real server whose connection this director does not know yet hears nothing, where others
// are told at once that there is none.
func TestUnknownConnectionsAreNotReset(t *testing.T) {
	self, _, server := filterNet(t)
	t.Cleanup(func() { self.Run(t, "nft", "flush", "ruleset") })
	f := NewFullNAT()
	for _, six := range []bool{false, true} {
		vip, to := "10.0.0.100:40000", realServer[six]+":8080"
		if six {
			vip, to = "[2001:db8::100]:40000", "["+realServer[six]+"]:8080"
		}
		vs := service(ipvs.TCP, vip)
		vs.Addr = netip.AddrPortFrom(vs.Addr.Addr(), 80)
		for _, guarded := range []bool{false, true} {
			var want []ipvs.Translation
			if guarded {
				want = []ipvs.Translation{translation(vs, to, "")}
			}
			if _, _, err := f.Ensure(want); err != nil {
				t.Fatal(err)
			}
			// The address is the director's own, and nobody listens there.
			if err := dialFrom(server, to, vip); errors.Is(err, unix.ECONNREFUSED) == guarded {
				t.Errorf("guarded %t: from %s to %s: %v", guarded, to, vip, err)
			}
		}
		other := strings.TrimSuffix(to, "8080") + "8081"
		if err := dialFrom(server, other, vip); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("from %s, where no service is: %v, want a reset", other, err)
		}
	}
}

// dialFrom connects from a port of the server.
func dialFrom(server *netnstest.NS, from, to string) (err error) {
	server.Do(func() {
		d := net.Dialer{Timeout: 300 * time.Millisecond, LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
		var c net.Conn
		if c, err = d.Dial("tcp", to); err == nil {
			c.Close()
		}
	})
	return err
}
