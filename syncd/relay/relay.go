package relay

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// Streams are the streams to the peers (syncconn.Streams). Tell and TellAll never block.
type Streams interface {
	Run(context.Context) error
	Actions() <-chan syncd.StreamAction
	Tell(peer string, ev syncd.LinkEvent)
	TellAll(syncd.LinkEvent)
	Status() map[string]syncd.StreamStatus
	Refused() map[string]uint64
}

// Options are what a Relay needs.
type Options struct {
	Peers   []string
	Limit   int // of connections and templates in the shadow table
	Kernel  Kernel
	Streams Streams
	Changed chan<- struct{} // has something sent, without waiting, when there is news; nil: nobody
	Logger  *slog.Logger
}

// Orders are what a Relay is to do with this director's kernel. The zero value is of a
// kernel that is not ready for anything.
type Orders struct {
	// Ready says that the kernel has the virtual servers: what a backup daemon takes in
	// binds only to real servers that are there.
	Ready bool
	// Interface is the private interface's index; 0: there is none. Epoch is another
	// number whenever a sync daemon of the kernel may have been away.
	Interface int
	Epoch     uint64
	SyncID    uint8
	// Capture says that the master daemon runs, Inject that the backup daemon does, and
	// Tick that the tick service is there.
	Capture, Inject, Tick bool
	Scopes                syncd.Scopes
	// Serves tells of which connections the packets come to this director; nil: of none.
	// Serving says which these are in a form that can be compared.
	Serves  func(syncd.Conn) bool
	Serving string
}

// Relay is the relay of a director. Run does the work; the other methods may be called at any
// time by anybody, and never wait long.
type Relay struct {
	o      Options
	orders chan Orders

	mu    sync.Mutex // guards notes and gone: peers' goroutines tell, the director reads
	notes map[string]map[uint8][]byte
	gone  map[string]bool // the peers that have told something and are not connected
	brief atomic.Pointer[map[string]bool]
	shown atomic.Pointer[syncd.RelayStatus]

	// What Run owns.
	x      *syncd.Exchange
	now    Orders
	peers  map[string]*peer
	began  time.Time
	seeded bool // the kernel's list was read, so that what the kernel knows is known here
	kernel *kernelSide
	book   *syncd.DigestBook // what peers are told of the table
}

// peer is what the loop knows of a peer.
type peer struct {
	send, receive syncd.LinkState
	since         time.Time // of state
	state         syncd.RelayState
	same          *syncd.Sameness
	comparison    syncd.Comparison
	asked         int // for full resyncs because of a difference, since there was none
	askAt         time.Time
	calm          int // seconds since both were told everything
	misread       seldom
}

// New returns a Relay that does nothing yet.
func New(o Options) *Relay {
	r := &Relay{
		o: o, orders: make(chan Orders, 1), notes: make(map[string]map[uint8][]byte), gone: make(map[string]bool),
		x: syncd.NewExchange(o.Limit), peers: make(map[string]*peer), book: syncd.NewDigestBook(),
	}
	for _, name := range o.Peers {
		r.peers[name] = &peer{since: time.Now(), state: syncd.RelayConnecting, same: syncd.NewSameness()}
	}
	r.kernel = newKernelSide(r)
	r.publish(time.Now())
	return r
}

// Apply gives orders; the newest count.
func (r *Relay) Apply(o Orders) {
	for {
		select {
		case r.orders <- o:
			return
		default:
		}
		select {
		case <-r.orders:
		default:
		}
	}
}

// SetNote gives every peer small state of a kind below [syncd.NoteDigests]. The newest of a
// kind counts.
func (r *Relay) SetNote(kind uint8, payload []byte) {
	r.o.Streams.TellAll(syncd.SetNote{Kind: kind, Payload: payload})
}

