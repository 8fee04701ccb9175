package peers

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// bindInterval is how long to wait before listening is tried again.
	bindInterval = time.Second
	bindMax      = 5 * time.Second
	// maxEvents bounds the events that wait for a slow reader.
	maxEvents = 256
	// maxRefused bounds the strangers that are told apart in the log.
	maxRefused = 64
)

// Peers is this director's membership in its cluster. Run does the work; the other
// methods may be called at any time by anybody, also before Run, and never block.
type Peers struct {
	opts     Options
	delegate *delegate
	inbox    *inbox
	view     atomic.Pointer[view]
	updates  chan Local // has one element at most: newest wins
	keys     atomic.Pointer[[][32]byte]
	rekey    chan struct{} // has one element when keys are other ones

	mu sync.Mutex // serializes Update, so that the newest stays in updates
}

// New checks the options. Nothing is sent or opened before Run.
func New(o Options) (*Peers, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Peers{opts: o, inbox: newInbox(), updates: make(chan Local, 1), rekey: make(chan struct{}, 1)}
	p.keys.Store(&o.Keys)
	p.delegate = &delegate{inbox: p.inbox, peers: o.peers(), self: o.Self, keys: idsOf(o.Keys)}
	p.delegate.set(o.Local, false)
	p.view.Store(newBook(time.Now(), p.delegate.peers, nil).view())
	return p, nil
}

// Members returns what is known of every configured peer, by name. Only what it refers
// to must not be modified; the map is the caller's.
func (p *Peers) Members() map[string]Member { return maps.Clone(p.view.Load().members) }

// PeerConfig returns the text of the effective configuration that a peer runs or, if it
// is gone, last ran. It is false until the text has arrived, and for one that is longer
// than MaxConfig.
func (p *Peers) PeerConfig(name string) (string, bool) {
	text, ok := p.view.Load().configs[name]
	return text, ok
}

// PeerShared returns what a peer has last sent of what the directors share; empty if it
// has not sent any.
func (p *Peers) PeerShared(name string) string { return p.view.Load().shared[name] }

// Update tells the others something new about this director. The newest wins.
func (p *Peers) Update(l Local) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.updates:
	default:
	}
	p.updates <- l
}

// run is the state that Run's goroutine owns.
type run struct {
	*Peers
	book    *book
	list    *memberlist.Memberlist
	ring    *memberlist.Keyring
	workers sync.WaitGroup
	events  []Event
	refused map[refusedMsg]bool
}

// Run takes part until ctx is done, says goodbye within a second and a half, and returns
// nil. It is called once.
func (p *Peers) Run(ctx context.Context) error {
	r := newRun(p)
	if !r.introduce(ctx) || !r.start(ctx) {
		return nil
	}
	r.loop(ctx)
	r.leave()
	return nil
}

func newRun(p *Peers) *run {
	r := &run{
		Peers:   p,
		book:    newBook(time.Now(), p.delegate.peers, spread),
		refused: make(map[refusedMsg]bool),
	}
	r.book.ours = p.delegate.out.Load().shared
	return r
}

// tell sets what the others are told from now on.
func (r *run) tell(l Local) {
	r.delegate.set(l, false)
	r.book.ours = r.delegate.out.Load().shared
}

// spread gives a time a quarter shorter to a quarter longer.
func spread(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// introduce waits until there is something to tell the others. It is false if ctx ended
// that.
func (r *run) introduce(ctx context.Context) bool {
	if !r.opts.Local.empty() {
		return true
	}
	select {
	case l := <-r.updates:
		r.tell(l)
		return true
	case <-ctx.Done():
		return false
	}
}

// start begins to listen, as often as it takes: the address may come with a link that
// is still down. It is false if ctx ended that.
func (r *run) start(ctx context.Context) bool {
	bridge := newBridge(r.opts.Logger)
	last, wait := "", bindInterval
	for {
		err := r.create(bridge)
		if err == nil {
			if last != "" {
				r.opts.Logger.Info("listening for peers now", "addr", r.opts.Bind, "port", r.opts.Port)
			}
			return true
		}
		if err.Error() != last {
			r.opts.Logger.Warn("cannot listen for peers yet", "addr", r.opts.Bind, "port", r.opts.Port, "err", err)
			last = err.Error()
		}
		select {
		case <-time.After(spread(wait)):
			wait = min(2*wait, bindMax)
		case <-ctx.Done():
			return false
		}
	}
}

func (r *run) create(b *bridge) error {
	refuse := func(from netip.Addr) { r.inbox.put(refusedMsg{addr: from}) }
	ring, err := r.newRing()
	if err != nil {
		return err
	}
	t, err := newTransport(r.opts.Bind, r.opts.Port, r.delegate.peers, refuse, b.std())
	if err != nil {
		return err
	}
	list, err := memberlist.Create(r.opts.config(r.delegate, t, ring, b))
	if err != nil {
		t.Shutdown()
		return err
	}
	r.list, r.ring = list, ring
	return nil
}

func (r *run) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if t, armed := r.book.deadline(); armed {
			timer.Reset(time.Until(t))
		} else {
			timer.Stop()
		}
		var events chan<- Event
		var first Event
		if len(r.events) > 0 {
			events, first = r.opts.Events, r.events[0]
		}
		select {
		case <-ctx.Done():
			return
		case <-r.inbox.wake:
			for _, m := range r.inbox.take() {
				r.handle(m)
			}
			r.view.Store(r.book.view())
			r.useKeys() // a peer may accept another one now
		case <-r.rekey:
			r.delegate.keys = idsOf(*r.keys.Load())
			r.delegate.set(r.delegate.out.Load().local, false)
			r.useKeys()
			r.publish()
		case l := <-r.updates:
			r.tell(l)
			r.publish()
		case <-timer.C:
			for _, name := range r.book.dueToSend(time.Now()) {
				r.share(name)
			}
			for _, name := range r.book.due(time.Now()) {
				r.call(name)
			}
		case events <- first:
			r.events = r.events[1:]
		}
	}
}

