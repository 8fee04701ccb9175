package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// lan is a segment of channels: what one host sends, every other host's sockets of
// the same VRID receive at once. Its clock is the test's virtual one.
type lan struct {
	mu    sync.Mutex
	conns []*fakeConn
	begin time.Time
	lines []string
}

func newLAN() *lan { return &lan{begin: time.Now()} }

// logf notes what happened and when.
func (l *lan) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Since(l.begin)
	l.lines = append(l.lines, fmt.Sprintf("%v %s", at, fmt.Sprintf(format, args...)))
}

// take returns the noted lines and forgets them.
func (l *lan) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

type fakeConn struct {
	lan       *lan
	host      *host
	id        vrrp.ID
	source    netip.Addr
	adverts   chan Received
	sent      []vrrp.Priority
	sendErr   error
	discarded map[string]uint64
}

var _ Conn = (*fakeConn)(nil)

func (c *fakeConn) Adverts() <-chan Received     { return c.adverts }
func (c *fakeConn) Discarded() map[string]uint64 { return c.discarded }

func (c *fakeConn) Send(a vrrp.Advert) error {
	c.lan.mu.Lock()
	defer c.lan.mu.Unlock()
	if c.sendErr != nil {
		return c.sendErr
	}
	c.sent = append(c.sent, a.Priority)
	for _, o := range c.lan.conns {
		if o != c && o.id == c.id {
			select {
			case o.adverts <- Received{From: c.source, Advert: a}:
			default:
			}
		}
	}
	return nil
}

func (c *fakeConn) Close() error {
	c.lan.mu.Lock()
	defer c.lan.mu.Unlock()
	c.lan.conns = slices.DeleteFunc(c.lan.conns, func(o *fakeConn) bool { return o == c })
	return nil
}

// host is one director: a Set on a link, with a kernel that notes what it is told.
type host struct {
	t    *testing.T
	name string
	lan  *lan
	set  *Set

	mu         sync.Mutex
	link       Link
	watchers   []chan Link
	openErr    error
	onOpen     func(*fakeConn)
	acquireErr error
	releaseErr error
	failOnce   bool // releaseErr is for one call
	opened     []*fakeConn
	log        strings.Builder

	reports chan vrrp.Report
	cancel  context.CancelFunc
	done    chan struct{}
}

// newHost starts a host whose only link is eth0 with one address.
func newHost(t *testing.T, l *lan, name, addr string) *host {
	h := &host{
		t: t, name: name, lan: l,
		link:    Link{Name: "eth0", Index: 2, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}},
		reports: make(chan vrrp.Report, 64),
		done:    make(chan struct{}),
	}
	set, err := NewSet(Options{
		Open: h.open, Addresser: h, Announcer: h, Links: h, Reports: h.reports,
		Logger: slog.New(slog.NewTextHandler(&lockedWriter{h: h}, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.set = set
	ctx, cancel := context.WithCancel(t.Context())
	h.cancel = cancel
	go func() {
		defer close(h.done)
		if err := set.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(h.stop)
	return h
}

type lockedWriter struct{ h *host }

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.h.log.Write(b)
}

var _ io.Writer = (*lockedWriter)(nil)

func (h *host) stop() {
	h.cancel()
	<-h.done
}

func (h *host) open(in vrrp.Instance, source netip.Addr) (Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.openErr != nil {
		return nil, h.openErr
	}
	c := &fakeConn{lan: h.lan, host: h, id: in.ID, source: source, adverts: make(chan Received, 16)}
	if h.onOpen != nil {
		h.onOpen(c)
	}
	h.opened = append(h.opened, c)
	h.lan.mu.Lock()
	h.lan.conns = append(h.lan.conns, c)
	h.lan.mu.Unlock()
	return c, nil
}

func (h *host) Acquire(ifname string, addrs []netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.acquireErr != nil {
		return h.acquireErr
	}
	for _, a := range addrs {
		if !slices.Contains(h.link.Addrs, a) {
			h.link.Addrs = append(slices.Clone(h.link.Addrs), a)
			h.lan.logf("%s +%v", h.name, a)
		}
	}
	h.tell()
	return nil
}

func (h *host) Release(ifname string, addrs []netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.releaseErr; err != nil {
		if h.failOnce {
			h.releaseErr = nil
		}
		return err
	}
	for _, a := range addrs {
		if i := slices.Index(h.link.Addrs, a); i >= 0 {
			h.link.Addrs = slices.Delete(slices.Clone(h.link.Addrs), i, i+1)
			h.lan.logf("%s -%v", h.name, a)
		}
	}
	h.tell()
	return nil
}

func (h *host) Announce(ifname string, addrs []netip.Prefix) error {
	h.lan.logf("%s announces %v", h.name, addrs)
	return nil
}

func (h *host) Watch(ifname string) (<-chan Link, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := make(chan Link, 1)
	ch <- h.link
	h.watchers = append(h.watchers, ch)
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.watchers = slices.DeleteFunc(h.watchers, func(o chan Link) bool { return o == ch })
	}
}

// tell delivers the link's state, newest wins. The caller holds mu.
func (h *host) tell() {
	for _, ch := range h.watchers {
		put(ch, h.link)
	}
}

// change changes the host under its lock and tells the link's watchers.
func (h *host) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.tell()
}

// transitions returns the reports so far as text.
func (h *host) transitions() []string {
	var out []string
	for {
		select {
		case r := <-h.reports:
			s := fmt.Sprintf("%v %s %v→%v %s", r.At.Sub(h.lan.begin), r.Instance, r.From, r.To, r.Reason)
			if r.Detail != "" {
				s += ": " + r.Detail
			}
			out = append(out, s)
		default:
			return out
		}
	}
}

func (h *host) snapshot(name string) vrrp.Snapshot {
	h.t.Helper()
	s, ok := h.set.Snapshots()[name]
	if !ok {
		h.t.Fatalf("no virtual router %q", name)
	}
	return s
}

var errKernel = errors.New("the kernel says no")

// web is the instance most tests use: VRID 51 on eth0, 10.0.0.100/24, every second.
func web(priority vrrp.Priority) vrrp.Instance {
	return vrrp.Instance{
		Name: "web",
		ID:   vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 51},
		Params: vrrp.Params{
			Version: vrrp.Version3, Priority: priority, AdvertInterval: time.Second, Preempt: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")},
		},
	}
}

func only(in ...vrrp.Instance) map[string]vrrp.Instance {
	m := make(map[string]vrrp.Instance)
	for _, i := range in {
		m[i.Name] = i
	}
	return m
}

// pass lets virtual time pass and everything that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
