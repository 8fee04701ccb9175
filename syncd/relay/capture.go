package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// hearing is what comes from the kernel's master daemon.
type hearing struct {
	place
	heard  func() time.Time
	counts syncd.CaptureStatus // only what it counts
	lost   seldom              // datagrams

	// last is what heard has returned, silent for how many seconds that was not new.
	quiet  place
	last   time.Time
	silent int
}

// capturedMsg is a datagram that the capture has heard.
type capturedMsg struct {
	conns []syncd.Conn
	at    time.Time
	lost  uint32 // datagrams before it
	bad   int    // records of it that are none
}

// heardMsg says how to ask when the capture has heard something.
type heardMsg struct {
	w     *worker
	heard func() time.Time
}

// capture is the worker that hears.
func (k *kernelSide) capture(ctx context.Context, w *worker) error {
	c, err := k.r.o.Kernel.Capture()
	if err != nil {
		return err
	}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- c.Close() }) // ends a Read that waits
	k.messages <- heardMsg{w, c.Heard}
	k.messages <- openedMsg{w, &k.hearing.place}
	err = k.hear(c)
	if stop() {
		_ = c.Close() // it has failed already, and err says how
	} else {
		<-closed
	}
	return err
}

func (k *kernelSide) hear(c Capture) error {
	for {
		d, err := c.Read()
		if err != nil {
			return err
		}
		m, err := syncd.ParseMessage(d.Payload)
		bad := m.NotTaken
		if err != nil {
			bad++
		}
		k.messages <- capturedMsg{m.Conns, d.At, d.Lost, bad}
	}
}

// captured takes in what the kernel has told, and what else of it is here already: one
// frame carries many connections.
func (k *kernelSide) captured(m capturedMsg) {
	r, now := k.r, time.Now()
	known := func(c syncd.Conn) bool { return r.x.Knows(now, c) }
	var next any
	// Each one is in the table before the next one is looked at: its end may be here already.
	r.tell(r.x.Captured(now, func(yield func(syncd.Conn) bool) {
		for n, more := 0, true; more; n++ {
			k.count(now, m)
			for _, c := range m.conns {
				if !r.now.Scopes.Passes(c, known) {
					k.hearing.counts.Withheld++
				} else if !yield(c) {
					return
				}
			}
			next = k.waiting(n)
			m, more = next.(capturedMsg)
		}
	}))
	if next != nil {
		k.take(next)
	}
}

// waiting returns a message that waits already, up to some.
func (k *kernelSide) waiting(n int) any {
	if n >= cap(k.messages) {
		return nil
	}
	select {
	case m := <-k.messages:
		return m
	default:
		return nil
	}
}

// count counts a datagram.
func (k *kernelSide) count(now time.Time, m capturedMsg) {
	c := &k.hearing.counts
	c.Datagrams++
	c.Lost += uint64(m.lost)
	c.Malformed += uint64(m.bad)
	c.Lag = max(0, now.Sub(m.at)) // by the clock that somebody may set
	if m.lost > 0 {
		k.listing.wanted = true
		k.hearing.lost.add(uint64(m.lost))
	}
}

// tooQuiet is for how many seconds nothing may be heard while there are ticks. They are
// counted: while this process is stopped it hears nothing either.
const tooQuiet = 5

// listen notes when the daemon says nothing although it should.
func (h *hearing) listen(k *kernelSide) {
	if !h.opened || !k.ticking.opened {
		h.silent = 0
		return
	}
	if at := h.heard(); !at.Equal(h.last) {
		h.last, h.silent = at, 0
	} else if h.silent++; h.silent >= tooQuiet {
		k.says(&h.quiet, errQuiet)
		return
	}
	k.says(&h.quiet, nil)
}

var errQuiet = fmt.Errorf("nothing was heard of the master sync daemon for %d s: it does not run, or a firewall drops what it sends", tooQuiet)
