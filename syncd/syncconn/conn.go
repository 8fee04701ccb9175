package syncconn

import (
	"crypto/tls"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

const (
	// writeTimeout bounds a single write. The kernel's own limit, userTimeout, is
	// shorter; this one is for what it does not see.
	writeTimeout = 10 * time.Second
	// userTimeout is how long what was sent may stay unacknowledged by the other kernel.
	userTimeout = 5 * time.Second
	// byeTimeout bounds the farewell.
	byeTimeout = 500 * time.Millisecond
	// writeBatch is up to how many bytes are handed to a connection at once.
	writeBatch = 32 << 10
	// maxHello bounds what is read of one that has not said hello.
	maxHello = 1 << 10
)

// conn is a connection to a peer, authenticated. Its peer's goroutine owns it; two
// goroutines of its own read and write.
type conn struct {
	id    syncd.ConnID
	tls   *tls.Conn
	key   *identity // that it was made with
	path  int
	ended chan struct{} // closed after its end was noted

	out      chan []byte // to the writer
	idle     bool        // the writer waits
	accepted bool        // the peer's hello is there and fits
	why      string      // why it ends, when that is known before the end
}

// Messages from a connection's goroutines.
type (
	frameMsg struct {
		c     *conn
		frame syncd.Frame
	}
	// idleMsg: the writer has written, or could not.
	idleMsg struct {
		c   *conn
		err error
	}
	endedMsg struct {
		c   *conn
		err error
	}
)

// serve starts the connection's goroutines. They end when the connection is closed and
// out is.
func (p *peer) serve(c *conn) {
	p.workers.Go(func() {
		p.post(idleMsg{c, nil})
		for b := range c.out {
			err := c.write(b, writeTimeout)
			if err != nil {
				c.tls.NetConn().Close() // the reader ends
			}
			p.post(idleMsg{c, err})
		}
	})
	p.workers.Go(func() {
		limit := maxHello
		for {
			f, err := syncd.ReadFrame(c.tls, limit)
			if err != nil {
				p.post(endedMsg{c, err})
				return
			}
			limit = syncd.MaxFrame
			p.post(frameMsg{c, f})
		}
	})
}

func (c *conn) write(b []byte, within time.Duration) error {
	if err := c.tls.NetConn().SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err := c.tls.Write(b)
	return err
}

// farewell tells the other side why, and waits a little for it to close: a connection
// that is closed with something unread takes along what it was told last.
func (c *conn) farewell(text string) {
	if c.write(syncd.AppendFrame(nil, syncd.Bye{Text: text}), byeTimeout) != nil || c.tls.CloseWrite() != nil ||
		c.tls.NetConn().SetReadDeadline(time.Now().Add(byeTimeout)) != nil {
		c.tls.NetConn().Close()
	}
}
