package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/hadirector/hadirector/healthcheck"
)

// grpcCheck makes one call of grpc.health.v1.Health/Check.
//
// It writes and reads the frames of HTTP/2 (RFC 9113) itself, with the codec of
// x/net/http2, and does not use a Transport, for the reasons of httpCheck and one more: a
// Transport reads a connection on a goroutine of its own, which would outlive the probe.
// One request and its answer need no more than this: the answer fits into the window that
// every connection begins with, so nothing is ever asked to send on.
type grpcCheck struct {
	dial    dialFunc
	secure  *secureLayer // nil without TLS
	timeout time.Duration
	request []byte // as it goes on the wire
	notice  healthcheck.Notice
}

// The bounds on what a server may send.
const (
	// maxGRPC is all of it, frames that say nothing included.
	maxGRPC = 64 << 10
	// maxGRPCMessage is the answer's message, which has two bytes.
	maxGRPCMessage = 4 << 10
	// maxGRPCFrame is the size of a frame that needs no settings (RFC 9113 section 4.2).
	maxGRPCFrame = 16 << 10
)

const awaitingGRPC step = "waiting for the gRPC answer"

func newGRPC(sp healthcheck.Spec, w way, store *tlsStore) (*grpcCheck, error) {
	g := sp.GRPC
	if !visible(g.Host) {
		return nil, fmt.Errorf("host %q is not one that a request can carry", g.Host)
	}
	c := &grpcCheck{dial: dialWithin(w, sp.ConnectTimeout), timeout: sp.Timeout}
	scheme, as := "http", healthcheck.HTTP
	if g.TLS {
		scheme, as = "https", healthcheck.HTTPS
		var err error
		if c.secure, err = newSecure(store, sp.TLS, serverName(g.Host, w.addr), sp.Timeout, "h2"); err != nil {
			return nil, err
		}
	}
	var err error
	c.request, err = grpcRequest(scheme, hostHeader(as, g.Host, w.addr), g.Service)
	return c, err
}

// grpcRequest returns all that the check has to say: the preface and the call, on stream 1.
func grpcRequest(scheme, authority, service string) ([]byte, error) {
	var headers bytes.Buffer
	encoder := hpack.NewEncoder(&headers)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", scheme}, {":path", "/grpc.health.v1.Health/Check"}, {":authority", authority},
		{"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", "hadirector"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return nil, err
		}
	}
	message := healthRequest(service)
	if headers.Len() > maxGRPCFrame || len(message) > maxGRPCFrame {
		return nil, errors.New("host or service is too long for a request")
	}
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&b, nil)
	// The writer is a buffer, which has no errors.
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true})
	_ = fr.WriteData(1, true, message)
	return b.Bytes(), nil
}

// Check succeeds when the service says that it serves.
func (c *grpcCheck) Check(ctx context.Context) error {
	if c.secure != nil {
		if err := c.secure.prepare(); err != nil {
			return err
		}
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return explain(ctx, connecting, c.timeout, err)
	}
	defer reset(conn)
	stop := endWith(ctx, conn)
	defer stop()

	if c.secure != nil {
		secure, err := c.secure.handshake(ctx, conn)
		if err != nil {
			return err
		}
		c.notice = c.secure.notice(secure.ConnectionState(), time.Now())
		conn = secure
	}
	if _, err := conn.Write(c.request); err != nil {
		return explain(ctx, sending, c.timeout, err)
	}
	return c.read(ctx, conn)
}

// Notice is that of the last success.
func (c *grpcCheck) Notice() healthcheck.Notice { return c.notice }

// grpcAnswer is what has come of the answer.
type grpcAnswer struct {
	status  string // of HTTP
	content string // its type
	message []byte // with its prefix
	code    string // grpc-status
	text    string // grpc-message
}

// read reads frames until the answer is complete.
func (c *grpcCheck) read(ctx context.Context, conn net.Conn) error {
	bound := &io.LimitedReader{R: conn, N: maxGRPC}
	r := bufio.NewReader(bound)
	fr := http2.NewFramer(conn, r)
	fr.SetMaxReadFrameSize(maxGRPCFrame)
	fr.SetReuseFrames()
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.MaxHeaderListSize = maxHeaders
	if err := peekHTTP2(r); err != nil {
		return c.explain(ctx, bound, err)
	}
	var a grpcAnswer
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			return c.explain(ctx, bound, err)
		}
		ended, err := a.take(fr, frame)
		switch {
		case err != nil:
			return c.explain(ctx, bound, err)
		case ended:
			return a.verdict()
		}
	}
}

