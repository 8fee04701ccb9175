package syncconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/hadirector/hadirector/syncd"
)

const hungUp = "it hung up: its configuration does not name this director, or not at this address"

// goneQuiet is the same of one that was let in: it names this director.
const goneQuiet = "it ended the connection without a word: it was killed, or has heard nothing for long"

// explain puts why there is no connection into an operator's words.
func explain(err error) string {
	var frame *syncd.FrameError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.Is(err, errWrongKey):
		return errWrongKey.Error()
	case errors.As(err, &frame):
		return fmt.Sprintf("it sends what is no frame: %v", err)
	case errors.As(err, &record):
		return "it does not speak TLS: another program is there"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this director does not have its address yet"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program has the port"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: no director listens there"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to host"
	case errors.Is(err, syscall.ENETUNREACH):
		return "network is unreachable"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "no answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return hungUp
	case errors.As(err, &op) && op.Op == "local error":
		return "it sends what TLS refuses: " + err.Error()
	case errors.As(err, &op) && op.Op == "remote error":
		// crypto/tls has no type for what the other side says.
		if strings.HasSuffix(err.Error(), "bad certificate") {
			return errWrongKey.Error()
		}
		return "it refuses: " + strings.TrimPrefix(err.Error(), "remote error: ")
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// callerRefusal is why a caller was not let in.
type callerRefusal struct{ token, text string }

func explainCaller(err error) callerRefusal {
	switch text := explain(err); text {
	case errWrongKey.Error():
		return callerRefusal{"key", text}
	case hungUp:
		return callerRefusal{"handshake", "it hung up before it had proved who it is"}
	default:
		return callerRefusal{"handshake", text}
	}
}
