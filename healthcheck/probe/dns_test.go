package probe

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/hadirector/hadirector/healthcheck"
)

// dnsSpec asks for the address of www.example.org.
func dnsSpec(transport string) healthcheck.Spec {
	sp := tcpSpec()
	sp.Type = healthcheck.DNS
	sp.DNS = healthcheck.DNSSpec{TCP: transport == "TCP", Name: "www.example.org.", Record: "A", Codes: "NOERROR"}
	return sp
}

// answers answers a question with what change makes of a good answer.
func answers(change func(*dns.Msg)) func([]byte) [][]byte {
	return func(request []byte) [][]byte {
		q := new(dns.Msg)
		if err := q.Unpack(request); err != nil || len(q.Question) != 1 || q.Response || !q.RecursionDesired {
			return nil
		}
		m := new(dns.Msg).SetReply(q)
		m.Compress = true
		m.Answer = records("www.example.org. 60 IN A 192.0.2.1", "www.example.org. 60 IN A 192.0.2.2")
		change(m)
		answer, err := m.Pack()
		if err != nil {
			panic(err)
		}
		return [][]byte{answer}
	}
}

func records(texts ...string) []dns.RR {
	var rrs []dns.RR
	for _, text := range texts {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

func unchanged(*dns.Msg) {}

func coded(code int) func(*dns.Msg) { return func(m *dns.Msg) { m.Rcode, m.Answer = code, nil } }

// answered has another answer section.
func answered(texts ...string) func(*dns.Msg) {
	return func(m *dns.Msg) { m.Answer = records(texts...) }
}

// dnsTests are answers, judged in the same way over UDP and TCP.
var dnsTests = []struct {
	name   string
	change func(*dns.Msg)
	spec   func(*healthcheck.DNSSpec)
	want   string
}{
	{"an answer", unchanged, nil, ""},
	{"an answer without records", answered(), nil, ""},
	{"the name in other letters", func(m *dns.Msg) { m.Question[0].Name = "WWW.example.ORG." }, nil, ""},
	{"SERVFAIL", coded(dns.RcodeServerFailure), nil, "rcode SERVFAIL, want NOERROR"},
	{"REFUSED without the question", func(m *dns.Msg) { coded(dns.RcodeRefused)(m); m.Question = nil }, nil, "rcode REFUSED, want NOERROR"},
	{"a code without a name", coded(12), nil, "rcode number 12, want NOERROR"},
	{"one of several codes", coded(dns.RcodeNameError), func(d *healthcheck.DNSSpec) { d.Codes = "NOERROR,NXDOMAIN" }, ""},
	{"none of several codes", coded(dns.RcodeNotImplemented), func(d *healthcheck.DNSSpec) { d.Codes = "NOERROR,NXDOMAIN" }, "rcode NOTIMP, want NOERROR, NXDOMAIN"},
	{"the wanted record", unchanged, func(d *healthcheck.DNSSpec) { d.Answer = "192.0.2.2" }, ""},
	{"behind a CNAME", answered("www.example.org. 60 IN CNAME web.example.org.", "web.example.org. 60 IN A 192.0.2.2"),
		func(d *healthcheck.DNSSpec) { d.Answer = "192.0.2.2" }, ""},
	{"another record", unchanged, func(d *healthcheck.DNSSpec) { d.Answer = "192.0.2.3" }, `A "192.0.2.1", want "192.0.2.3"`},
	{"no record", answered("www.example.org. 60 IN CNAME web.example.org."),
		func(d *healthcheck.DNSSpec) { d.Answer = "192.0.2.3" }, `no A in the answer, want "192.0.2.3"`},
	{"no room for a record", func(m *dns.Msg) { answered()(m); m.Truncated = true },
		func(d *healthcheck.DNSSpec) { d.Answer = "192.0.2.3" }, `truncated answer without A, want "192.0.2.3"`},
	{"an IPv6 address", answered("www.example.org. 60 IN AAAA 2001:db8:0::1"),
		func(d *healthcheck.DNSSpec) { d.Record, d.Answer = "AAAA", "2001:db8::1" }, ""},
	{"a name", answered("www.example.org. 60 IN CNAME Web.Example.org."),
		func(d *healthcheck.DNSSpec) { d.Record, d.Answer = "CNAME", "web.example.org" }, ""},
	{"a mail exchanger", answered("www.example.org. 60 IN MX 10 mail.example.org."),
		func(d *healthcheck.DNSSpec) { d.Record, d.Answer = "MX", "10 mail.example.org" }, ""},
	{"a text in two strings", answered(`www.example.org. 60 IN TXT "v=spf1 " "-all"`),
		func(d *healthcheck.DNSSpec) { d.Record, d.Answer = "TXT", "v=spf1 -all" }, ""},
	{"a text in other letters", answered(`www.example.org. 60 IN TXT "Key=AbC="`),
		func(d *healthcheck.DNSSpec) { d.Record, d.Answer = "TXT", "key=abc=" }, `TXT "Key=AbC=", want "key=abc="`},
	{"a text with another end", answered(`www.example.org. 60 IN TXT "all."`),
		func(d *healthcheck.DNSSpec) { d.Record, d.Answer = "TXT", "all" }, `TXT "all.", want "all"`},
	{"a long text", answered(`www.example.org. 60 IN TXT "` + strings.Repeat("x", 255) + `"`),
		func(d *healthcheck.DNSSpec) { d.Record, d.Answer = "TXT", "v=spf1 -all" }, `TXT "` + strings.Repeat("x", 40) + `"..., want "v=spf1 -all"`},
	{"the root", func(m *dns.Msg) { m.Answer = nil }, func(d *healthcheck.DNSSpec) { d.Name, d.Record = ".", "SOA" }, ""},
}

func TestDNS(t *testing.T) {
	for _, transport := range []string{"UDP", "TCP"} {
		for _, tt := range dnsTests {
			t.Run(transport+", "+tt.name, func(t *testing.T) {
				sp := dnsSpec(transport)
				if tt.spec != nil {
					tt.spec(&sp.DNS)
				}
				target := healthcheck.Target{}
				if sp.DNS.TCP {
					target = listen(t, overTCP(answers(tt.change)))
				} else {
					target = listenDatagrams(t, answers(tt.change))
				}
				c, err := New(sp, target)
				if err != nil {
					t.Fatal(err)
				}
				checkCause(t, c.Check(t.Context()), tt.want)
			})
		}
	}
}

// overTCP puts datagrams on a connection, each after its length.
func overTCP(answer func([]byte) [][]byte) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		request, err := readMessage(conn)
		if err != nil {
			return
		}
		for _, message := range answer(request) {
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
		}
		untilClosed(conn)
	}
}

