package vrrpconn

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

var (
	ours   = netip.MustParseAddr("10.0.0.1")
	peer   = netip.MustParseAddr("10.0.0.2")
	other  = netip.MustParseAddr("10.0.0.9")
	group4 = netip.MustParseAddr("224.0.0.18")
)

// fakeSocket plays the kernel.
type fakeSocket struct {
	in     chan any // datagram or error
	sent   chan datagram
	mu     sync.Mutex
	calls  []string
	closed chan struct{}
}

func (f *fakeSocket) receive([]byte) (datagram, error) {
	select {
	case x := <-f.in:
		if err, ok := x.(error); ok {
			return datagram{}, err
		}
		return x.(datagram), nil
	case <-f.closed:
		return datagram{}, net.ErrClosed
	}
}

func (f *fakeSocket) send(b []byte, src, dst netip.Addr, ttl int) error {
	if dst == other {
		return errors.New("no way")
	}
	f.sent <- datagram{payload: b, src: src, dst: dst, ttl: ttl, index: loopback}
	return nil
}

func (f *fakeSocket) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, s)
}

func (f *fakeSocket) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeSocket) join() error  { f.note("join"); return nil }
func (f *fakeSocket) leave() error { f.note("leave"); return nil }
func (f *fakeSocket) close() error { f.note("close"); close(f.closed); return nil }

// loopback is the index and the name that every machine has.
const loopback = 1

// fakeHub returns a Hub whose sockets on lo are fakes, and a function that gives
// the one opened last.
func fakeHub() (*Hub, func() *fakeSocket) {
	var last *fakeSocket
	h := NewHub(slog.New(slog.NewTextHandler(io.Discard, nil)))
	h.open = func(*net.Interface, vrrp.Family, vrrp.VRID) (socket, error) {
		last = &fakeSocket{in: make(chan any), sent: make(chan datagram, 8), closed: make(chan struct{})}
		last.note("open")
		return last, nil
	}
	return h, func() *fakeSocket { return last }
}

func multicast(vrid vrrp.VRID) vrrp.Instance {
	return vrrp.Instance{Name: "web", ID: vrrp.ID{Interface: "lo", Family: vrrp.IPv4, VRID: vrid}}
}

func unicast(vrid vrrp.VRID, peers ...netip.Addr) vrrp.Instance {
	in := multicast(vrid)
	in.Unicast, in.Peers = true, peers
	return in
}

// knows returns in with one other director.
func knows(in vrrp.Instance, a netip.Addr) vrrp.Instance {
	in.Senders = []vrrp.Sender{{Name: "lb-b", Addresses: []netip.Addr{a}}}
	return in
}

// hops returns in with TTLs.
func hops(in vrrp.Instance, ttl, lowest int) vrrp.Instance {
	in.TTL, in.MinTTL = ttl, lowest
	return in
}

