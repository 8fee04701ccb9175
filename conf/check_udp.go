package conf

import (
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// udpCheck is type "udp".
var udpCheck = checkKind{
	name:  healthcheck.UDP,
	keys:  []string{"payload", "reply", "reply_min", "reply_max", "wait"},
	read:  func(p *parser, t *node, s *healthcheck.Spec) { s.UDP = p.udpSpec(t, s.Timeout) },
	write: func(w *writer, s healthcheck.Spec) { w.udpSpec(s.UDP) },
}

// maxPayload is what fits into one packet on any way that IPv6 may take (RFC 8200 section
// 5), headers taken off.
const maxPayload = 1232

func (p *parser) udpSpec(t *node, timeout time.Duration) healthcheck.UDPSpec {
	s := healthcheck.UDPSpec{
		Payload: p.bytes(p.required(t, "payload", `the datagram to send, such as "PING" or "hex:00ff"`), "the datagram to send", maxPayload),
	}
	needed := ""
	for _, key := range []string{"reply", "reply_min", "reply_max"} {
		if t.kid(key) != nil {
			needed = key
			break
		}
	}
	wait := t.kid("wait")
	if needed == "" {
		s.Wait = p.duration(wait, defaultUDPWait(timeout), time.Millisecond, timeout, time.Millisecond)
		return s
	}
	if wait != nil {
		p.keyErrorf(wait, "is for a check that needs no reply, and %s asks for one: it is waited for up to the timeout", needed)
	}
	s.Reply = p.pattern(t.kid("reply"), `what the reply begins with, such as "PONG" or "hex:XXXX8X"`, healthcheck.MaxReply)
	s.ReplyMin = int(p.integer(t.kid("reply_min"), 0, 0, healthcheck.MaxReply))
	s.ReplyMax = int(p.integer(t.kid("reply_max"), healthcheck.MaxReply, 0, healthcheck.MaxReply))
	switch least := len(s.Reply.Value); {
	case s.ReplyMin > s.ReplyMax:
		p.errorf(t.at("reply_min"), "%d is more than reply_max, %d", s.ReplyMin, s.ReplyMax)
	case s.ReplyMax < least:
		p.errorf(t.at("reply_max"), "%d is less than the %d bytes that the reply begins with", s.ReplyMax, least)
	}
	return s
}

// defaultUDPWait is short enough to count as a quick answer in the Monitor's schedule, and
// long beside the time that an ICMP error takes.
func defaultUDPWait(timeout time.Duration) time.Duration {
	return max(timeout/4, time.Millisecond).Truncate(time.Millisecond)
}

func (w *writer) udpSpec(s healthcheck.UDPSpec) {
	w.bytes("payload", s.Payload)
	if s.Wait > 0 {
		w.duration("wait", s.Wait)
		return
	}
	if s.Reply.Value != "" {
		w.text("reply", s.Reply.String())
	}
	w.integer("reply_min", int64(s.ReplyMin))
	w.integer("reply_max", int64(s.ReplyMax))
}