// others are messages that are not the answer to the question.
var others = []struct {
	name   string
	answer func([]byte) [][]byte
	what   string
}{
	{"garbage", datagrams("garbage"), "something that is no DNS message"},
	{"nothing", datagrams(""), "something that is no DNS message"},
	{"the question itself", func(request []byte) [][]byte { return [][]byte{request} }, "the answer to another question"},
	{"another id", answers(func(m *dns.Msg) { m.Id++ }), "the answer to another question"},
	{"another name", answers(func(m *dns.Msg) { m.Question[0].Name = "example.org." }), "the answer to another question"},
	{"another type", answers(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }), "the answer to another question"},
	{"another class", answers(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "the answer to another question"},
	{"no question in a success", answers(func(m *dns.Msg) { m.Question = nil }), "the answer to another question"},
	{"two questions", answers(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), "the answer to another question"},
	{"another kind of message", answers(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), "the answer to another question"},
	{"a record that is cut off", func(request []byte) [][]byte {
		whole := answers(unchanged)(request)[0]
		return [][]byte{whole[:len(whole)-1]}
	}, "something that is no DNS message"},
	{"a name that refers to itself", func(request []byte) [][]byte {
		m := append([]byte(nil), request[:12]...)
		m[2] |= 0x80
		return [][]byte{append(m, 0xc0, 12, 0, 1, 0, 1)}
	}, "something that is no DNS message"},
}

