package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/hadirector/hadirector/healthcheck"
)

// dnsCheck asks a name server one question (RFC 1035).
//
// It uses miekg/dns for packing and parsing alone. The socket is its own, so that the
// context bounds the probe and a datagram that is not the answer to the question, by its
// id and by the question that it repeats, neither ends the wait nor answers it.
type dnsCheck struct {
	dial     dialFunc
	tcp      bool
	timeout  time.Duration // for the cause's text
	question dns.Question
	codes    []string
	answer   string // empty: the code alone counts
}

func newDNS(sp healthcheck.Spec, w way) (*dnsCheck, error) {
	d := sp.DNS
	record, known := dns.StringToType[d.Record]
	if !known {
		return nil, fmt.Errorf("record type %q is not known", d.Record)
	}
	if _, ok := dns.IsDomainName(d.Name); !ok || !dns.IsFqdn(d.Name) {
		return nil, fmt.Errorf("name %q is not a full domain name", d.Name)
	}
	codes := strings.Split(d.Codes, ",")
	for _, code := range codes {
		if _, ok := dns.StringToRcode[code]; !ok {
			return nil, fmt.Errorf("response code %q is not known", code)
		}
	}
	c := &dnsCheck{
		dial: datagramTo(w), tcp: d.TCP, timeout: sp.Timeout,
		question: dns.Question{Name: d.Name, Qtype: record, Qclass: dns.ClassINET},
		codes:    codes, answer: d.Answer,
	}
	if d.TCP {
		c.dial = dialWithin(w, sp.ConnectTimeout)
	}
	return c, nil
}

// Check succeeds when the server's answer to the question is a good one.
func (c *dnsCheck) Check(ctx context.Context) error {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	id := binary.BigEndian.Uint16(b[:])
	request, err := c.request(id)
	if err != nil {
		return fmt.Errorf("encode DNS question: %w", err)
	}
	if c.tcp {
		return c.overTCP(ctx, id, request)
	}
	var other error // why the last datagram was not the answer
	x := exchange{dial: c.dial, timeout: c.timeout, again: c.timeout / 2, request: request, judge: func(datagram []byte) (error, bool) {
		answer, err := c.read(datagram, id)
		if err != nil {
			other = err
			return nil, true
		}
		return c.judge(answer), false
	}}
	err = x.run(ctx)
	if other != nil && err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &cause{text: fmt.Sprintf("%v, got %v", err, other), errs: []error{err}}
	}
	return err
}

// request is the question on the wire. Recursion is desired (RFC 1035 section 4.1.1): a
// resolver that cannot recurse has no answer, and to another server it makes no difference.
func (c *dnsCheck) request(id uint16) ([]byte, error) {
	m := dns.Msg{MsgHdr: dns.MsgHdr{Id: id, RecursionDesired: true}, Question: []dns.Question{c.question}}
	return m.Pack()
}

// overTCP asks on a connection, where a message follows its length (RFC 1035 section
// 4.2.2) and nobody else can put one.
func (c *dnsCheck) overTCP(ctx context.Context, id uint16, request []byte) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return explain(ctx, connecting, c.timeout, err)
	}
	defer reset(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()

	// In one segment: some servers take the length and the message for two requests.
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)); err != nil {
		return explain(ctx, sending, c.timeout, err)
	}
	message, err := readMessage(conn)
	if err != nil {
		return explain(ctx, awaitingAnswer, c.timeout, err)
	}
	answer, err := c.read(message, id)
	if err != nil {
		return &cause{text: fmt.Sprintf("want an answer, got %v", err)}
	}
	return c.judge(answer)
}

func readMessage(conn net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, message)
	if err == io.EOF && len(message) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return message, err
}

// What a message can be in place of the answer.
var (
	errNoMessage   = errors.New("something that is no DNS message")
	errOtherAnswer = errors.New("the answer to another question")
)

// read returns the message if it is the answer to the question.
func (c *dnsCheck) read(message []byte, id uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(message); err != nil {
		return nil, errNoMessage
	}
	if !m.Response || m.Opcode != dns.OpcodeQuery || m.Id != id {
		return nil, errOtherAnswer
	}
	switch {
	case len(m.Question) == 0 && m.Rcode != dns.RcodeSuccess: // a server that refuses need not repeat it
	case len(m.Question) != 1, !strings.EqualFold(m.Question[0].Name, c.question.Name),
		m.Question[0].Qtype != c.question.Qtype, m.Question[0].Qclass != c.question.Qclass:
		return nil, errOtherAnswer
	}
	return m, nil
}

// judge looks at the answer.
func (c *dnsCheck) judge(m *dns.Msg) error {
	code, ok := dns.RcodeToString[m.Rcode]
	if !ok {
		code = fmt.Sprintf("number %d", m.Rcode)
	}
	if !slices.Contains(c.codes, code) {
		return &cause{text: fmt.Sprintf("rcode %s, want %s", code, strings.Join(c.codes, ", "))}
	}
	if c.answer == "" {
		return nil
	}
	found, some := "", false
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != c.question.Qtype || rr.Header().Class != c.question.Qclass {
			continue // as a CNAME on the way
		}
		text := data(rr)
		if c.wants(text) {
			return nil
		}
		if !some {
			found, some = text, true
		}
	}
	kind := dns.TypeToString[c.question.Qtype]
	switch {
	case some:
		return &cause{text: fmt.Sprintf("%s %s, want %s", kind, quoted([]byte(found)), quoted([]byte(c.answer)))}
	case m.Truncated:
		return &cause{text: fmt.Sprintf("truncated answer without %s, want %s", kind, quoted([]byte(c.answer)))}
	}
	return &cause{text: fmt.Sprintf("no %s in the answer, want %s", kind, quoted([]byte(c.answer)))}
}

// data is a record's data as a zone file has it, and a text without quotes.
func data(rr dns.RR) string {
	if txt, ok := rr.(*dns.TXT); ok {
		return strings.Join(txt.Txt, "")
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

// wants tells whether a record has the data that is asked for. Names are the same in either
// case and with the dot at their end or without it; a text and a key are not.
func (c *dnsCheck) wants(data string) bool {
	switch c.question.Qtype {
	case dns.TypeTXT, dns.TypeCAA, dns.TypeDNSKEY, dns.TypeRRSIG:
		return data == c.answer
	}
	return strings.EqualFold(strings.TrimSuffix(data, "."), strings.TrimSuffix(c.answer, "."))
}