func advert(vrid vrrp.VRID, priority vrrp.Priority) vrrp.Advert {
	return vrrp.Advert{Version: vrrp.Version3, VRID: vrid, Priority: priority, Interval: time.Second,
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")}}
}

func wire(a vrrp.Advert, src, dst netip.Addr) []byte {
	return a.AppendTo(nil, src, dst, vrrp.ChecksumPseudoHeader)
}

// good is a datagram that a multicast virtual router 51 accepts.
func good() datagram {
	return datagram{payload: wire(advert(51, 100), peer, group4), src: peer, dst: group4, ttl: 255, index: loopback}
}

// opened is a Conn with an inbox of its own.
type opened struct {
	router.Conn
	inbox router.Inbox
}

func mustOpen(t *testing.T, h *Hub, in vrrp.Instance) opened {
	t.Helper()
	inbox := make(router.Inbox, 16)
	c, err := h.Open(in, ours, inbox)
	if err != nil {
		t.Fatal(err)
	}
	return opened{c, inbox}
}

// waiting returns what a Conn has received so far.
func waiting(c opened) []router.Received {
	var rs []router.Received
	for {
		select {
		case r := <-c.inbox:
			rs = append(rs, r)
		default:
			return rs
		}
	}
}

func TestDispatch(t *testing.T) {
	with := func(f func(*datagram)) datagram {
		d := good()
		f(&d)
		return d
	}
	tests := []struct {
		name     string
		in       vrrp.Instance
		d        datagram
		accepted bool
		reason   string
	}{
		{"multicast", multicast(51), good(), true, ""},
		{"another interface", multicast(51), with(func(d *datagram) { d.index = 99 }), false, "destination"},
		{"forwarded", multicast(51), with(func(d *datagram) { d.ttl = 254 }), false, "ttl"},
		{"empty", multicast(51), with(func(d *datagram) { d.payload = nil }), false, "short"},
		{"one byte", multicast(51), with(func(d *datagram) { d.payload = d.payload[:1] }), false, "short"},
		{"seven bytes", multicast(51), with(func(d *datagram) { d.payload = d.payload[:7] }), false, "short"},
		{"cut off", multicast(51), with(func(d *datagram) { d.payload = d.payload[:10] }), false, "length"},
		{"flipped bit", multicast(51), with(func(d *datagram) { d.payload[2] ^= 1 }), false, "checksum"},
		{"another virtual router's", multicast(52), good(), false, "vrid"},
		{"another group", multicast(51), with(func(d *datagram) {
			d.dst = netip.MustParseAddr("224.0.0.1")
			d.payload = wire(advert(51, 100), peer, d.dst)
		}), false, "destination"},
		{"from a known director", knows(multicast(51), peer), good(), true, ""},
		{"from a stranger", knows(multicast(51), other), good(), false, "peer"},
		// It is the virtual router that says so.
		{"our own come back", knows(multicast(51), peer), with(func(d *datagram) {
			d.src = ours
			d.payload = wire(advert(51, 100), ours, group4)
		}), true, ""},
		{"our own come back by unicast", unicast(51, peer), with(func(d *datagram) {
			d.src, d.dst = ours, ours
			d.payload = wire(advert(51, 100), ours, ours)
		}), true, ""},
		{"unicast, forwarded", unicast(51, peer), with(func(d *datagram) {
			d.dst, d.ttl = ours, 254
			d.payload = wire(advert(51, 100), peer, ours)
		}), false, "ttl"},
		{"unicast, forwarded as is allowed", hops(unicast(51, peer), 0, 250), with(func(d *datagram) {
			d.dst, d.ttl = ours, 250
			d.payload = wire(advert(51, 100), peer, ours)
		}), true, ""},
		{"plain checksum", multicast(51), with(func(d *datagram) {
			d.payload = advert(51, 100).AppendTo(nil, peer, group4, vrrp.ChecksumPlain)
		}), true, ""},
		{"unicast to a multicast virtual router", multicast(51), with(func(d *datagram) {
			d.dst = ours
			d.payload = wire(advert(51, 100), peer, ours)
		}), false, "destination"},
		{"unicast from the peer", unicast(51, peer), with(func(d *datagram) {
			d.dst = ours
			d.payload = wire(advert(51, 100), peer, ours)
		}), true, ""},
		{"unicast from a stranger", unicast(51, peer), with(func(d *datagram) {
			d.src, d.dst = other, ours
			d.payload = wire(advert(51, 100), other, ours)
		}), false, "peer"},
		{"multicast to a unicast virtual router", unicast(51, peer), good(), false, "destination"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, sock := fakeHub()
				c := mustOpen(t, h, tt.in)
				defer c.Close()
				sock().in <- tt.d
				synctest.Wait()
				wantDiscarded := map[string]uint64{}
				if tt.reason != "" {
					wantDiscarded[tt.reason] = 1
				}
				if diff := cmp.Diff(wantDiscarded, c.Discarded()); diff != "" {
					t.Errorf("discarded (-want +got):\n%s", diff)
				}
				got := waiting(c)
				if len(got) == 1 != tt.accepted {
					t.Fatalf("received %v, want one advertisement: %v", got, tt.accepted)
				}
				if tt.accepted && (got[0].From != tt.d.src || got[0].ID != tt.in.ID || got[0].Advert.Priority != 100 || got[0].Advert.VRID != 51) {
					t.Errorf("received %+v", got[0])
				}
			})
		})
	}
}

