package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The bounds on what a server may send.
const (
	// maxHeaders is how long an answer's status line and headers may be, with those
	// of interim (1xx) answers before it.
	maxHeaders = 32 << 10
	// maxBody is how much of a body is read, framing included. A server that has
	// sent so much of it is healthy; a probe is no download.
	maxBody = 64 << 10
)

// readHead reads the status line and the headers of the final answer.
func (c *httpCheck) readHead(ctx context.Context, r *bufio.Reader, bound *bounded) (*http.Response, error) {
	for {
		err := peekStatusLine(r)
		st := awaitingStatus
		var answer *http.Response
		if err == nil {
			st = readingHeaders
			answer, err = http.ReadResponse(r, c.method)
		}
		var said *cause
		switch {
		case err == nil && interim(answer.StatusCode):
			continue // the bound ends a server that sends nothing else
		case err == nil:
			return answer, nil
		case errors.As(err, &said):
			return nil, err
		case bound.N <= 0:
			return nil, &cause{text: fmt.Sprintf("headers longer than %d KiB", maxHeaders>>10), errs: []error{err}}
		case bound.err != nil:
			return nil, explain(ctx, st, c.timeout, bound.err)
		default:
			return nil, &cause{text: "not HTTP: malformed headers", errs: []error{err}}
		}
	}
}

// bounded reads N bytes of a connection at most, as an io.LimitedReader does, and remembers
// the error that ended the connection: the parser of headers takes what came before it for a
// whole line, and complains of that.
type bounded struct {
	conn io.Reader
	N    int64
	err  error
}

func (r *bounded) Read(b []byte) (int, error) {
	if r.N <= 0 {
		return 0, io.EOF
	}
	n, err := r.conn.Read(b[:min(int64(len(b)), r.N)])
	r.N -= int64(n)
	if err != nil {
		r.err = err
	}
	return n, err
}

// interim reports whether a final answer follows one of this status
// (RFC 9110 section 15.2). After 101 another protocol does.
func interim(status int) bool {
	return status < 200 && status != http.StatusSwitchingProtocols
}

// readBody reads the body to its end, or to the bound, and holds it to what is expected.
func (c *httpCheck) readBody(ctx context.Context, answer *http.Response, bound *bounded) error {
	bound.N = maxBody
	// The body is not closed: that would read the rest of it, without a bound.
	var body []byte
	var err error
	if c.wants.something() {
		body, err = io.ReadAll(answer.Body)
	} else {
		_, err = io.Copy(io.Discard, answer.Body)
	}
	endless := answer.ContentLength < 0 && len(answer.TransferEncoding) == 0 // it ends with the connection
	switch {
	case err == nil && (bound.N > 0 || !endless):
		return c.wants.judge(body, true)
	case bound.N <= 0:
		return c.wants.judge(body, false)
	case errors.Is(err, io.ErrUnexpectedEOF) && endless:
		// Under TLS the connection should end with a close_notify, which many servers leave out.
		return c.wants.judge(body, true)
	case bound.err != nil: // the parser of trailers hides it
		return explain(ctx, readingBody, c.timeout, bound.err)
	}
	return &cause{text: "not HTTP: malformed body", errs: []error{err}}
}

// peekStatusLine waits until a whole status line of HTTP/1 (RFC 9112 section 4) can
// be read, and reads nothing. What cannot become one is refused as soon as that is
// clear: a server of another protocol may be waiting for us to speak.
func peekStatusLine(r *bufio.Reader) error {
	for {
		n := r.Buffered()
		seen, _ := r.Peek(n)
		line, _, whole := bytes.Cut(seen, []byte("\n"))
		if whole && isStatusLine(bytes.TrimSuffix(line, []byte("\r"))) {
			return nil
		}
		if whole || n == r.Size() || !startsLikeHTTP(seen) {
			return notHTTP(line)
		}
		if _, err := r.Peek(n + 1); err != nil {
			return err
		}
	}
}

const httpVersion1 = "HTTP/1."

// startsLikeHTTP reports whether what has come of a line can become a status line.
func startsLikeHTTP(seen []byte) bool {
	n := min(len(seen), len(httpVersion1))
	return string(seen[:n]) == httpVersion1[:n]
}

// isStatusLine reports whether line has the form "HTTP/1.1 200 OK". The reason, and
// the space before it, may be missing.
func isStatusLine(line []byte) bool {
	version, rest, ok := strings.Cut(string(line), " ")
	code, _, _ := strings.Cut(rest, " ")
	minor, isHTTP := strings.CutPrefix(version, httpVersion1)
	return ok && isHTTP && len(minor) == 1 && digits(minor) && len(code) == 3 && digits(code) && code[0] != '0'
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// notHTTP says what came in place of a status line, printable and short.
func notHTTP(line []byte) error {
	const tlsAlert, quoted = 0x15, 40
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) > 0 && line[0] == tlsAlert {
		return &cause{text: "not HTTP: a TLS alert in place of a status line"}
	}
	more := ""
	if len(line) > quoted {
		line, more = line[:quoted], "..."
	}
	return &cause{text: "not HTTP: malformed status line " + strconv.QuoteToASCII(string(line)) + more}
}
