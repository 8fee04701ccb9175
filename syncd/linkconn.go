package syncd

import (
	"fmt"
	"slices"
	"time"
)

// linkConn is a connection as its Link sees it.
type linkConn struct {
	id          ConnID
	up          time.Time
	heard, said time.Time // when something last came in, or went out
	helloSent   bool
	ready       bool // the peer's hello is there and fits
	closing     bool // its end was asked for

	cursor    uint64 // the next sequence number to be sent
	pong      *Pong  // the answer that is due; of several pings the last is answered
	pingDue   bool
	toldAck   uint64 // what was acknowledged here
	toldAsk   uint64 // the number of the last ask here
	toldNotes uint64 // up to which note
	rtt       time.Duration
}

// CloseReason is why a Link closes a connection, as a token for metrics.
type CloseReason string

// The reasons.
const (
	ClosedVersion  CloseReason = "version"     // it speaks another version of the stream
	ClosedName     CloseReason = "name"        // it is not the director that it should be
	ClosedProtocol CloseReason = "protocol"    // it does not keep to the rules
	ClosedSilent   CloseReason = "silent"      // nothing is heard of it
	ClosedStalled  CloseReason = "stalled"     // it acknowledges nothing
	ClosedReplaced CloseReason = "replaced"    // the peer has begun another run
	ClosedByPeer   CloseReason = "peer-closed" // it said goodbye
)

func (l *Link) conn(id ConnID) *linkConn {
	i := slices.IndexFunc(l.conns, func(c *linkConn) bool { return c.id == id })
	if i < 0 {
		return nil
	}
	return l.conns[i]
}

// ready counts the connections that carry something.
func (l *Link) ready() int {
	n := 0
	for _, c := range l.conns {
		if c.ready && !c.closing {
			n++
		}
	}
	return n
}

// close asks for a connection's end. ConnDown follows.
func (l *Link) close(c *linkConn, reason CloseReason, text string, tell bool) {
	if c.closing {
		return
	}
	c.closing = true
	l.count.Closed = counted(l.count.Closed, reason)
	l.do(CloseConn{c.id, reason, text, tell})
}

// connDown forgets a connection.
func (l *Link) connDown(id ConnID) {
	l.conns = slices.DeleteFunc(l.conns, func(c *linkConn) bool { return c.id == id })
}

func (l *Link) connDeadlines(c *linkConn, at func(time.Time)) {
	switch {
	case c.closing:
	case !c.ready:
		at(c.up.Add(l.o.HelloIn))
	default:
		at(c.heard.Add(l.o.DeadAfter))
		if !c.pingDue {
			at(c.said.Add(l.o.PingEvery))
		}
	}
}

func (l *Link) connTick(now time.Time, c *linkConn) {
	switch {
	case c.closing:
	case !c.ready:
		if late(now, c.up.Add(l.o.HelloIn)) {
			l.close(c, ClosedSilent, fmt.Sprintf("it has said nothing for %v", l.o.HelloIn), false)
		}
	case late(now, c.heard.Add(l.o.DeadAfter)):
		l.close(c, ClosedSilent, fmt.Sprintf("nothing was heard for %v", l.o.DeadAfter), false)
	case late(now, c.said.Add(l.o.PingEvery)):
		c.pingDue = true
	}
}

// late tells whether a deadline is over.
func late(now, deadline time.Time) bool { return !now.Before(deadline) }

// ourHello says who we are and from where the peer can go on.
func (l *Link) ourHello() Hello {
	h := Hello{
		Major: StreamMajor, Minor: StreamMinor, From: l.o.Self, To: l.o.Peer,
		Run: l.o.Run, Last: l.out.last, Window: uint32(l.o.Window),
	}
	if !l.in.awaiting {
		h.SeenRun, h.Seen = l.peerRun, l.in.next-1
	}
	return h
}

// hello takes in who the peer is.
func (l *Link) hello(now time.Time, c *linkConn, f Hello) {
	switch {
	case c.ready:
		l.close(c, ClosedProtocol, "it said hello twice", true)
	case f.Major != StreamMajor:
		l.close(c, ClosedVersion, fmt.Sprintf("director %s speaks version %d of the stream, director %s version %d",
			l.o.Peer, f.Major, l.o.Self, StreamMajor), true)
	case f.From != l.o.Peer:
		l.close(c, ClosedName, fmt.Sprintf("at the address of director %s is one that calls itself %q", l.o.Peer, f.From), true)
	case f.To != l.o.Self:
		l.close(c, ClosedName, fmt.Sprintf("director %s takes director %s for %q", l.o.Peer, l.o.Self, f.To), true)
	case f.Run == l.o.Run:
		l.close(c, ClosedName, "it is this director itself", true)
	default:
		if f.Run != l.peerRun {
			l.newPeer(now, f.Run)
		}
		c.ready = true
		l.goOn(now, c, f)
		if l.ready() == 1 && !l.in.awaiting { // else it begins with a snapshot
			l.in.catchUp = f.Last
		}
	}
}

// newPeer forgets what there was with an earlier run of the peer.
func (l *Link) newPeer(now time.Time, run uint64) {
	for _, c := range l.conns {
		if c.ready {
			l.close(c, ClosedReplaced, fmt.Sprintf("director %s has started anew", l.o.Peer), false)
		}
	}
	l.peerRun = run
	l.in.restart(now, l.o.AskEvery)
	l.out.answered = 0
	l.notes.restart()
}
