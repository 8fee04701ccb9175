package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// step is what a probe was doing when it failed.
type step string

const (
	connecting     step = "connecting"
	handshaking    step = "doing the TLS handshake"
	sending        step = "sending the request"
	awaitingStatus step = "waiting for the status line"
	readingHeaders step = "reading the headers"
	readingBody    step = "reading the body"
)

// cause is an error that says in a sentence why a probe failed. It wraps the errors
// behind it, whose text has addresses and ports in it.
type cause struct {
	text string
	errs []error
	step step // that failed; empty: it does not matter
	late bool // it took too long
}

func (c *cause) Error() string   { return c.text }
func (c *cause) Unwrap() []error { return c.errs }

// ownTrouble are the kernel's errors that tell about the director and nothing about
// the real server.
var ownTrouble = map[syscall.Errno]string{
	syscall.EMFILE:        "not asked: too many open files on this director",
	syscall.ENFILE:        "not asked: too many open files on this director",
	syscall.ENOBUFS:       "not asked: no memory for sockets on this director",
	syscall.ENOMEM:        "not asked: no memory for sockets on this director",
	syscall.EADDRNOTAVAIL: "not asked: no free local port on this director",
	syscall.EADDRINUSE:    "not asked: no free local port on this director",
}

// explain turns the error that ended a step into its cause. The timeout is only what
// the text says; ctx and err decide whether it was one.
func explain(ctx context.Context, st step, timeout time.Duration, err error) error {
	because := func(format string, args ...any) error {
		return &cause{text: fmt.Sprintf(format, args...), errs: []error{err}, step: st}
	}
	late := func(format string, args ...any) error {
		return &cause{text: fmt.Sprintf(format, args...), errs: []error{err}, step: st, late: true}
	}
	// Before the errors: a canceled probe looks like one that has timed out.
	if errors.Is(ctx.Err(), context.Canceled) {
		err = ctx.Err()
		return because("canceled while %s", st)
	}
	if own, ok := errors.AsType[*cause](err); ok {
		return own
	}
	// Before the timeouts: ETIMEDOUT calls itself one, and is not ours.
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if text, ok := ownTrouble[errno]; ok {
			return &cause{text: text, errs: []error{healthcheck.ErrNotAsked, err}}
		}
		switch errno {
		case syscall.ECONNREFUSED:
			return because("connect refused")
		case syscall.EHOSTUNREACH:
			return because("no route to host")
		case syscall.ENETUNREACH:
			return because("network unreachable")
		case syscall.ECONNRESET:
			return because("reset by peer while %s", st)
		case syscall.EPIPE:
			return because("closed by peer while %s", st)
		}
		return because("%v while %s", errno, st)
	}
	if text := tlsAlert(err); text != "" {
		return because("TLS alert: %s", text)
	}
	if tlsFault(err) {
		return because("TLS broken while %s: %s", st, tlsText(err))
	}
	var own *connectTimeout
	var timeouter net.Error
	switch {
	case errors.As(err, &own):
		return late("connect timeout after %v", own.after)
	case errors.As(err, &timeouter) && timeouter.Timeout():
		if st == connecting {
			return late("connect timeout after %v", timeout)
		}
		return late("timeout after %v %s", timeout, st)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return because("closed by peer while %s", st)
	}
	return because("%s while %s", short(innermost(err).Error(), longestError), st)
}

// longestError bounds the text of an error that none of these is: it may quote the server.
const longestError = 120

// fromNetwork reports whether err came from the connection, and not from a parser of
// what it brought.
func fromNetwork(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) || tlsFault(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// innermost is the error without the addresses that net wraps around it.
func innermost(err error) error {
	var op *net.OpError
	for errors.As(err, &op) {
		err = op.Err
	}
	return err
}
