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
	inbox     Inbox
	sent      []vrrp.Priority
	sendErr   error
	discarded map[string]uint64
}

var _ Conn = (*fakeConn)(nil)

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
			case o.inbox <- Received{ID: o.id, From: c.source, Advert: a}:
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
	silent     bool            // changes are told to nobody
	others     map[string]Link // the links beside eth0
	made       int
	watchers   map[chan map[string]Link][]string
	openErr    error
	onOpen     func(*fakeConn)
	acquireErr error
	releaseErr error
	failOnce   bool // releaseErr is for one call
	routingErr error
	routes     []vrrp.Route
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
		link:     Link{Name: "eth0", Index: 2, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}},
		others:   map[string]Link{},
		watchers: map[chan map[string]Link][]string{},
		reports:  make(chan vrrp.Report, 64),
		done:     make(chan struct{}),
	}
	set, err := NewSet(Options{
		Open: h.open, Addresser: h, Announcer: h, Links: h, Devices: h, Routing: h, Filter: h, Reports: h.reports,
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

func (h *host) open(in vrrp.Instance, source netip.Addr, inbox Inbox) (Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.openErr != nil {
		return nil, h.openErr
	}
	c := &fakeConn{lan: h.lan, host: h, id: in.ID, source: source, inbox: inbox}
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
	link := h.get(ifname)
	for _, a := range addrs {
		if !slices.Contains(link.Addrs, a) {
			link.Addrs = append(slices.Clone(link.Addrs), a)
			h.lan.logf("%s +%v", h.name, a)
		}
	}
	h.set1(link)
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
	link := h.get(ifname)
	for _, a := range addrs {
		if i := slices.Index(link.Addrs, a); i >= 0 {
			link.Addrs = slices.Delete(slices.Clone(link.Addrs), i, i+1)
			h.lan.logf("%s -%v", h.name, a)
		}
	}
	h.set1(link)
	h.tell()
	return nil
}

func (h *host) Announce(ifname string, addrs []netip.Prefix) error {
	h.lan.logf("%s announces %v", h.name, addrs)
	return nil
}

// get and set1 read and write the state of one link. The caller holds mu.
func (h *host) get(ifname string) Link {
	if ifname == h.link.Name {
		return h.link
	}
	if l, ok := h.others[ifname]; ok {
		return l
	}
	return Link{Name: ifname, Why: "link " + ifname + " does not exist"}
}

func (h *host) set1(l Link) {
	if l.Name == h.link.Name {
		h.link = l
	} else if l.Index != 0 {
		h.others[l.Name] = l
	}
}

func (h *host) Make(in vrrp.Instance) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lan.logf("%s makes %s on %s", h.name, in.VMAC.Link, in.ID.Interface)
	if _, there := h.others[in.VMAC.Link]; !there {
		h.others[in.VMAC.Link] = Link{Name: in.VMAC.Link, Index: h.nextIndex(), Up: true}
		h.tell()
	}
	return nil
}

// nextIndex is that of a link that is made: no link before had it.
func (h *host) nextIndex() int {
	h.made++
	return 100 + h.made
}

func (h *host) Delete(in vrrp.Instance) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lan.logf("%s deletes %s", h.name, in.VMAC.Link)
	delete(h.others, in.VMAC.Link)
	h.tell()
	return nil
}

func (h *host) AcquireRouting(ifname string, routes []vrrp.Route, rules []vrrp.Rule) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lan.logf("%s +%d routes +%d rules", h.name, len(routes), len(rules))
	if h.routingErr == nil {
		h.routes = append(withoutFunc(h.routes, routes, vrrp.Route.Equal), routes...)
	}
	return h.routingErr
}

func (h *host) ReleaseRouting(ifname string, routes []vrrp.Route, rules []vrrp.Rule) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lan.logf("%s -%d routes -%d rules", h.name, len(routes), len(rules))
	if h.routingErr == nil {
		h.routes = withoutFunc(h.routes, routes, vrrp.Route.Equal)
	}
	return h.routingErr
}

// routed are the routes that the host has.
func (h *host) routed() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return texts(h.routes...)
}

func (h *host) Refuse(ifname string, addrs []netip.Prefix) error {
	h.lan.logf("%s refuses %v", h.name, addrs)
	return nil
}

func (h *host) Accept(ifname string, addrs []netip.Prefix) error {
	h.lan.logf("%s accepts %v", h.name, addrs)
	return nil
}

func (h *host) Watch(ifnames ...string) (<-chan map[string]Link, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := make(chan map[string]Link, 1)
	h.watchers[ch] = ifnames
	h.tell()
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, ch)
	}
}

// tell delivers the links' states, newest wins. The caller holds mu.
func (h *host) tell() {
	if h.silent {
		return
	}
	for ch, names := range h.watchers {
		links := make(map[string]Link)
		for _, name := range names {
			links[name] = h.get(name)
		}
		put(ch, links)
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
