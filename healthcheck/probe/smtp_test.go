package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func smtpSpec() healthcheck.Spec {
	sp := tcpSpec()
	sp.Type = healthcheck.SMTP
	return sp
}

func startTLSSpec(ca string) healthcheck.Spec {
	sp := smtpSpec()
	sp.SMTP.StartTLS = true
	sp.TLS = healthcheck.TLSSpec{CA: ca, Name: "www.example.com"}
	return sp
}

// replies gives each reply in turn, the first unasked and the others to a line each, and
// then waits.
func replies(texts ...string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		reply(conn, texts...)
		untilClosed(conn)
	}
}

func reply(conn net.Conn, texts ...string) (heard []string) {
	r := bufio.NewReader(conn)
	for i, text := range texts {
		if i > 0 {
			line, err := r.ReadString('\n')
			if err != nil {
				return heard
			}
			heard = append(heard, line)
		}
		_, _ = io.WriteString(conn, text)
	}
	return heard
}

const (
	mailBanner = "220 mail.example.com ESMTP\r\n"
	mailOffers = "250-mail.example.com\r\n250-SIZE 1000\r\n250-starttls\r\n250 HELP\r\n"
	mailBye    = "221 2.0.0 Bye\r\n"
)

// smtpTests are real servers on 127.0.0.1, as in httpTests.
var smtpTests = []struct {
	name  string
	serve func(*net.TCPConn)
	stall int
	want  string
}{
	{"a mail server", replies(mailBanner, mailOffers, mailBye), never, ""},
	{"short replies", replies("220\r\n", "250\r\n", "221\r\n"), never, ""},
	{"bare line feeds", replies("220 x\n", "250 x\n", "221 x\n"), never, ""},
	{"a banner of several lines", replies("220-mail.example.com\r\n220-No unsolicited mail\r\n220 \r\n", mailOffers, mailBye), never, ""},

	{"silence", untilClosedTCP, 0, "timeout after 2s waiting for the banner"},
	{"a banner that stops", replies("220-mail\r\n220"), 13, "timeout after 2s waiting for the banner"},
	{"no reply to EHLO", replies(mailBanner), len(mailBanner), "timeout after 2s waiting for the reply to EHLO"},
	{"no reply to QUIT", replies(mailBanner, mailOffers), len(mailBanner + mailOffers), "timeout after 2s waiting for the reply to QUIT"},
	{"closed at once", func(*net.TCPConn) {}, never, "closed by peer while waiting for the banner"},
	{"closed behind the banner", func(conn *net.TCPConn) {
		reply(conn, mailBanner, "")
		_ = conn.CloseWrite()
		untilClosed(conn)
	}, never, "closed by peer while waiting for the reply to EHLO"},
	{"reset", func(conn *net.TCPConn) { reply(conn, mailBanner, ""); _ = conn.SetLinger(0) }, never, "reset by peer while waiting for the reply to EHLO"},

	{"a server that wants nobody", replies("554 5.3.2 Not now\r\n"), never, `banner "554 5.3.2 Not now", want 220`},
	{"a server that is full", replies("421-too many\r\n421 connections\r\n"), never, `banner "421-too many", want 220`},
	{"EHLO is refused", replies(mailBanner, "550 5.7.1 Who are you?\r\n"), never, `reply "550 5.7.1 Who are you?" to EHLO, want 250`},
	{"EHLO is not known", replies(mailBanner, "502\r\n"), never, `reply "502" to EHLO, want 250`},
	{"QUIT is refused", replies(mailBanner, mailOffers, "500 no\r\n"), never, `reply "500 no" to QUIT, want 221`},

	{"another protocol", replies("SSH-2.0-OpenSSH_9.2\r\n"), never, `not SMTP: malformed reply "SSH-2.0-OpenSSH_9.2"`},
	{"a code of two digits", replies("22 mail\r\n"), never, `not SMTP: malformed reply "22 mail"`},
	{"a code that is none", replies("120 mail\r\n"), never, `not SMTP: malformed reply "120 mail"`},
	{"a code that runs on", replies("2200 mail\r\n"), never, `not SMTP: malformed reply "2200 mail"`},
	{"two codes in a reply", replies("220-mail\r\n221 bye\r\n"), never, `not SMTP: malformed reply "221 bye"`},
	{"an empty line", replies("\r\n"), never, `not SMTP: malformed reply ""`},
	{"a line without an end", floods("220 " + strings.Repeat("x", 996)), never, `not SMTP: malformed reply "220 ` + strings.Repeat("x", 36) + `"...`},
	{"lines without an end", floods("220-x\r\n"), never, "reply longer than 16 KiB"},
	{"garbage without an end", floods("\xff\x00"), never, `not SMTP: malformed reply "` + strings.Repeat(`\xff\x00`, 20) + `"...`},
}

