package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

const (
	awaitingBanner   step = "waiting for the banner"
	awaitingEHLO     step = "waiting for the reply to EHLO"
	awaitingSTARTTLS step = "waiting for the reply to STARTTLS"
	awaitingQUIT     step = "waiting for the reply to QUIT"
)

// smtpCheck talks to a mail server (RFC 5321) up to the point where a mail would come: the
// banner, EHLO, and QUIT, with STARTTLS (RFC 3207) between if it is wanted.
type smtpCheck struct {
	dial    dialFunc
	timeout time.Duration // for the cause's text
	helo    string        // empty: the address literal of the connection's own end
	secure  *secureLayer  // nil: no STARTTLS
	notice  healthcheck.Notice
}

func newSMTP(sp healthcheck.Spec, w way, store *tlsStore) (*smtpCheck, error) {
	if !visible(sp.SMTP.Helo) {
		return nil, fmt.Errorf("name %q is not one that EHLO can carry", sp.SMTP.Helo)
	}
	c := &smtpCheck{dial: dialWithin(w, sp.ConnectTimeout), timeout: sp.Timeout, helo: sp.SMTP.Helo}
	if sp.SMTP.StartTLS {
		var err error
		if c.secure, err = newSecure(store, sp.TLS, w.addr.Addr().WithZone("").String(), sp.Timeout); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Check succeeds when every reply is the wanted one.
func (c *smtpCheck) Check(ctx context.Context) error {
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
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()

	talk := newSMTPTalk(c, conn)
	greeting, err := talk.hear(ctx, awaitingBanner)
	if err != nil {
		return err
	}
	if greeting.code != "220" {
		return &cause{text: fmt.Sprintf("banner %s, want 220", quoted(greeting.first))}
	}
	offers, err := talk.command(ctx, awaitingEHLO, "EHLO", c.name(conn), "250")
	if err != nil {
		return err
	}
	if c.secure != nil {
		if talk, err = c.startTLS(ctx, talk, offers); err != nil {
			return err
		}
	}
	_, err = talk.command(ctx, awaitingQUIT, "QUIT", "", "221")
	return err
}

// Notice is that of the last success.
func (c *smtpCheck) Notice() healthcheck.Notice { return c.notice }

// startTLS makes the connection secure, and introduces itself anew: the server has
// forgotten what was before (RFC 3207 section 4.2).
func (c *smtpCheck) startTLS(ctx context.Context, plain *smtpTalk, offers smtpReply) (*smtpTalk, error) {
	if !offers.startTLS {
		return nil, &cause{text: "STARTTLS is not offered"}
	}
	if _, err := plain.command(ctx, awaitingSTARTTLS, "STARTTLS", "", "220"); err != nil {
		return nil, err
	}
	// Whoever sits on the way could have put it there, to be taken for what comes secured.
	if n := plain.r.Buffered(); n > 0 {
		more, _ := plain.r.Peek(n)
		return nil, &cause{text: fmt.Sprintf("unencrypted %s behind the reply to STARTTLS", quoted(more))}
	}
	conn, err := c.secure.handshake(ctx, plain.conn)
	if err != nil {
		return nil, err
	}
	c.notice = c.secure.notice(conn.ConnectionState(), time.Now())
	talk := newSMTPTalk(c, conn)
	_, err = talk.command(ctx, awaitingEHLO, "EHLO", c.name(plain.conn), "250")
	return talk, err
}

// name is how the probe introduces itself. A client without a name of its own has its
// address (RFC 5321 section 4.1.3).
func (c *smtpCheck) name(conn net.Conn) string {
	if c.helo != "" {
		return c.helo
	}
	own, err := netip.ParseAddrPort(conn.LocalAddr().String())
	switch a := own.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "localhost" // a connection of a test
	case a.Is6():
		return "[IPv6:" + a.String() + "]"
	default:
		return "[" + a.String() + "]"
	}
}

// The bounds on what a server may reply: a line has 512 bytes at most (RFC 5321 section
// 4.5.3.1.5), and a list of extensions is not long.
const (
	maxReplyLine  = 2 << 10
	maxReplyBytes = 16 << 10
)

// smtpTalk is one connection's, plain or secured.
type smtpTalk struct {
	check *smtpCheck
	conn  net.Conn
	bound *io.LimitedReader
	r     *bufio.Reader
}

func newSMTPTalk(c *smtpCheck, conn net.Conn) *smtpTalk {
	bound := &io.LimitedReader{R: conn}
	return &smtpTalk{check: c, conn: conn, bound: bound, r: bufio.NewReaderSize(bound, maxReplyLine)}
}

// command says something and wants a reply with that code.
func (t *smtpTalk) command(ctx context.Context, st step, verb, argument, code string) (smtpReply, error) {
	line := strings.TrimSuffix(verb+" "+argument, " ") + "\r\n"
	if _, err := t.conn.Write([]byte(line)); err != nil {
		return smtpReply{}, explain(ctx, sending, t.check.timeout, err)
	}
	reply, err := t.hear(ctx, st)
	if err == nil && reply.code != code {
		err = &cause{text: fmt.Sprintf("reply %s to %s, want %s", quoted(reply.first), verb, code)}
	}
	return reply, err
}

// hear waits for a reply.
func (t *smtpTalk) hear(ctx context.Context, st step) (smtpReply, error) {
	t.bound.N = maxReplyBytes
	reply, err := readReply(t.r)
	var said *cause
	switch {
	case err == nil, errors.As(err, &said):
		return reply, err
	case t.bound.N <= 0:
		return reply, &cause{text: fmt.Sprintf("reply longer than %d KiB", maxReplyBytes>>10), errs: []error{err}}
	}
	return reply, explain(ctx, st, t.check.timeout, err)
}

// smtpReply is a server's reply (RFC 5321 section 4.2), of one line or several.
type smtpReply struct {
	code     string
	first    []byte // the first line
	startTLS bool   // a line after the first names the extension (section 4.1.1.1)
}

// readReply reads one reply. Its errors are causes when the server says something else.
func readReply(r *bufio.Reader) (smtpReply, error) {
	var reply smtpReply
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return reply, err
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		code, text, more, ok := parseReplyLine(line)
		if err != nil || !ok || reply.code != "" && code != reply.code {
			return reply, &cause{text: "not SMTP: malformed reply " + quoted(line)}
		}
		if reply.code == "" {
			reply.code, reply.first = code, bytes.Clone(line)
		} else if keyword, _, _ := strings.Cut(text, " "); strings.EqualFold(keyword, "STARTTLS") {
			reply.startTLS = true
		}
		if !more {
			return reply, nil
		}
	}
}

// parseReplyLine takes a line of a reply apart; more says that others follow.
func parseReplyLine(line []byte) (code, text string, more, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digits(string(line[:3])) {
		return "", "", false, false
	}
	code = string(line[:3])
	if len(line) == 3 {
		return code, "", false, true
	}
	return code, string(line[4:]), line[3] == '-', line[3] == '-' || line[3] == ' '
}
