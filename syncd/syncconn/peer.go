package syncconn

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// peer is the stream to one peer. Its goroutine, run, owns the Link and the connections.
type peer struct {
	s        *Streams
	name     string
	paths    []syncd.Path
	inbox    *inbox
	messages chan any
	asks     chan chan syncd.StreamStatus
	done     chan struct{}  // closed when run takes nothing more
	workers  sync.WaitGroup // of connections
	greeters sync.WaitGroup // of those that have yet to prove who they are

	// What run owns.
	link    *syncd.Link
	conns   []*conn
	ids     syncd.ConnID
	status  []syncd.PathStatus
	said    []map[string]bool  // what was logged of each way since it was last connected
	pending []syncd.LinkAction // that nobody has fetched
}

// More messages.
type (
	// connectedMsg: a connection was made and authenticated.
	connectedMsg struct{ c *conn }
	// failedMsg: an attempt has failed.
	failedMsg struct {
		path int
		why  string
	}
	// keysChanged: other keys are accepted.
	keysChanged struct{}
)

func newPeer(s *Streams, name string, paths []syncd.Path) *peer {
	p := &peer{
		s: s, name: name, paths: paths, inbox: newInbox(),
		messages: make(chan any), asks: make(chan chan syncd.StreamStatus), done: make(chan struct{}),
	}
	for _, path := range paths {
		p.status = append(p.status, syncd.PathStatus{Path: path})
		p.said = append(p.said, make(map[string]bool))
	}
	return p
}

// post gives run a message. It is false if run has ended.
func (p *peer) post(m any) bool {
	select {
	case p.messages <- m:
		return true
	case <-p.done:
		return false
	}
}

func (p *peer) run(ctx context.Context) {
	o := p.s.o.Link
	o.Self, o.Peer, o.Run = p.s.o.Self, p.name, newRun()
	p.link = syncd.NewLink(time.Now(), o)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if t, armed := p.link.Deadline(); armed {
			timer.Reset(time.Until(t))
		} else {
			timer.Stop()
		}
		var actions chan<- syncd.StreamAction
		var first syncd.StreamAction
		if len(p.pending) > 0 {
			actions, first = p.s.actions, syncd.StreamAction{Peer: p.name, Action: p.pending[0]}
		}
		select {
		case <-ctx.Done():
			p.stop()
			return
		case m := <-p.messages:
			p.take(m)
		case <-p.inbox.wake:
			for _, ev := range p.inbox.take() {
				if _, ok := ev.(keysChanged); ok {
					p.checkKeys()
					continue
				}
				p.handle(ev.(syncd.LinkEvent))
			}
		case <-timer.C:
			p.handle(syncd.Tick{})
		case reply := <-p.asks:
			reply <- syncd.StreamStatus{Link: p.link.Status(time.Now()), Paths: slices.Clone(p.status)}
		case actions <- first:
			p.pending = slices.Delete(p.pending, 0, 1)
		}
		p.feed()
	}
}

// stop says goodbye and ends all connections.
func (p *peer) stop() {
	close(p.done)
	for _, c := range p.conns {
		p.workers.Go(func() { c.farewell("director " + p.s.o.Self + " stops") })
		close(c.out)
		close(c.ended)
	}
	p.workers.Wait()
	for _, c := range p.conns {
		c.tls.NetConn().Close()
	}
}

func (p *peer) take(m any) {
	switch m := m.(type) {
	case connectedMsg:
		p.connected(m.c)
	case failedMsg:
		p.failed(m.path, m.why)
	case idleMsg:
		m.c.idle = m.err == nil
		if m.err != nil && m.c.why == "" {
			m.c.why = explain(m.err)
		}
	case frameMsg:
		p.handle(syncd.FrameReceived{ID: m.c.id, Frame: m.frame})
		if _, hello := m.frame.(syncd.Hello); hello && m.c.why == "" {
			p.accepted(m.c)
		}
	case endedMsg:
		p.ended(m.c, m.err)
	}
}

// connected takes a connection in. One over the same way that it replaces was cut, and
// only the other side has noticed.
func (p *peer) connected(c *conn) {
	for _, old := range p.conns {
		if old.path == c.path {
			p.end(old, "the peer has made another connection", false)
		}
	}
	p.ids++
	c.id = p.ids
	p.conns = append(p.conns, c)
	p.serve(c)
	p.handle(syncd.ConnUp{ID: c.id})
}