func (r *run) handle(m any) {
	switch m := m.(type) {
	case heardMsg:
		meta, err := parseMeta(m.meta)
		if err != nil {
			r.opts.Logger.Warn("metadata of a peer not understood", "peer", m.name, "err", err)
		}
		r.emit(r.book.heard(m.at, m.name, meta, err == nil))
	case goneMsg:
		r.emit(r.book.gone(m.at, m.name))
	case answeredMsg:
		r.book.answered(m.at, m.name, m.rtt)
		if meta, err := parseMeta(m.meta); err == nil {
			r.emit(r.book.refreshed(m.at, m.name, meta))
		}
	case exchangedMsg:
		x, err := parseExchange(m.state)
		if err != nil {
			r.opts.Logger.Warn("state of a peer not understood", "err", err)
			return
		}
		r.emit(r.book.exchanged(m.at, x))
	case sharedMsg:
		s, err := parseShared(m.message)
		if err != nil {
			r.opts.Logger.Warn("message of a peer not understood", "err", err)
			return
		}
		r.emit(r.book.shares(m.at, s))
	case sentMsg:
		r.book.sent(m.at, m.name)
		if m.err != nil {
			r.opts.Logger.Debug("peer not told what is shared", "peer", m.name, "err", m.err)
		}
	case calledMsg:
		why := ""
		if m.err != nil {
			why = explain(m.err)
			r.opts.Logger.Debug("peer not reached", "peer", m.name, "err", m.err)
		}
		if r.book.called(m.at, m.name, why) {
			r.opts.Logger.Warn("peer cannot be reached", "peer", m.name, "addr", r.delegate.peers[m.name], "err", why)
		}
	case refusedMsg:
		if !r.refused[m] && len(r.refused) < maxRefused {
			r.refused[m] = true
			r.opts.Logger.Warn("director that is not configured refused", "peer", m.name, "addr", m.addr)
		}
	}
}

// emit queues events. Of those that nobody reads the oldest go first.
func (r *run) emit(events []Event) {
	if r.opts.Events == nil {
		return
	}
	r.events = append(r.events, events...)
	if n := len(r.events) - maxEvents; n > 0 {
		r.events = r.events[n:]
	}
}

// call exchanges state with a peer, which is also how one joins it.
func (r *run) call(name string) {
	addr := netip.AddrPortFrom(r.delegate.peers[name], r.opts.Port)
	r.workers.Go(func() {
		_, err := r.list.Join([]string{addr.String()})
		r.inbox.put(calledMsg{time.Now(), name, err})
	})
}

// share sends a peer what we share.
func (r *run) share(name string) {
	message := shared{r.opts.Self, r.delegate.out.Load().local.Shared}.appendTo(nil)
	r.workers.Go(func() {
		err := fmt.Errorf("%s is not a member", name)
		for _, n := range r.list.Members() {
			if n.Name == name {
				err = r.list.SendReliable(n, message)
			}
		}
		r.inbox.put(sentMsg{time.Now(), name, err})
	})
}

// publish queues what is new for the others. It is sent with the next gossip, and
// whoever misses that gets it with the answer to its next probe.
func (r *run) publish() {
	// The call queues and then waits until all has been sent, for ever without a
	// time-out: it ends with the shortest, and its error says nothing.
	_ = r.list.UpdateNode(time.Nanosecond)
}

// leave says goodbye, so that the others do not take this director for lost.
func (r *run) leave() {
	// memberlist tells its users of a goodbye and of a death in the same way, hence
	// the announcement before.
	r.delegate.set(r.delegate.out.Load().local, true)
	if err := r.list.UpdateNode(announceLeaveTimeout); err != nil {
		r.opts.Logger.Debug("leaving not announced", "err", err)
	}
	if err := r.list.Leave(leaveTimeout); err != nil {
		r.opts.Logger.Debug("goodbye not sent", "err", err)
	}
	r.shutdown()
}

// shutdown ends everything at once. The others find this director lost.
func (r *run) shutdown() {
	if err := r.list.Shutdown(); err != nil {
		r.opts.Logger.Debug("peers not shut down", "err", err)
	}
	r.workers.Wait() // soon: their connections are closed
}

// explain puts memberlist's reasons why a call failed into an operator's words. Its
// errors are text only.
func explain(err error) string {
	text := err.Error()
	for _, known := range []struct{ sign, words string }{
		{"no installed keys could decrypt", "it has another cluster key"},
		{"encryption is configured but remote state is not encrypted", "it does not encrypt"},
		{"connection refused", "connection refused: no director runs there"},
		{"no route to host", "no route to host"},
		{"network is unreachable", "network is unreachable"},
		{"i/o timeout", "no answer"},
		{"eof", "it hung up: its configuration does not name this director, or it is of another cluster"},
		{"connection reset", "it hung up: its configuration does not name this director, or it is of another cluster"},
		{"incompatible", "its version of the protocol is incompatible"},
	} {
		if strings.Contains(strings.ToLower(text), known.sign) {
			return known.words
		}
	}
	return strings.Join(strings.Fields(text), " ")
}