// Notes returns what the peers that are connected have told by SetNote. Nobody writes to the
// payloads.
func (r *Relay) Notes() map[string]map[uint8][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]map[uint8][]byte, len(r.notes))
	for name, notes := range r.notes {
		if !r.gone[name] {
			all[name] = maps.Clone(notes)
		}
	}
	return all
}

// Complete tells for each peer whether this director's kernel was told all that the peer
// knows.
func (r *Relay) Complete() map[string]bool { return *r.brief.Load() }

// Run works until ctx is done.
func (r *Relay) Run(ctx context.Context) error {
	var streams sync.WaitGroup
	inner, stop := context.WithCancel(ctx)
	var err error
	streams.Go(func() { err = r.o.Streams.Run(inner) })
	r.began = time.Now()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	r.loop(ctx, second.C)
	r.kernel.stop()
	stop()
	streams.Wait()
	return err
}

func (r *Relay) loop(ctx context.Context, second <-chan time.Time) {
	for {
		// What peers tell waits until it is known what the kernel knows better.
		actions := r.o.Streams.Actions()
		if !r.seeded {
			actions = nil
		}
		select {
		case <-ctx.Done():
			return
		case o := <-r.orders:
			r.order(o)
		case m := <-r.kernel.messages:
			r.kernel.take(m)
		case a := <-actions:
			r.act(a)
		case <-second:
			r.everySecond(time.Now())
		}
		r.kernel.inject()
	}
}

// order takes new orders.
func (r *Relay) order(o Orders) {
	if o.Serves == nil {
		o.Serves = func(syncd.Conn) bool { return false }
	}
	was := r.now
	r.now = o
	r.x.Serve(o.Serves)
	r.kernel.attach(was, o)
	r.publish(time.Now())
}

// act carries out what a peer's Link wants done.
func (r *Relay) act(a syncd.StreamAction) {
	p := r.peers[a.Peer]
	if p == nil {
		return
	}
	now := time.Now()
	switch what := a.Action.(type) {
	case syncd.StateChanged:
		if what.Receiving {
			p.receive = what.To
		} else {
			p.send = what.To
		}
		if what.To == syncd.LinkConnecting {
			p.asked = 0 // whatever was in the way, the next one may do
		}
		r.connected(a.Peer, p.send != syncd.LinkConnecting || p.receive != syncd.LinkConnecting)
		r.publish(now)
	case syncd.DeliverNote:
		r.noted(now, a.Peer, p, what)
	default:
		r.tell(r.x.Do(now, a.Peer, a.Action))
	}
}

// noted takes a note in.
func (r *Relay) noted(now time.Time, name string, p *peer, n syncd.DeliverNote) {
	taken, err := p.same.Note(now, n.Kind, n.Payload)
	if err != nil {
		p.misread.add(1)
		if n := p.misread.due(now); n > 0 {
			r.o.Logger.Warn("peer tells of its connections in a way that is not understood", "peer", name, "notes", n, "err", err)
		}
	}
	if taken || n.Kind >= syncd.NoteDigests {
		return
	}
	r.mu.Lock()
	if r.notes[name] == nil {
		r.notes[name] = make(map[uint8][]byte)
	}
	r.notes[name][n.Kind] = n.Payload
	r.mu.Unlock()
	r.wake()
}

// connected has the notes of a peer hold as long as it is connected: it tells them once.
func (r *Relay) connected(name string, is bool) {
	r.mu.Lock()
	changed := r.gone[name] == is
	r.gone[name] = !is
	r.mu.Unlock()
	if changed {
		r.wake()
	}
}

func (r *Relay) tell(tells []syncd.Tell) {
	for _, t := range tells {
		if t.Peer == "" {
			r.o.Streams.TellAll(t.Event)
		} else {
			r.o.Streams.Tell(t.Peer, t.Event)
		}
	}
}

func (r *Relay) wake() {
	select {
	case r.o.Changed <- struct{}{}:
	default: // it is awake, or there is nobody
	}
}