func TestSMTP(t *testing.T) {
	for _, tt := range smtpTests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newSMTP(smtpSpec(), direct(listen(t, tt.serve)), nil)
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

// What the probe says, line by line.
func TestSMTPCommands(t *testing.T) {
	for _, tt := range []struct{ name, helo, want string }{
		{"its address", "", "EHLO [127.0.0.1]\r\n"},
		{"a name", "lb.example.com", "EHLO lb.example.com\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heard := make(chan []string, 1)
			sp := smtpSpec()
			sp.SMTP.Helo = tt.helo
			c, err := New(sp, listen(t, func(conn *net.TCPConn) { heard <- reply(conn, mailBanner, mailOffers, mailBye) }))
			if err != nil {
				t.Fatal(err)
			}
			checkCause(t, c.Check(t.Context()), "")
			if diff := cmp.Diff([]string{tt.want, "QUIT\r\n"}, <-heard); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
	c := &smtpCheck{}
	for address, want := range map[string]string{
		"[2001:db8::1]:25": "[IPv6:2001:db8::1]", "[fe80::1%lo]:25": "[IPv6:fe80::1]", "[::ffff:192.0.2.1]:25": "[192.0.2.1]",
	} {
		if got := c.name(localConn{own: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}); got != want {
			t.Errorf("on %s it is %s, want %s", address, got, want)
		}
	}
}

// localConn has an own end and nothing else.
type localConn struct {
	net.Conn
	own net.Addr
}

func (c localConn) LocalAddr() net.Addr { return c.own }

// secured speaks TLS after STARTTLS and gives replies there.
func secured(t *testing.T, config *tls.Config, heard chan<- []string, texts ...string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		lines := reply(conn, mailBanner, mailOffers, "220 go\r\n")
		overTLS(config, func(conn net.Conn) {
			// The first of reply's texts comes unasked, and here nothing does.
			lines = append(lines, reply(conn, append([]string{""}, texts...)...)...)
			if heard != nil {
				heard <- lines
			}
			untilClosed(conn)
		})(conn)
	}
}

// startTLSTest is a server that has to offer STARTTLS.
type startTLSTest struct {
	name   string
	change func(*healthcheck.Spec)
	serve  func(*net.TCPConn)
	stall  int
	want   string
}

func startTLSTests(t *testing.T) (ca string, tests []startTLSTest) {
	known, stranger := newAuthority(t, "known", nil), newAuthority(t, "stranger", nil)
	good := &tls.Config{Certificates: []tls.Certificate{known.issue(t, nil)}}
	foreign := &tls.Config{Certificates: []tls.Certificate{stranger.issue(t, nil)}}
	none := func(*healthcheck.Spec) {}
	begin := len(mailBanner + mailOffers + "220 go\r\n")
	return pemFile(t, certBlock(known.cert)), []startTLSTest{
		{"secured", none, secured(t, good, nil, mailOffers, mailBye), never, ""},
		{"nobody verifies", func(sp *healthcheck.Spec) { sp.TLS = healthcheck.TLSSpec{SkipVerify: true} }, secured(t, foreign, nil, mailOffers, mailBye), never, ""},
		{"another authority", none, secured(t, foreign, nil, mailOffers, mailBye), never, "certificate signed by unknown authority"},
		{"no name: the address", func(sp *healthcheck.Spec) { sp.TLS.Name = "" }, secured(t, good, nil, mailOffers, mailBye), never,
			"certificate is for www.example.com, want 127.0.0.1"},
		{"not offered", none, replies(mailBanner, "250-mail\r\n250 STARTTLSX\r\n"), never, "STARTTLS is not offered"},
		{"a name is no offer", none, replies(mailBanner, "250 STARTTLS\r\n"), never, "STARTTLS is not offered"},
		{"refused", none, replies(mailBanner, mailOffers, "454 4.7.0 TLS not available\r\n"), never, `reply "454 4.7.0 TLS not available" to STARTTLS, want 220`},
		{"no reply", none, replies(mailBanner, mailOffers), len(mailBanner + mailOffers), "timeout after 2s waiting for the reply to STARTTLS"},
		{"something between", none, replies(mailBanner, mailOffers, "220 go\r\n250 ok\r\n"), never, `unencrypted "250 ok\r\n" behind the reply to STARTTLS`},
		{"no handshake", none, replies(mailBanner, mailOffers, "220 go\r\n"), begin, "timeout after 2s doing the TLS handshake"},
		{"no TLS", none, func(conn *net.TCPConn) {
			reply(conn, mailBanner, mailOffers, "220 go\r\n")
			_, _ = conn.Read(make([]byte, 1))
			greets("250 hello\r\n")(conn)
		}, never, `TLS handshake: server answered with something else, "250 h"`},
		{"closed", none, func(conn *net.TCPConn) {
			reply(conn, mailBanner, mailOffers, "220 go\r\n")
			_ = conn.CloseWrite()
			untilClosed(conn)
		}, never, "closed by peer while doing the TLS handshake"},
		{"EHLO is refused then", none, secured(t, good, nil, "503 no\r\n"), never, `reply "503 no" to EHLO, want 250`},
		{"lines without an end then", none, secured(t, good, nil, strings.Repeat("250-x\r\n", 3000)), never, "reply longer than 16 KiB"},
	}
}

func TestSMTPWithSTARTTLS(t *testing.T) {
	ca, tests := startTLSTests(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sp := startTLSSpec(ca)
			tt.change(&sp)
			c, err := newSMTP(sp, direct(listen(t, tt.serve)), new(tlsStore))
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

// The probe introduces itself anew when the connection is secure.
func TestSMTPCommandsWithSTARTTLS(t *testing.T) {
	authority, heard := newAuthority(t, "known", nil), make(chan []string, 1)
	config := &tls.Config{Certificates: []tls.Certificate{authority.issue(t, nil)}}
	c, err := newSMTP(startTLSSpec(pemFile(t, certBlock(authority.cert))), direct(listen(t, secured(t, config, heard, mailOffers, mailBye))), new(tlsStore))
	if err != nil {
		t.Fatal(err)
	}
	checkCause(t, c.Check(t.Context()), "")
	want := []string{"EHLO [127.0.0.1]\r\n", "STARTTLS\r\n", "EHLO [127.0.0.1]\r\n", "QUIT\r\n"}
	if diff := cmp.Diff(want, <-heard); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if n := c.Notice(); n.Expires.IsZero() {
		t.Error("no notice of the certificate's end")
	}
}

func TestSMTPMemoryIsBounded(t *testing.T) {
	for _, text := range []string{"x", "220-x\r\n"} {
		c, err := New(smtpSpec(), listen(t, floods(strings.Repeat(text, 10<<10))))
		if err != nil {
			t.Fatal(err)
		}
		checkMemory(t, c, 128<<10)
	}
}

// FuzzSMTPReply: a reply is read to its last line and no further, whatever comes in what
// pieces, and what is not one is refused in words that print.
func FuzzSMTPReply(f *testing.F) {
	for _, tt := range []string{mailBanner, mailOffers, mailBye, "220\r\n", "220", "220-\n220-x\r\n220 \n250 x\r\n", "SSH-2.0\r\n", "\r\n", "999 x\r\n", "250-starttls x\r\n250\tx\r\n", strings.Repeat("x", 5000)} {
		f.Add([]byte(tt), byte(0))
		f.Add([]byte(tt), byte(7))
	}
	f.Fuzz(func(t *testing.T, said []byte, piece byte) {
		bound := &io.LimitedReader{R: &pieces{said, int(piece) + 1}, N: maxReplyBytes}
		r := bufio.NewReaderSize(bound, maxReplyLine)
		reply, err := readReply(r)
		if err != nil {
			text := explain(context.Background(), awaitingBanner, 0, err).Error()
			if len(text) > 300 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("cause of %d bytes: %q", len(text), text)
			}
			return
		}
		rest, _ := io.ReadAll(r)
		read := said[:min(len(said), maxReplyBytes)-len(rest)]
		lines := bytes.SplitAfter(read, []byte("\n"))
		if lines = lines[:len(lines)-1]; len(lines) == 0 {
			t.Fatalf("a reply in %q", read)
		}
		for i, line := range lines {
			last := i == len(lines)-1
			if len(line) < 4 || string(line[:3]) != reply.code || (line[3] == '-') == last {
				t.Errorf("reply %q with the code %s", read, reply.code)
			}
		}
		if reply.startTLS && !bytes.Contains(bytes.ToUpper(read), []byte("\n"+reply.code+"-STARTTLS")) && !bytes.Contains(bytes.ToUpper(read), []byte("\n"+reply.code+" STARTTLS")) {
			t.Errorf("STARTTLS in %q", read)
		}
	})
}