// Several virtual routers of an interface share one socket. What cannot be said to
// be for one of them is counted on each.
func TestVirtualRoutersShareASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock := fakeHub()
		a := mustOpen(t, h, multicast(51))
		first := sock()
		b := mustOpen(t, h, multicast(52))
		u := mustOpen(t, h, unicast(53, peer))
		if sock() != first {
			t.Error("the second virtual router opened another socket")
		}
		first.in <- good()
		stray := good()
		stray.payload = wire(advert(99, 1), peer, group4)
		first.in <- stray
		synctest.Wait()
		if got := waiting(a); len(got) != 1 || got[0].ID != multicast(51).ID {
			t.Errorf("virtual router 51 received %v, want its own", got)
		}
		if n := len(waiting(b)) + len(waiting(u)); n != 0 {
			t.Errorf("the others received %d advertisements, want none", n)
		}
		for _, c := range []opened{a, b, u} {
			if diff := cmp.Diff(map[string]uint64{"vrid": 1}, c.Discarded()); diff != "" {
				t.Errorf("discarded (-want +got):\n%s", diff)
			}
		}
		if _, err := h.Open(multicast(51), ours, nil); err == nil {
			t.Error("the same virtual router was opened twice")
		}
		for _, c := range []opened{a, b, u} {
			if err := errors.Join(c.Close(), c.Close()); err != nil {
				t.Error(err)
			}
			if c.Discarded()["vrid"] != 1 {
				t.Error("the counts are gone after Close")
			}
		}
		if diff := cmp.Diff([]string{"open", "join", "leave", "close"}, first.noted()); diff != "" {
			t.Errorf("calls to the socket (-want +got):\n%s", diff)
		}
		again := mustOpen(t, h, unicast(51, peer))
		defer again.Close()
		if diff := cmp.Diff([]string{"open"}, sock().noted()); diff != "" {
			t.Errorf("calls to the new socket, which needs no group (-want +got):\n%s", diff)
		}
	})
}

func TestReceiveErrorsDoNotEndTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock := fakeHub()
		c := mustOpen(t, h, multicast(51))
		defer c.Close()
		start := time.Now()
		for range 20 {
			sock().in <- errors.New("network is down")
		}
		sock().in <- good()
		synctest.Wait()
		if n := len(waiting(c)); n != 1 {
			t.Errorf("received %d advertisements after 20 errors, want 1", n)
		}
		if got := c.Discarded()["other"]; got != 20 {
			t.Errorf("counted %d errors, want 20", got)
		}
		// 1+2+4+…+512 ms are the first ten pauses, a second each the other ten.
		if got, want := time.Since(start), 11023*time.Millisecond; got != want {
			t.Errorf("20 errors took %v, want pauses of %v", got, want)
		}
	})
}

func TestCloseDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock := fakeHub()
		c := mustOpen(t, h, multicast(51))
		for range 12 {
			sock().in <- errors.New("network is down")
		}
		synctest.Wait()
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Close waited %v for the pause to end", took)
		}
	})
}

func TestSlowReaderLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock := fakeHub()
		c := mustOpen(t, h, multicast(51))
		defer c.Close()
		for i := range 20 {
			d := good()
			d.payload = wire(advert(51, vrrp.Priority(100+i)), peer, group4)
			sock().in <- d
		}
		synctest.Wait()
		got := waiting(c)
		if len(got) != 16 || got[0].Advert.Priority != 104 || got[15].Advert.Priority != 119 {
			t.Errorf("%d advertisements waiting, want the newest 16, priorities 104 to 119", len(got))
		}
		if diff := cmp.Diff(map[string]uint64{"overflow": 4}, c.Discarded()); diff != "" {
			t.Errorf("discarded (-want +got):\n%s", diff)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	h, _ := fakeHub()
	missing := multicast(51)
	missing.ID.Interface = "nosuch0"
	for name, in := range map[string]vrrp.Instance{
		"unicast without peers": unicast(51),
		"missing interface":     missing,
	} {
		if _, err := h.Open(in, ours, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := h.Open(multicast(51), netip.MustParseAddr("fe80::1"), nil); err == nil {
		t.Error("source of another family: no error")
	}
	h.open = func(*net.Interface, vrrp.Family, vrrp.VRID) (socket, error) { return nil, errors.New("not permitted") }
	if _, err := h.Open(multicast(51), ours, nil); err == nil {
		t.Error("socket that cannot be opened: no error")
	}
}