// Over UDP anybody can send a datagram that looks as if it came from the server: what is
// not the answer does not end the wait for it.
func TestDNSIgnoresOtherDatagrams(t *testing.T) {
	for _, tt := range others {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("before the answer", func(t *testing.T) {
				c, err := New(dnsSpec("UDP"), listenDatagrams(t, func(request []byte) [][]byte {
					return append(tt.answer(request), answers(unchanged)(request)...)
				}))
				if err != nil {
					t.Fatal(err)
				}
				checkCause(t, c.Check(t.Context()), "")
			})
			t.Run("alone", func(t *testing.T) {
				c, err := newDNS(dnsSpec("UDP"), direct(listenDatagrams(t, tt.answer)))
				if err != nil {
					t.Fatal(err)
				}
				ctx := newDeadlineContext(t.Context())
				c.dial = stallDatagrams(c.dial, ctx, 1)
				checkCause(t, c.Check(ctx), "timeout after 2s waiting for the answer, got "+tt.what)
			})
			t.Run("over TCP", func(t *testing.T) {
				c, err := New(dnsSpec("TCP"), listen(t, overTCP(tt.answer)))
				if err != nil {
					t.Fatal(err)
				}
				checkCause(t, c.Check(t.Context()), "want an answer, got "+tt.what)
			})
		})
	}
}

// dnsTCPTests are servers that do not even come to a message.
var dnsTCPTests = []struct {
	name  string
	serve func(*net.TCPConn)
	stall int
	want  string
}{
	{"silence", untilClosedTCP, 0, "timeout after 2s waiting for the answer"},
	{"half a length", greets("\x00"), 1, "timeout after 2s waiting for the answer"},
	{"a message that stops", greets("\xff\xffabc"), 5, "timeout after 2s waiting for the answer"},
	{"closed at once", func(conn *net.TCPConn) { _, _ = readMessage(conn) }, never, "closed by peer while waiting for the answer"},
	{"closed behind the length", func(conn *net.TCPConn) { _, _ = readMessage(conn); _, _ = conn.Write([]byte{0, 9}) }, never, "closed by peer while waiting for the answer"},
	{"reset", func(conn *net.TCPConn) { _, _ = readMessage(conn); _ = conn.SetLinger(0) }, never, "reset by peer while waiting for the answer"},
	{"another protocol", greets("SSH-2.0-OpenSSH_9.2p1\r\n"), 23, "timeout after 2s waiting for the answer"},
	{"garbage without an end", floods(strings.Repeat("x", 1000)), never, "want an answer, got something that is no DNS message"},
}

func TestDNSOverTCP(t *testing.T) {
	for _, tt := range dnsTCPTests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newDNS(dnsSpec("TCP"), direct(listen(t, tt.serve)))
			if err != nil {
				t.Fatal(err)
			}
			ctx := newDeadlineContext(t.Context())
			if tt.stall != never {
				c.dial = stall(c.dial, ctx, tt.stall)
			}
			checkCause(t, c.Check(ctx), tt.want)
		})
	}
}

func TestDNSMemoryIsBounded(t *testing.T) {
	c, err := New(dnsSpec("TCP"), listen(t, floods(strings.Repeat("\xff", 64<<10))))
	if err != nil {
		t.Fatal(err)
	}
	checkMemory(t, c, 1<<20)
}

// FuzzDNSAnswer: no message makes the probe panic, and only an answer with the id and the
// question can be a success.
func FuzzDNSAnswer(f *testing.F) {
	const id = 0x1234
	target := healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.1:53")} // never dialed
	c, err := newDNS(dnsSpec("UDP"), direct(target))
	if err != nil {
		f.Fatal(err)
	}
	question, err := c.request(id)
	if err != nil {
		f.Fatal(err)
	}
	for _, tt := range dnsTests {
		f.Add(answers(tt.change)(question)[0], "")
		f.Add(answers(tt.change)(question)[0], "192.0.2.2")
	}
	for _, tt := range others {
		f.Add(tt.answer(question)[0], "192.0.2.2")
	}
	f.Fuzz(func(t *testing.T, message []byte, want string) {
		c := *c
		c.answer = want
		m, err := c.read(message, id)
		if err == nil {
			err = c.judge(m)
			if err == nil && (len(message) < 12 || binary.BigEndian.Uint16(message) != id || message[2]&0x80 == 0 || message[3]&0xf != 0) {
				t.Errorf("healthy after %x", message)
			}
		}
		if err == nil {
			return
		}
		if text := err.Error(); len(text) > 700 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("cause of %d bytes: %q", len(text), text)
		}
	})
}
