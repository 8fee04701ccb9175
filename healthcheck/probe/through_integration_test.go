//go:build integration

package probe

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/internal/netnstest"
)

// A director sends probes through a virtual address with their mark, from its own address
// whether it has the virtual one or not, and from one local port after the other. Routing by
// the mark stands for IPVS here.
func TestProbesThroughTheVIPComeFromTheDirector(t *testing.T) {
	const mark = 0x68000001
	for _, f := range []struct{ name, flag, director, real, vip, bits string }{
		{"IPv4", "-4", "10.0.0.11", "10.0.0.21", "10.0.0.100", "24"},
		{"IPv6", "-6", "2001:db8::11", "2001:db8::21", "2001:db8::100", "64"},
	} {
		for _, master := range []bool{false, true} {
			role := map[bool]string{false: " Backup", true: " Master"}[master]
			t.Run(f.name+role, func(t *testing.T) {
				director, real := netnstest.New(t, "director"), netnstest.New(t, "real")
				netnstest.Cable(t, director, "eth0", real, "eth0")
				real.Sysctl(t, "net/ipv4/conf/all/arp_ignore", "1")
				real.IP(t, "link set lo up")
				real.IP(t, "addr add "+f.real+"/"+f.bits+" dev eth0 nodad")
				real.IP(t, "addr add "+f.vip+" dev lo")
				director.IP(t, "link set lo up")
				director.IP(t, "addr add "+f.director+"/"+f.bits+" dev eth0 nodad")
				// Strict filtering is no matter where the virtual address is on the same interface.
				director.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1")
				if master {
					director.IP(t, "addr add "+f.vip+"/"+f.bits+" dev eth0 nodad preferred_lft 0")
					director.Sysctl(t, "net/ipv4/conf/eth0/accept_local", "1")
				}
				director.IP(t, f.flag+" rule add pref 10 fwmark 0x68000001 lookup 100")
				director.IP(t, f.flag+" rule add pref 20 lookup local")
				director.IP(t, f.flag+" rule del pref 0")
				director.IP(t, f.flag+" route add "+f.vip+" via "+f.real+" table 100")

				var l net.Listener
				var err error
				real.Do(func() { l, err = net.Listen("tcp", net.JoinHostPort(f.vip, "8080")) })
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				from := make(chan netip.AddrPort)
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						from <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
						c.Close()
					}
				}()

				var p Prober
				p.Open(map[uint32]bool{mark: true})
				sp := healthcheck.Spec{Name: "x", Type: healthcheck.TCP, Timeout: 2 * time.Second, TCP: healthcheck.TCPSpec{Expect: "x"}}
				target := healthcheck.Target{
					Addr: netip.AddrPortFrom(netip.MustParseAddr(f.real), 8080), Check: "x",
					Path: healthcheck.Path{VIP: netip.MustParseAddr(f.vip), Mark: mark},
				}
				c, err := p.New(sp, target)
				if err != nil {
					t.Fatal(err)
				}
				var ports [2]uint16
				for i := range ports {
					ctx, cancel := context.WithTimeout(t.Context(), sp.Timeout)
					defer cancel()
					done := make(chan error, 1)
					go director.Do(func() { done <- c.Check(ctx) })
					select {
					case got := <-from:
						if got.Addr() != netip.MustParseAddr(f.director) {
							t.Errorf("the probe came from %v, want %s", got.Addr(), f.director)
						}
						ports[i] = got.Port()
					case err := <-done:
						t.Fatalf("the probe has not come: %v", err)
					}
					if err := <-done; err == nil || err.Error() != "closed by peer while waiting for the answer" {
						t.Errorf("cause %v, want that the connection ended without an answer", err)
					}
				}
				if ports[1] != ports[0]+1 && int(ports[1]) != p.paths.portsTo(target.Asked()).ports.first {
					t.Errorf("ports %v, want one after the other", ports)
				}
				if r := p.paths.portsTo(target.Asked()).resting; len(r) > 0 {
					t.Errorf("ports of connections that were ones rest: %v", r)
				}
				l.Close()
				director.Do(func() { err = c.Check(t.Context()) })
				if want := "connect refused, asked through VIP " + f.vip; err == nil || err.Error() != want {
					t.Errorf("cause %v, want %s", err, want)
				}
				if r := p.paths.portsTo(target.Asked()).resting; len(r) != 1 {
					t.Errorf("ports that rest after a refusal: %v", r)
				}
			})
		}
	}
}
