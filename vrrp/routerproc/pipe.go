package routerproc

import (
	"bufio"
	"io"
	"sync"
	"time"
)

// pipe is one side's end of the connection: a goroutine that reads and one that writes,
// so that the owner can select on both and blocks on neither.
type pipe[In, Out any] struct {
	// in is closed when the other side is gone. All that it sent comes before.
	in  chan In
	out chan Out
	err error // why in is closed

	conn    io.ReadWriteCloser
	closed  chan struct{} // by close
	written chan struct{} // closed when nothing is written any more
	wg      sync.WaitGroup
}

func newPipe[In, Out any](conn io.ReadWriteCloser) *pipe[In, Out] {
	p := &pipe[In, Out]{
		in: make(chan In), out: make(chan Out), conn: conn,
		closed: make(chan struct{}), written: make(chan struct{}),
	}
	p.wg.Go(p.read)
	p.wg.Go(p.write)
	return p
}

// read ends with the connection; whatever the error, nothing more is heard.
func (p *pipe[In, Out]) read() {
	defer close(p.in)
	r := bufio.NewReader(p.conn)
	for {
		var m In
		if p.err = readFrame(r, &m); p.err != nil {
			return
		}
		select {
		case p.in <- m:
		case <-p.closed:
			return
		}
	}
}

// write ends with the first error, after which out is ready no more. The reader finds
// out what it was.
func (p *pipe[In, Out]) write() {
	defer close(p.written)
	for {
		select {
		case m, ok := <-p.out:
			if !ok || writeFrame(p.conn, m) != nil {
				return
			}
		case <-p.closed:
			return
		}
	}
}

// flush waits, for a while, until what was handed to out is written. Nothing may be
// handed to it afterwards.
func (p *pipe[In, Out]) flush(patience time.Duration) {
	close(p.out)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.written:
	case <-timer.C:
	}
}

// close ends both goroutines.
func (p *pipe[In, Out]) close() {
	close(p.closed)
	p.conn.Close()
	p.wg.Wait()
}
