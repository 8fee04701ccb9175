//go:build integration

package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/internal/netnstest"
)

// newICMP makes the check of a real server without a port.
func newICMP(t testing.TB, p *Prober, addr netip.Addr) healthcheck.Checker {
	t.Helper()
	sp := tcpSpec()
	sp.Type = healthcheck.ICMP
	c, err := p.New(sp, healthcheck.Target{Addr: netip.AddrPortFrom(addr, 0), Check: sp.Name})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A real server that answers, drops requests, answers again, and loses its link, as a
// director sees it that asks it and others over the same sockets.
func TestICMPInNamespaces(t *testing.T) {
	director, host := netnstest.New(t, "director"), netnstest.New(t, "host")
	netnstest.Cable(t, director, "e0", host, "e0")
	for i, ns := range []*netnstest.NS{director, host} {
		commands(t, ns, fmt.Sprintf("ip address add 192.0.2.%d/24 dev e0; ip address add 2001:db8::%[1]d/64 dev e0 nodad", i+1))
	}
	commands(t, director, "sysctl -qw net.ipv4.neigh.e0.retrans_time_ms=20; sysctl -qw net.ipv6.neigh.e0.retrans_time_ms=20")
	var p Prober
	defer holdSockets(t, director, &p)()
	const (
		all      = "sysctl -qw net.ipv4.icmp_echo_ignore_all=0; sysctl -qw net.ipv6.icmp.echo_ignore_all=0"
		none     = "sysctl -qw net.ipv4.icmp_echo_ignore_all=1; sysctl -qw net.ipv6.icmp.echo_ignore_all=1"
		noAnswer = "timeout after 2s waiting for the echo reply"
		noRoute  = "no route to host"
	)
	for _, tt := range []struct {
		name           string
		director, host string // commands there
		want           []string
	}{
		{"up", "", "", nil},
		{"dropping", "", none, []string{noAnswer}},
		{"up again", "", all, nil},
		// It takes the kernel a while to forget the neighbour.
		{"the other end's link down", "", "ip link set e0 down", []string{noAnswer, noRoute}},
		{"link down", "ip link set e0 down", "", []string{"network unreachable"}},
	} {
		commands(t, director, tt.director)
		commands(t, host, tt.host)
		patience := 10 * time.Second // for an answer that comes
		if slices.Contains(tt.want, noAnswer) {
			patience = 200 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var asking sync.WaitGroup
		for _, addr := range []string{"192.0.2.2", "2001:db8::2"} {
			asking.Go(func() {
				err := newICMP(t, &p, netip.MustParseAddr(addr)).Check(ctx)
				if err == nil && tt.want != nil || err != nil && !slices.Contains(tt.want, err.Error()) {
					t.Errorf("%s, %s: %v, want %q", tt.name, addr, err, tt.want)
				}
			})
		}
		for range 10 { // others go on, whatever is said of these
			asking.Go(func() {
				if err := newICMP(t, &p, netip.MustParseAddr("127.0.0.1")).Check(ctx); err != nil {
					t.Errorf("%s, the director itself: %v", tt.name, err)
				}
			})
		}
		asking.Wait()
		cancel()
	}
}

// holdSockets opens a Prober's sockets in a namespace and keeps them until the returned
// function is called: probes on other threads, which are elsewhere, then use them.
func holdSockets(t testing.TB, ns *netnstest.NS, p *Prober) (release func()) {
	t.Helper()
	var leave []func()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		var s *sharedSocket
		var w *waitingEcho
		var err error
		ns.Do(func() { s, w, err = p.echoes.join(netip.MustParseAddr(addr)) })
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, func() { p.echoes.leave(s, w) })
	}
	return func() {
		for _, f := range leave {
			f()
		}
	}
}

