package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

const lacking = ": the real server is down or lacks it, or a firewall drops its answers; run hadirector doctor there and here"

// throughTests are what a failed step is called through a virtual address: what the real server
// has begun to answer has come from that address, so it is there.
var throughTests = []struct {
	name string
	typ  healthcheck.Type
	step step
	err  error
	want string
}{
	{"silence", healthcheck.TCP, connecting, deadlineReached, "connect timeout after 2s, asked through VIP 192.0.2.100" + lacking},
	{"silence for its own time", healthcheck.HTTP, connecting, &connectTimeout{time.Second, deadlineReached}, "connect timeout after 1s, asked through VIP 192.0.2.100" + lacking},
	{"no answer to a datagram", healthcheck.UDP, awaitingAnswer, deadlineReached, "timeout after 2s waiting for the answer, asked through VIP 192.0.2.100" + lacking},
	{"refused", healthcheck.TCP, connecting, failed("dial", "connect", syscall.ECONNREFUSED), "connect refused, asked through VIP 192.0.2.100"},
	{"no way", healthcheck.HTTPS, connecting, failed("dial", "connect", syscall.EHOSTUNREACH), "no route to host, asked through VIP 192.0.2.100"},
	{"a datagram is refused", healthcheck.UDP, awaitingAnswer, failed("read", "read", syscall.ECONNREFUSED), "connect refused, asked through VIP 192.0.2.100"},
	{"no answer on a connection", healthcheck.TCP, awaitingAnswer, deadlineReached, "timeout after 2s waiting for the answer"},
	{"the director's own trouble", healthcheck.TCP, connecting, failed("dial", "socket", syscall.EMFILE), "not asked: too many open files on this director"},
	{"no way to the real server", healthcheck.TCP, connecting, failed("dial", "connect", syscall.ENETUNREACH), "network unreachable, asked through VIP 192.0.2.100"},
	{"not ready", healthcheck.TCP, connecting, errNotReady, "not asked: the path through the VIP is not ready on this director"},
	{"VIPs alone", healthcheck.TCP, connecting, errOnlyVIP, "not asked: this director has no address but VIPs on the way to the real server"},
	{"too many without an answer", healthcheck.TCP, connecting, errResting, "not asked: too many probes without an answer through the VIP within the last minute"},
	{"no route", healthcheck.TCP, connecting, way{path: healthcheck.Path{VIP: netip.MustParseAddr("192.0.2.100")}}.dialed(failed("dial", "connect", syscall.ENETUNREACH)),
		"not asked: this director has no route to the VIP"},
	{"no permission", healthcheck.TCP, connecting, errNoMark, "not asked: no permission to mark packets on this director"},
}

func TestCausesThroughTheVIP(t *testing.T) {
	for _, tt := range throughTests {
		t.Run(tt.name, func(t *testing.T) {
			inner := healthcheck.CheckerFunc(func(ctx context.Context) error { return explain(ctx, tt.step, 2*time.Second, tt.err) })
			err := newThroughVIP(inner, healthcheck.Spec{Type: tt.typ}, netip.MustParseAddr("192.0.2.100")).Check(t.Context())
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("%#v does not wrap %#v", err, tt.err)
			}
		})
	}
}

func TestDocumentedCausesThroughTheVIP(t *testing.T) {
	var causes []string
	for _, tt := range throughTests {
		causes = append(causes, tt.want)
	}
	causes = slices.DeleteFunc(causes, func(c string) bool { // the other table's
		return c == "timeout after 2s waiting for the answer" || c == "not asked: too many open files on this director"
	})
	checkCausesTable(t, "cause through a VIP", causes, strings.NewReplacer("TIMEOUT", "[12]s", "ADDRESS", "[0-9.]+", "CAUSE", "[a-z ]+"))
}

