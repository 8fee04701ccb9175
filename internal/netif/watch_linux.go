package netif

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp/router"
)

var _ router.Links = (*Watcher)(nil)

const (
	// netlinkTimeout bounds every request to the kernel. The answer normally takes
	// microseconds; a lost one must not hold a virtual router for long.
	netlinkTimeout = 2 * time.Second
	// eventBuffer is the receive buffer of a subscription. Thousands of virtual
	// addresses that change at once fit.
	eventBuffer = 4 << 20
	// The time between two attempts to subscribe doubles from the first to the last.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Watcher follows the machine's links and addresses. [Watcher.Run] does the work;
// [Watcher.Watch] may be called by any goroutine, before Run and while it runs.
type Watcher struct {
	logger *slog.Logger

	// mu guards what follows: Run writes the table, Watch and its stop functions
	// write the subscribers.
	mu     sync.Mutex
	synced bool // the table has been read from the kernel
	table  *table
	subs   map[*subscriber]struct{}
}

// subscriber is one Watch.
type subscriber struct {
	names []string
	ch    chan map[string]router.Link // one element; the newest replaces an unread one
	last  map[string]router.Link      // nil before the first
}

// NewWatcher returns a Watcher that does nothing until Run.
func NewWatcher(logger *slog.Logger) *Watcher {
	return &Watcher{logger: logger, table: newTable(), subs: map[*subscriber]struct{}{}}
}

// Watch delivers the state of all the named interfaces as soon as it is known and
// whenever it changes; an unread state is replaced by a newer one. The interfaces need
// not exist. The channel is never closed; stop ends the delivery and may be called more
// than once.
func (w *Watcher) Watch(ifnames ...string) (changes <-chan map[string]router.Link, stop func()) {
	s := &subscriber{names: ifnames, ch: make(chan map[string]router.Link, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs[s] = struct{}{}
	if w.synced {
		s.publish(w.table.state)
	}
	return s.ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.subs, s)
	}
}

// publish is called with the Watcher's mutex held, so nobody else fills the
// channel between taking the old state out and putting the new one in.
func (s *subscriber) publish(state func(name string) router.Link) {
	now := make(map[string]router.Link, len(s.names))
	for _, name := range s.names {
		now[name] = state(name)
	}
	if s.last != nil && maps.EqualFunc(s.last, now, sameState) {
		return
	}
	s.last = now
	select {
	case <-s.ch:
	default:
	}
	s.ch <- now
}

// change applies f to the table and tells the subscribers what has become of it.
func (w *Watcher) change(f func(*table)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.table)
	if !w.synced {
		return
	}
	// Hundreds of virtual routers watch one interface with hundreds of addresses.
	states := make(map[string]router.Link)
	for s := range w.subs {
		s.publish(func(name string) router.Link {
			l, ok := states[name]
			if !ok {
				l = w.table.state(name)
				states[name] = l
			}
			return l
		})
	}
}

// Run follows the kernel until ctx is cancelled, then returns nil. When the kernel
// drops messages, because more came than the socket could hold, Run subscribes
// again and reads everything anew; subscribers see only what is different
// afterwards.
func (w *Watcher) Run(ctx context.Context) error {
	return keepFollowing(ctx, w.logger, w.follow)
}