// Ten thousand hosts that are asked at once, far more than a Monitor does, all answer.
func TestICMPManyHosts(t *testing.T) {
	ns := netnstest.New(t, "director")
	ns.IP(t, "-6 route add local 2001:db8::/64 dev lo")
	for first, hosts := range map[string]int{"127.1.0.1": 10000, "2001:db8::1": 1000} {
		t.Run(first, func(t *testing.T) {
			var p Prober
			defer holdSockets(t, ns, &p)()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			begin := make(chan struct{})
			failures := make(chan error, hosts)
			var asking sync.WaitGroup
			addr := netip.MustParseAddr(first)
			for range hosts {
				c := newICMP(t, &p, addr)
				addr = addr.Next()
				asking.Go(func() {
					<-begin
					if err := c.Check(ctx); err != nil {
						failures <- err
					}
				})
			}
			started := time.Now()
			close(begin)
			asking.Wait()
			t.Logf("%d hosts in %v", hosts, time.Since(started))
			if n := len(failures); n > 0 {
				t.Errorf("%d of %d hosts failed, the first: %v", n, hosts, <-failures)
			}
			if n := len(p.echoes.sockets[family(addr.Is6())].waiting); n != 1 { // what holds the socket
				t.Errorf("%d requests are remembered, want 1", n)
			}
		})
	}
}

// Somebody who sends replies that nobody has asked for makes nothing fail and nothing
// succeed.
func TestICMPUnderAFlood(t *testing.T) {
	director, host := netnstest.New(t, "director"), netnstest.New(t, "host")
	netnstest.Cable(t, director, "e0", host, "e0")
	director.IP(t, "address add 192.0.2.1/24 dev e0")
	host.IP(t, "address add 192.0.2.2/24 dev e0")
	director.IP(t, "neigh add 192.0.2.3 lladdr 02:00:00:00:00:99 dev e0") // nobody's
	var p Prober
	defer holdSockets(t, director, &p)()
	var flood *echoSocket
	var err error
	host.Do(func() { flood, err = openEcho(false, "") })
	if err != nil {
		t.Fatal(err)
	}
	defer flood.close()
	stop := make(chan struct{})
	var flooding sync.WaitGroup
	defer flooding.Wait()
	defer close(stop)
	forged, err := (&icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: &echo}).Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	flooding.Go(func() {
		for id := uint16(0); ; id++ { // the checksum is wrong then, which raw sockets do not mind
			select {
			case <-stop:
				return
			default:
			}
			forged[4], forged[5] = byte(id>>8), byte(id)
			if err := flood.send(netip.MustParseAddr("192.0.2.1"), forged); err != nil {
				t.Error(err)
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var asking sync.WaitGroup
	for range 256 {
		asking.Go(func() {
			if err := newICMP(t, &p, netip.MustParseAddr("192.0.2.2")).Check(t.Context()); err != nil {
				t.Errorf("a host that answers: %v", err)
			}
		})
		asking.Go(func() {
			checkCause(t, newICMP(t, &p, netip.MustParseAddr("192.0.2.3")).Check(ctx), "timeout after 2s waiting for the echo reply")
		})
	}
	asking.Wait()
}

// A socket that fails takes no real server out, and the next probe opens another.
func TestICMPSocketThatFails(t *testing.T) {
	ns := netnstest.New(t, "director")
	ns.IP(t, "address add 192.0.2.1/24 dev lo")
	var p Prober
	host := netip.MustParseAddr("192.0.2.1")
	c := newICMP(t, &p, host)
	var s *sharedSocket
	var err error
	ns.Do(func() { s, _, err = p.echoes.join(host) })
	if err != nil {
		t.Fatal(err)
	}
	waits := &waitingEcho{answer: make(chan error, 1)}
	p.echoes.mu.Lock()
	s.waiting[echoKey{}] = waits
	p.echoes.mu.Unlock()
	if err := s.receiver.Close(); err != nil {
		t.Fatal(err)
	}
	err = <-waits.answer
	checkCause(t, err, "not asked: no echo reply can be received: use of closed file")
	if !errors.Is(err, healthcheck.ErrNotAsked) {
		t.Error("a verdict, want none")
	}
	ns.Do(func() { err = c.Check(t.Context()) })
	checkCause(t, err, "")
	if p.echoes.sockets != [2]*sharedSocket{} {
		t.Error("a socket is open although nobody waits")
	}
}

// BenchmarkICMP asks one host after the other, with the socket open all the time, as it is
// with many hosts, and with one that is opened for each.
func BenchmarkICMP(b *testing.B) {
	ns := netnstest.New(b, "director")
	var p Prober
	c := newICMP(b, &p, netip.MustParseAddr("127.0.0.1"))
	ask := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Check(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("open", func(b *testing.B) {
		defer holdSockets(b, ns, &p)()
		ask(b)
	})
	b.Run("closed", func(b *testing.B) { ns.Do(func() { ask(b) }) })
}
