package relay

import (
	"context"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// hearing is what comes from the kernel's master daemon.
type hearing struct {
	place
	heard  func() time.Time
	counts syncd.CaptureStatus // only what it counts
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
	r := k.r
	var conns []syncd.Conn
	now := time.Now()
	known := func(c syncd.Conn) bool { return r.x.Knows(now, c) }
	for n, more := 0, true; more; n++ {
		c := &k.hearing.counts
		c.Datagrams++
		c.Lost += uint64(m.lost)
		c.Malformed += uint64(m.bad)
		c.Lag = now.Sub(m.at)
		if m.lost > 0 {
			k.listing.wanted = true
			r.o.Logger.Warn("connections of the kernel were not heard, reading its list", "datagrams", m.lost)
		}
		for _, conn := range m.conns {
			if r.now.Scopes.Passes(conn, known) {
				conns = append(conns, conn)
			} else {
				c.Withheld++
			}
		}
		m, more = k.moreCaptured(n)
	}
	r.tell(r.x.Captured(now, conns))
}

// moreCaptured returns what waits already, up to some, if it is of the capture.
func (k *kernelSide) moreCaptured(n int) (capturedMsg, bool) {
	if n >= cap(k.messages) {
		return capturedMsg{}, false
	}
	select {
	case next := <-k.messages:
		if m, ok := next.(capturedMsg); ok {
			return m, true
		}
		k.take(next)
	default:
	}
	return capturedMsg{}, false
}