// peekHTTP2 looks at the first frame, which is the server's settings (RFC 9113 section
// 3.4), and says what else it is.
func peekHTTP2(r *bufio.Reader) error {
	const header, typeAt = 9, 3
	first, err := r.Peek(1)
	switch {
	case err != nil:
		return err
	case first[0] != 0: // a frame of settings does not have 64 KiB
		seen, _ := r.Peek(r.Buffered())
		for startsLikeHTTP(seen) && len(seen) < len(httpVersion1) && err == nil {
			seen, err = r.Peek(len(seen) + 1)
		}
		return notHTTP2(seen)
	}
	start, err := r.Peek(header)
	if err == nil && start[typeAt] != byte(http2.FrameSettings) {
		start, _ = r.Peek(r.Buffered())
		return notHTTP2(start)
	}
	return err
}

// notHTTP2 says what came in place of HTTP/2.
func notHTTP2(seen []byte) error {
	const tlsAlert = 0x15
	switch {
	case seen[0] == tlsAlert:
		return &cause{text: "not HTTP/2: a TLS alert in its place"}
	case strings.HasPrefix(string(seen), httpVersion1):
		return &cause{text: "not HTTP/2: server answered with HTTP/1"}
	}
	const quoted = 20
	return &cause{text: "not HTTP/2: " + strconv.QuoteToASCII(string(seen[:min(len(seen), quoted)]))}
}

// take takes a frame in, answers it if it has to, and tells whether the answer is complete.
func (a *grpcAnswer) take(fr *http2.Framer, frame http2.Frame) (ended bool, err error) {
	if id := frame.Header().StreamID; id > 1 {
		return false, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return false, fr.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return false, fr.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo || f.LastStreamID < 1 {
			return false, &cause{text: fmt.Sprintf("server ended the connection: %v", f.ErrCode)}
		}
	case *http2.PushPromiseFrame: // the settings have forbidden it
		return false, http2.ConnectionError(http2.ErrCodeProtocol)
	case *http2.RSTStreamFrame:
		return false, &cause{text: fmt.Sprintf("server ended the call: %v", f.ErrCode)}
	case *http2.MetaHeadersFrame:
		if f.Truncated {
			return false, &cause{text: fmt.Sprintf("headers longer than %d KiB", maxHeaders>>10)}
		}
		a.headers(f.Fields)
		return f.StreamEnded(), nil
	case *http2.DataFrame:
		if err := a.foreign(); err != nil {
			return false, err
		}
		if a.message = append(a.message, f.Data()...); grpcLength(a.message) > maxGRPCMessage {
			return false, &cause{text: fmt.Sprintf("gRPC message longer than %d KiB", maxGRPCMessage>>10)}
		}
		return f.StreamEnded(), nil
	}
	return false, nil
}

// headers takes headers or trailers.
func (a *grpcAnswer) headers(fields []hpack.HeaderField) {
	for _, f := range fields {
		switch f.Name {
		case ":status":
			if !strings.HasPrefix(f.Value, "1") { // interim
				a.status = f.Value
			}
		case "content-type":
			a.content = f.Value
		case "grpc-status":
			a.code = f.Value
		case "grpc-message":
			a.text = f.Value
		}
	}
}

// explain turns the error that ended the reading into its cause.
func (c *grpcCheck) explain(ctx context.Context, bound *io.LimitedReader, err error) error {
	var said *cause
	var connection http2.ConnectionError
	var stream http2.StreamError
	switch {
	case errors.As(err, &said):
		return err
	case ctx.Err() == nil && bound.N <= 0:
		return &cause{text: fmt.Sprintf("answer longer than %d KiB", maxGRPC>>10), errs: []error{err}}
	case errors.Is(err, http2.ErrFrameTooLarge):
		return &cause{text: "malformed HTTP/2: frame too large", errs: []error{err}}
	case errors.As(err, &connection):
		return &cause{text: fmt.Sprintf("malformed HTTP/2: %v", http2.ErrCode(connection)), errs: []error{err}}
	case errors.As(err, &stream):
		return &cause{text: fmt.Sprintf("malformed HTTP/2: %v", stream.Code), errs: []error{err}}
	case fromNetwork(err):
		return explain(ctx, awaitingGRPC, c.timeout, err)
	}
	return &cause{text: "malformed HTTP/2", errs: []error{err}}
}
