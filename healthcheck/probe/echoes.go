package probe

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/net/icmp"

	"github.com/hadirector/hadirector/healthcheck"
)

const awaitingEcho step = "waiting for the echo reply"

// echoes asks hosts for echoes, all those of a family over one [echoSocket]: the kernel
// hands every reply to every raw socket, so that one for each host would cost the square of
// their number.
//
// The socket is open, and a goroutine receives from it, as long as a request is on its way.
// One that fails is no request's fault: who waits gets no verdict, and the next request
// opens another.
type echoes struct {
	ifname string // where requests leave and replies have to come; empty: anywhere

	mu      sync.Mutex
	sockets [2]*sharedSocket // of IPv4 and IPv6; nil: not open
}

// sharedSocket is a socket with the requests on their way over it. The echoes' mutex guards
// it.
type sharedSocket struct {
	*echoSocket
	waiting map[echoKey]*waitingEcho
}

// waitingEcho is a request on its way.
type waitingEcho struct {
	host   netip.Addr
	echo   icmp.Echo
	answer chan error // of one; nil is the reply
}

func family(six bool) int {
	if six {
		return 1
	}
	return 0
}

// ask sends a host, an address without a zone, one request and waits for its reply. It
// returns where it was when it failed.
func (e *echoes) ask(ctx context.Context, host netip.Addr) (step, error) {
	s, w, err := e.join(host)
	if err != nil {
		return connecting, err
	}
	defer e.leave(s, w)
	message, err := encodeEcho(s.six, &w.echo)
	if err != nil {
		return sending, err
	}
	if err := s.send(host, message); err != nil {
		select {
		case err = <-w.answer: // the socket has failed, and why
		default:
		}
		return sending, err
	}
	select {
	case err = <-w.answer:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return awaitingEcho, err
}

// join registers a request to a host, and opens the socket if need be.
func (e *echoes) join(host netip.Addr) (*sharedSocket, *waitingEcho, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := family(host.Is6())
	s := e.sockets[at]
	if s == nil {
		socket, err := openEcho(host.Is6(), e.ifname)
		if err != nil {
			return nil, nil, err
		}
		s = &sharedSocket{echoSocket: socket, waiting: make(map[echoKey]*waitingEcho)}
		e.sockets[at] = s
		go e.receive(s)
	}
	w := &waitingEcho{host: host, echo: newEcho(), answer: make(chan error, 1)}
	for s.waiting[keyOf(&w.echo)] != nil {
		w.echo = newEcho()
	}
	s.waiting[keyOf(&w.echo)] = w
	return s, w, nil
}

// leave ends a request, and closes the socket after the last one.
func (e *echoes) leave(s *sharedSocket, w *waitingEcho) {
	e.mu.Lock()
	delete(s.waiting, keyOf(&w.echo))
	last := len(s.waiting) == 0 && e.giveUp(s)
	e.mu.Unlock()
	if last {
		s.close() // waits for receive to let go of the socket, which may need the mutex
	}
}

// giveUp has no further request use a socket. The one who is told true closes it.
func (e *echoes) giveUp(s *sharedSocket) bool {
	at := family(s.six)
	if e.sockets[at] != s {
		return false
	}
	e.sockets[at] = nil
	return true
}

// receive hands out what comes until the socket is closed or fails.
func (e *echoes) receive(s *sharedSocket) {
	err := s.receive(
		func(host netip.Addr, message []byte) {
			if echo, ok := parseReply(message, s.six); ok {
				e.answer(s, host, echo, nil)
			}
		},
		func(host netip.Addr, message []byte, err error) {
			if echo, ok := parseRequest(message, s.six); ok {
				e.answer(s, host, echo, err)
			}
		})
	e.mu.Lock()
	failed := e.giveUp(s)
	for _, w := range s.waiting {
		w.deliver(&cause{text: fmt.Sprintf("not asked: no echo reply can be received: %v", err), errs: []error{healthcheck.ErrNotAsked, err}})
	}
	e.mu.Unlock()
	if failed {
		s.close()
	}
}

// answer gives a request of a host its reply, or the error that is about it.
func (e *echoes) answer(s *sharedSocket, host netip.Addr, echo *icmp.Echo, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := s.waiting[keyOf(echo)]
	// An error has only the beginning of the request in it.
	if w == nil || w.host != host || err == nil && !bytes.Equal(w.echo.Data, echo.Data) {
		return
	}
	w.deliver(err)
}

// deliver gives a request its answer, unless it has one.
func (w *waitingEcho) deliver(err error) {
	select {
	case w.answer <- err:
	default:
	}
}