// A mark for which the kernel has no service would leave the packet to whoever has the virtual
// address: nothing is sent.
func TestPathIsAskedWhenItIsOpen(t *testing.T) {
	real := listen(t, untilClosedTCP)
	var p Prober
	sp := healthcheck.Spec{Name: "x", Type: healthcheck.TCP, Timeout: time.Second}
	// The virtual address is one that nobody has, and the mark needs a privilege.
	target := healthcheck.Target{Addr: real.Addr, Check: "x", Path: healthcheck.Path{VIP: netip.MustParseAddr("127.0.0.1"), Mark: 7}}
	check := func(want error) {
		t.Helper()
		c, err := p.New(sp, target)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context()); !errors.Is(err, want) || !errors.Is(err, healthcheck.ErrNotAsked) {
			t.Errorf("cause %v, want %v", err, want)
		}
	}
	check(errNotReady)
	p.Open(map[uint32]bool{8: true})
	check(errNotReady)
	p.Open(map[uint32]bool{7: true})
	check(errOnlyVIP) // the way to 127.0.0.1 begins there
	p.Open(nil)
	check(errNotReady)
}

// A real server may have all the virtual addresses, and one that is on this director now is not
// when another one is Master.
func TestProbesComeFromNoVirtualAddress(t *testing.T) {
	var p Prober
	p.Open(map[uint32]bool{7: true})
	w := p.wayTo(healthcheck.Target{Addr: netip.MustParseAddrPort("127.0.0.1:80"), Check: "x", Path: healthcheck.Path{VIP: netip.MustParseAddr("192.0.2.100"), Mark: 7}})
	other := netip.MustParseAddr("127.0.0.1") // the way to 127.0.0.1 begins there
	for _, tt := range []struct {
		vips map[netip.Addr]bool
		want error
	}{
		{nil, nil},
		{map[netip.Addr]bool{netip.MustParseAddr("192.0.2.100"): true}, nil},
		{map[netip.Addr]bool{netip.MustParseAddr("192.0.2.100"): true, other: true}, errOnlyVIP},
		{map[netip.Addr]bool{}, nil},
	} {
		p.Avoid(tt.vips)
		var d net.Dialer
		if err := w.prepare(&d); !errors.Is(err, tt.want) || (err == nil) != (d.LocalAddr != nil) {
			t.Errorf("virtual addresses %v: %v from %v, want %v", tt.vips, err, d.LocalAddr, tt.want)
		}
	}
}

