package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// talkSpec is a TCP check that says something and expects something.
func talkSpec(send, expect string) healthcheck.Spec {
	sp := tcpSpec()
	sp.TCP = healthcheck.TCPSpec{Send: send, Expect: expect}
	return sp
}

func regexpSpec(send, pattern string) healthcheck.Spec {
	sp := tcpSpec()
	sp.TCP = healthcheck.TCPSpec{Send: send, Regexp: pattern}
	return sp
}

// greets speaks first and then waits.
func greets(text string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte(text))
		untilClosed(conn)
	}
}

// hears reads what the probe is to say, speaks, and ends the connection.
func hears(said, text string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		b := make([]byte, len(said))
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != said {
			return
		}
		_, _ = conn.Write([]byte(text))
	}
}

// floods speaks without an end.
func floods(text string) func(*net.TCPConn) {
	more := []byte(text)
	return func(conn *net.TCPConn) {
		for err := error(nil); err == nil; {
			_, err = conn.Write(more)
		}
	}
}

// resets breaks the connection off when the probe has spoken.
func resets(said string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		hears(said, "")(conn)
		_ = conn.SetLinger(0)
	}
}

const ping = "PING\r\n"

// talkTests are real servers on 127.0.0.1, as in httpTests.
var talkTests = []struct {
	name  string
	sp    healthcheck.Spec
	serve func(*net.TCPConn)
	stall int
	want  string
}{
	{"an answer", talkSpec(ping, "+PONG"), hears(ping, "+PONG\r\n"), never, ""},
	{"a banner", talkSpec("", "SSH-2.0"), greets("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), never, ""},
	{"in the midst of the answer", talkSpec(ping, "PONG"), hears(ping, "* hello\r\n+PONG\r\n"), never, ""},
	{"bytes that are no text", talkSpec("\x00\xff", "\xfe\x00"), hears("\x00\xff", "\x01\xfe\x00\x02"), never, ""},
	{"before garbage without an end", talkSpec(ping, "+PONG"), func(conn *net.TCPConn) { hears(ping, "+PONG")(conn); floods("x")(conn) }, never, ""},
	{"a match", regexpSpec(ping, `^\+(PONG|OK)\r\n$`), hears(ping, "+PONG\r\n"), never, ""},
	{"a match of a banner that stays open", regexpSpec("", `^220[ -].*ESMTP`), greets("220 mail ESMTP\r\n"), never, ""},

	{"silence", talkSpec("", "SSH-2.0"), untilClosedTCP, 0, "timeout after 2s waiting for the answer"},
	{"half an answer", talkSpec("", "SSH-2.0"), greets("SSH"), 3, `answer "SSH", want "SSH-2.0"`},
	{"another answer", talkSpec(ping, "+PONG"), hears(ping, "-NOAUTH Authentication required.\r\n"), never, `answer "-NOAUTH Authentication required.\r\n", want "+PONG"`},
	{"no match", regexpSpec(ping, `^\+PONG`), hears(ping, "-LOADING\r\n"), never, `answer "-LOADING\r\n", want a match of "^\\+PONG"`},
	{"closed at once", talkSpec(ping, "+PONG"), hears(ping, ""), never, "closed by peer while waiting for the answer"},
	{"reset", talkSpec(ping, "+PONG"), resets(ping), never, "reset by peer while waiting for the answer"},
	{"a long answer is cut", talkSpec("", "SSH-2.0"), floods(strings.Repeat("é", 100)), never, `answer "` + strings.Repeat(`\u00e9`, 20) + `"..., want "SSH-2.0"`},
	{"what comes after the bound", talkSpec("", "SSH-2.0"), greets(strings.Repeat("x", maxAnswer-1) + "SSH-2.0"), never, `answer "` + strings.Repeat("x", 40) + `"..., want "SSH-2.0"`},
}

func TestTalk(t *testing.T) {
	for _, tt := range talkTests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newTCP(tt.sp, direct(listen(t, tt.serve)))
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

func TestTalkCanceledWithHalfAnAnswer(t *testing.T) {
	c, err := newTCP(talkSpec("", "SSH-2.0"), direct(listen(t, greets("SSH"))))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dial := c.dial
	c.dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		return &stallingConn{Conn: conn, after: 3, pass: cancel}, err
	}
	err = c.Check(ctx)
	checkCause(t, err, "canceled while waiting for the answer")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%#v does not wrap context.Canceled", err)
	}
}

func TestTalkMemoryIsBounded(t *testing.T) {
	c, err := New(talkSpec("", "SSH-2.0"), listen(t, floods(strings.Repeat("x", 64<<10))))
	if err != nil {
		t.Fatal(err)
	}
	checkMemory(t, c, 128<<10)
}

// checkMemory holds one probe to what it may allocate.
func checkMemory(t *testing.T, c healthcheck.Checker, most uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_ = c.Check(t.Context())
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("one probe allocated %d KiB, want %d at most", n>>10, most>>10)
	}
}

// FuzzPhrase: whatever a server says, in whatever pieces, the verdict is that of a look at
// the first 4 KiB as a whole.
func FuzzPhrase(f *testing.F) {
	f.Add([]byte("+PONG\r\n"), "+PONG", "", byte(1))
	f.Add([]byte("* hello\r\n+PONG\r\n"), "", `(?m)^\+PONG`, byte(3))
	f.Add([]byte(strings.Repeat("x", maxAnswer)+"y"), "y", "", byte(200))
	f.Add([]byte("\xff\x00"), "\x00", "", byte(0))
	target := healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")} // never dialed
	f.Fuzz(func(t *testing.T, answer []byte, text, pattern string, piece byte) {
		sp := talkSpec("", text)
		sp.TCP.Regexp = pattern
		c, err := newTCP(sp, direct(target))
		if err != nil || c.expect.none() {
			return
		}
		r := io.Reader(&pieces{answer, int(piece) + 1})
		if piece%2 == 0 {
			r = iotest.DataErrReader(r)
		}
		err = c.await(t.Context(), r)
		met := c.expect.met(answer[:min(len(answer), maxAnswer)])
		if met && pattern == "" && err != nil {
			t.Errorf("%v after %q", err, answer)
		}
		// A match of a part need not be one of the whole.
		if !met && pattern == "" && err == nil {
			t.Errorf("healthy after %q", answer)
		}
		if err == nil {
			return
		}
		if text := err.Error(); len(text) > 700 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("cause of %d bytes: %q", len(text), text)
		}
		if len(answer) == 0 && !cmp.Equal(err.Error(), "closed by peer while waiting for the answer") {
			t.Errorf("%v after nothing", err)
		}
	})
}

// pieces gives a text in pieces of a length.
type pieces struct {
	text []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.n, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}