// keepFollowing calls follow again and again until ctx is cancelled. Each different
// error is said once, until follow has called synced: then it works again.
func keepFollowing(ctx context.Context, logger *slog.Logger, follow func(ctx context.Context, synced func()) error) error {
	retry := firstRetry
	said := map[string]bool{}
	for {
		began := time.Now()
		err := follow(ctx, func() {
			if len(said) > 0 {
				logger.Info("link subscription works again")
				clear(said)
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > lastRetry {
			retry = firstRetry
		}
		if text := fmt.Sprint(err); !said[text] {
			said[text] = true
			logger.Warn("link subscription lost, subscribing again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
	}
}

// follow subscribes, reads the present state and applies messages until the
// subscription ends. It subscribes before it reads: what changes in between is
// then told twice, and not lost. It calls synced when it has read the state.
func (w *Watcher) follow(ctx context.Context, synced func()) error {
	done := make(chan struct{})
	links := make(chan netlink.LinkUpdate)
	addrs := make(chan netlink.AddrUpdate)
	var running []func() // drain what the library's goroutine still wants to send
	defer func() {
		close(done)
		for _, drain := range running {
			drain()
		}
	}()

	// The library calls back from its two goroutines.
	lost := make(chan error, 2)
	report := func(err error) {
		select {
		case lost <- err:
		default:
		}
	}
	err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{
		ErrorCallback: report, ReceiveBufferSize: eventBuffer, ReceiveBufferForceSize: true,
	})
	if err != nil {
		return fmt.Errorf("subscribe to link changes: %w", err)
	}
	running = append(running, func() {
		for range links {
		}
	})
	err = netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{
		ErrorCallback: report, ReceiveBufferSize: eventBuffer, ReceiveBufferForceSize: true,
	})
	if err != nil {
		return fmt.Errorf("subscribe to address changes: %w", err)
	}
	running = append(running, func() {
		for range addrs {
		}
	})

	fresh, err := readTable()
	if err != nil {
		return err
	}
	w.change(func(t *table) {
		*t = *fresh
		w.synced = true
	})
	synced()

	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return err
		case u, ok := <-links:
			if !ok {
				return subscriptionEnd(lost)
			}
			w.change(func(t *table) { applyLink(t, u) })
		case u, ok := <-addrs:
			if !ok {
				return subscriptionEnd(lost)
			}
			w.change(func(t *table) { applyAddr(t, u) })
		}
	}
}

// subscriptionEnd is why a subscription's channel was closed.
func subscriptionEnd(lost <-chan error) error {
	select {
	case err := <-lost:
		return err
	default:
		return errors.New("subscription closed")
	}
}

func applyLink(t *table, u netlink.LinkUpdate) {
	// A bridge reports its ports in the same message type, in a family of its own:
	// RTM_DELLINK then means that the port has left the bridge.
	if u.IfInfomsg.Family != unix.AF_UNSPEC {
		return
	}
	if u.Header.Type == unix.RTM_DELLINK {
		t.delLink(u.Attrs().Index)
		return
	}
	t.setLink(linkOf(u.Link))
}

func applyAddr(t *table, u netlink.AddrUpdate) {
	p, ok := prefixOf(&u.LinkAddress)
	if !ok {
		return
	}
	if u.NewAddr {
		t.setAddr(u.LinkIndex, addressOf(p, u.Flags))
	} else {
		t.delAddr(u.LinkIndex, p)
	}
}

// readTable reads all links and addresses.
func readTable() (*table, error) {
	h, err := openHandle()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	t := newTable()
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		t.setLink(linkOf(l))
	}
	addrs, err := listAddrs(h, nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			t.setAddr(a.LinkIndex, addressOf(p, a.Flags))
		}
	}
	return t, nil
}

func linkOf(l netlink.Link) link {
	a := l.Attrs()
	return link{
		index:   a.Index,
		name:    a.Name,
		adminUp: a.RawFlags&unix.IFF_UP != 0,
		// LOWER_UP is the carrier. RUNNING is an operational state of up, or of unknown
		// as dummies and some tunnels have it for ever; it comes a moment later, when
		// what is sent is no longer dropped.
		carrier: a.RawFlags&unix.IFF_LOWER_UP != 0 && a.RawFlags&unix.IFF_RUNNING != 0,
	}
}

func addressOf(p netip.Prefix, flags int) address {
	return address{
		prefix:    p,
		secondary: p.Addr().Is4() && flags&unix.IFA_F_SECONDARY != 0,
		unusable:  flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && flags&unix.IFA_F_OPTIMISTIC == 0,
	}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, bits := n.Mask.Size()
	if bits == 0 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Unmap(), ones), true
}