// The asked address is the virtual one, and so is the name that the real server is asked for.
func TestRequestThroughTheVIP(t *testing.T) {
	target := healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.21:8080"), Check: "x", Path: healthcheck.Path{VIP: netip.MustParseAddr("192.0.2.100"), Mark: 7}}
	sp := httpSpec()
	sp.HTTP.Host = ""
	c, err := newHTTP(sp, new(Prober).wayTo(target), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "GET /health HTTP/1.1\r\nHost: 192.0.2.100:8080\r\nUser-Agent: hadirector\r\nConnection: close\r\n\r\n"
	if diff := cmp.Diff(want, string(c.request)); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestLocalPortsComeOneAfterTheOther(t *testing.T) {
	var l localPorts
	now := time.Unix(0, 0)
	next := func() int {
		t.Helper()
		port, err := l.next(now)
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	first := next()
	if first == 0 || first != l.last || first < l.ports.first || first > l.ports.last {
		t.Fatalf("port %d of %v", first, l.ports)
	}
	l.skip = portList{{first + 1, first + 3}}
	l.last, l.ports.last = first, max(l.ports.last, first+4)
	if port := next(); port != first+4 {
		t.Errorf("port %d after %d, want %d: those between are reserved", port, first, first+4)
	}
	l.last = l.ports.last
	if port := next(); port != l.ports.first {
		t.Errorf("port %d after the last one, want %d", port, l.ports.first)
	}
}

// As long as the kernel may have a connection that never was one, its port leads to that real
// server.
func TestLocalPortsRestWithoutAnAnswer(t *testing.T) {
	var l localPorts
	now := time.Unix(0, 0)
	first, err := l.next(now)
	if err != nil {
		t.Fatal(err)
	}
	want := func(port int, wantErr error) {
		t.Helper()
		if got, err := l.next(now); got != port || err != wantErr {
			t.Errorf("after %v port %d, %v; want %d, %v", now.Sub(time.Unix(0, 0)), got, err, port, wantErr)
		}
	}
	again := func() { l.last = first - 1 } // a whole round later
	for _, port := range []int{first, first + 1} {
		l.unanswered(port, now)
	}
	l.ports.last = max(l.ports.last, first+2)
	again()
	want(first+2, nil)
	now = now.Add(rest)
	again()
	want(first, nil)
	again()
	want(first, nil)
	if len(l.resting) != 1 {
		t.Errorf("ports that rest: %v", l.resting)
	}

	// Never more probes than the kernel forgets.
	for port := l.ports.first; port <= l.ports.last; port++ {
		l.unanswered(port, now.Add(time.Duration(port-l.ports.first)*time.Millisecond))
	}
	for range 3 {
		want(0, errResting)
	}
	now = now.Add(rest - 1)
	want(0, errResting)
	now = now.Add(1)
	want(l.ports.first, nil)
	l.unanswered(l.ports.first, now)
	want(0, errResting)
	now = now.Add(time.Millisecond)
	want(l.ports.first+1, nil)
}

// A connect that has sent nothing leaves nothing behind.
func TestConnectsThatHaveBegun(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{failed("dial", "connect", syscall.ECONNREFUSED), true},
		{failed("dial", "connect", syscall.EHOSTUNREACH), true},
		{deadlineReached, true},
		{context.Canceled, true},
		{failed("dial", "connect", syscall.ENETUNREACH), false},
		{failed("dial", "socket", syscall.EMFILE), false},
		{failed("dial", "bind", syscall.EADDRINUSE), false},
		{&net.OpError{Op: "dial", Err: errNoMark}, false},
	} {
		if got := begun(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

// However many real servers there are at other virtual addresses, their probes do not bring a
// port back sooner at this one, where the kernel may still have a connection with it.
func TestLocalPortsOfEachVirtualAddress(t *testing.T) {
	var p paths
	one, other := netip.MustParseAddrPort("192.0.2.100:80"), netip.MustParseAddrPort("192.0.2.100:81")
	first, _ := p.portsTo(one).next(time.Now())
	for range maxPort {
		p.portsTo(other).next(time.Now())
	}
	l := p.portsTo(one)
	if port, _ := l.next(time.Now()); port != first+1 && first != l.ports.last {
		t.Errorf("port %d after %d", port, first)
	}
}

func TestParsePorts(t *testing.T) {
	for _, tt := range []struct {
		text string
		want portRange
		ok   bool
	}{
		{"32768\t60999\n", portRange{32768, 60999}, true},
		{"1 1", portRange{1, 1}, true},
		{"2 1", portRange{2, 1}, false},
		{"0 1", portRange{0, 1}, false},
		{"1", portRange{}, false},
		{"1 65536", portRange{1, 65535}, false},
	} {
		if got, ok := parsePortRange(tt.text); ok != tt.ok || ok && got != tt.want {
			t.Errorf("range %q: %v, %t", tt.text, got, ok)
		}
	}
	for text, want := range map[string]portList{
		"\n":                          nil,
		"8080,30000-32767\n":          {{8080, 8080}, {30000, 32767}},
		"x,1-,-2,70000,5-4,0,9-9,,10": {{9, 9}, {10, 10}},
	} {
		if got := parsePortList(text); !slices.Equal(got, want) {
			t.Errorf("list %q: %v, want %v", text, got, want)
		}
	}
}

// Whatever the kernel says, the ports are ones.
func FuzzParsePorts(f *testing.F) {
	f.Add("32768\t60999\n")
	f.Add("8080,30000-32767\n")
	f.Fuzz(func(t *testing.T, text string) {
		list := parsePortList(text)
		if r, ok := parsePortRange(text); ok {
			list = append(list, r)
		}
		for _, r := range list {
			if r.first < 1 || r.first > r.last || r.last > maxPort || !list.has(r.first) || !list.has(r.last) {
				t.Errorf("%q: %v", text, r)
			}
		}
	})
}