// accepted notes that the peer is the one that it should be.
func (p *peer) accepted(c *conn) {
	c.accepted = true
	s := &p.status[c.path]
	s.Connected, s.Since, s.Err = true, time.Now(), ""
	clear(p.said[c.path])
	p.s.o.Logger.Info("sync stream connected", "peer", p.name, "local", s.Local, "addr", s.Path.Peer)
}

// ended notes the end of a connection.
func (p *peer) ended(c *conn, err error) {
	c.tls.NetConn().Close()
	close(c.out)
	close(c.ended)
	p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == c })
	p.handle(syncd.ConnDown{ID: c.id})
	if c.why == "" {
		c.why = explain(err)
	}
	if slices.ContainsFunc(p.conns, func(o *conn) bool { return o.path == c.path }) {
		return // it was replaced
	}
	if !c.accepted {
		p.failed(c.path, c.why)
		return
	}
	if c.why == hungUp {
		c.why = goneQuiet
	}
	s := &p.status[c.path]
	s.Connected, s.Since, s.Err = false, time.Now(), c.why
	p.s.o.Logger.Warn("sync stream lost", "peer", p.name, "local", s.Local, "addr", s.Path.Peer, "err", c.why)
}

// maxSaid bounds the reasons that are told apart: some are the other side's words.
const maxSaid = 16

// failed notes why there is no connection, and says it once for each reason.
func (p *peer) failed(path int, why string) {
	s, said := &p.status[path], p.said[path]
	if s.Connected {
		return
	}
	s.Err = why
	if said[why] || len(said) >= maxSaid {
		return
	}
	said[why] = true
	p.s.o.Logger.Warn("no sync stream", "peer", p.name, "local", s.Local, "addr", s.Path.Peer, "err", why)
}

// end ends a connection. endedMsg follows.
func (p *peer) end(c *conn, why string, tell bool) {
	if c.why != "" {
		return
	}
	c.why = why
	if tell {
		p.workers.Go(func() { c.farewell(why) })
		return
	}
	c.tls.NetConn().Close()
}

// checkKeys ends the connections whose key is no longer accepted.
func (p *peer) checkKeys() {
	for _, c := range p.conns {
		if !slices.ContainsFunc(*p.s.ids.Load(), func(id *identity) bool { return id.name == c.key.name }) {
			p.end(c, "the cluster key was replaced", true)
		}
	}
}

// handle hands an event to the Link and carries out what it asks for.
func (p *peer) handle(ev syncd.LinkEvent) {
	for _, a := range p.link.Handle(time.Now(), ev) {
		c, ok := a.(syncd.CloseConn)
		if !ok {
			p.queue(a)
			continue
		}
		if i := slices.IndexFunc(p.conns, func(o *conn) bool { return o.id == c.ID }); i >= 0 {
			p.end(p.conns[i], c.Text, c.Tell)
		}
	}
}

// queue keeps an action until it is fetched. Of what is not bounded by the Link the
// newest counts.
func (p *peer) queue(a syncd.LinkAction) {
	switch a := a.(type) {
	case syncd.ReadSnapshot:
		p.pending = slices.DeleteFunc(p.pending, func(b syncd.LinkAction) bool {
			_, same := b.(syncd.ReadSnapshot)
			return same
		})
	case syncd.DeliverNote:
		p.pending = slices.DeleteFunc(p.pending, func(b syncd.LinkAction) bool {
			note, same := b.(syncd.DeliverNote)
			return same && note.Kind == a.Kind
		})
	case syncd.StateChanged:
		for i, b := range p.pending {
			if was, ok := b.(syncd.StateChanged); ok && was.Receiving == a.Receiving {
				a.From = was.From
				p.pending = slices.Delete(p.pending, i, i+1)
				break
			}
		}
		p.pending = append(p.pending, a)
		return
	}
	p.pending = append(p.pending, a)
}

// feed gives every writer that waits what its connection is to send.
func (p *peer) feed() {
	now := time.Now()
	for _, c := range p.conns {
		if !c.idle {
			continue
		}
		var b []byte
		for len(b) < writeBatch {
			f, ok := p.link.Next(now, c.id)
			if !ok {
				break
			}
			b = syncd.AppendFrame(b, f)
		}
		if len(b) > 0 {
			c.idle = false
			c.out <- b
		}
	}
}
