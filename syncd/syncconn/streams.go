package syncconn

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/hadirector/hadirector/syncd"
)

// Options are what Streams needs. All fields are required but Link and Logger.
type Options struct {
	Self string // this director's name
	Port uint16 // TCP, the same on every director
	// Peers are the ways to the other directors by name. Each way has a connection of
	// its own, and each connection carries everything.
	Peers map[string][]syncd.Path
	// Keys, derived for KeyPurpose, prove that a director is of the cluster. The first is
	// used where the peer has it, too; each is accepted.
	Keys [][32]byte
	// Link has limits and times other than the usual ones; names and run are filled in.
	Link   syncd.LinkOptions
	Logger *slog.Logger // nil: none
}

func (o Options) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Self == "" || len(o.Self) > 255 {
		fail("director name %q has %d bytes, want 1 to 255", o.Self, len(o.Self))
	}
	if o.Port == 0 {
		fail("port is 0")
	}
	owner := make(map[netip.Addr]string)
	for name, paths := range o.Peers {
		if name == "" || len(name) > 255 || name == o.Self {
			fail("peer has the name %q", name)
		}
		if len(paths) == 0 {
			fail("there is no way to peer %s", name)
		}
		for _, p := range paths {
			if !p.Local.IsValid() || !p.Peer.IsValid() || p.Local.Is4() != p.Peer.Is4() || p.Local == p.Peer {
				fail("way to peer %s leads from %s to %s", name, p.Local, p.Peer)
			}
			if other, taken := owner[p.Peer]; taken {
				fail("peers %s and %s have the same address %s", min(name, other), max(name, other), p.Peer)
			}
			owner[p.Peer] = name
		}
	}
	return errors.Join(errs...)
}

// Streams are the streams to all peers. Run does the work; the other methods may be
// called at any time by anybody, and never block.
type Streams struct {
	o       Options
	ids     atomic.Pointer[[]*identity]
	peers   map[string]*peer
	actions chan syncd.StreamAction
	refused refusals
	running atomic.Bool
}

// New checks the options. Nothing is opened before Run.
func New(o Options) (*Streams, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Streams{o: o, peers: make(map[string]*peer), actions: make(chan syncd.StreamAction)}
	ids, err := newIdentities(o.Keys)
	if err != nil {
		return nil, err
	}
	s.ids.Store(&ids)
	for name, paths := range o.Peers {
		s.peers[name] = newPeer(s, name, paths)
	}
	return s, nil
}

// newRun is a number that no other run has.
func newRun() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return binary.BigEndian.Uint64(b[:]) | 1
}

// Actions gives what is to be done. What is not fetched is bounded: by the window of what
// a peer may send before it is dealt with, and of the rest the newest counts.
func (s *Streams) Actions() <-chan syncd.StreamAction { return s.actions }

// Tell hands an event of this side to a peer's Link: syncd.Change, ChangesLost,
// SnapshotPart, SnapshotDone, Injected, SetNote or WantResync. Those of one goroutine keep
// their order. Changes that come faster than they are taken are lost, and end in a full
// resync.
func (s *Streams) Tell(peer string, ev syncd.LinkEvent) {
	if p := s.peers[peer]; p != nil {
		p.inbox.put(ev)
	}
}

// TellAll hands an event to the Links of all peers.
func (s *Streams) TellAll(ev syncd.LinkEvent) {
	for _, p := range s.peers {
		p.inbox.put(ev)
	}
}

// SetKeys replaces the keys. Connections that were made with one that is still accepted
// go on, the others end and are made anew.
func (s *Streams) SetKeys(keys [][32]byte) error {
	ids, err := newIdentities(keys)
	if err != nil {
		return err
	}
	s.ids.Store(&ids)
	for _, p := range s.peers {
		p.inbox.put(keysChanged{})
	}
	return nil
}

// Status returns what is known of every peer. It is empty when Run does not run.
func (s *Streams) Status() map[string]syncd.StreamStatus {
	all := make(map[string]syncd.StreamStatus, len(s.peers))
	if !s.running.Load() {
		return all
	}
	for name, p := range s.peers {
		reply := make(chan syncd.StreamStatus, 1)
		select {
		case p.asks <- reply:
			all[name] = <-reply
		case <-p.done:
		}
	}
	return all
}

// Refused counts connections that were refused before they were anybody's, by reason:
// "address", "too-many", "handshake", "key".
func (s *Streams) Refused() map[string]uint64 { return s.refused.all() }

// Run keeps the streams going until ctx is done, says goodbye, and returns nil. It is
// called once.
func (s *Streams) Run(ctx context.Context) error {
	s.running.Store(true) // whoever asks from now on is answered: by those that start below
	var all sync.WaitGroup
	locals := make(map[netip.Addr]bool)
	for name, p := range s.peers {
		all.Go(func() { p.run(ctx) })
		for n, path := range p.paths {
			if s.o.Self < name {
				all.Go(func() { p.dial(ctx, n) })
			} else if !locals[path.Local] {
				locals[path.Local] = true
				all.Go(func() { s.listen(ctx, path.Local) })
			}
		}
	}
	all.Wait()
	for _, p := range s.peers {
		p.greeters.Wait()
	}
	return nil
}

// refusals count by reason.
type refusals struct {
	mu sync.Mutex // guards n: everybody counts
	n  map[string]uint64
}

func (r *refusals) add(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = make(map[string]uint64)
	}
	r.n[reason]++
}

func (r *refusals) all() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]uint64, len(r.n))
	for k, v := range r.n {
		all[k] = v
	}
	return all
}
