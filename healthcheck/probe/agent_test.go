package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// agentSpec is a check of the agent that listens at the target.
func agentSpec(t healthcheck.Target) healthcheck.Spec {
	sp := tcpSpec()
	sp.Type = healthcheck.Agent
	sp.Agent.Port = t.Addr.Port()
	return sp
}

// newAgentCheck makes the check of a real server without a port of its own, and with ignore
// one to which no answer is no verdict.
func newAgentCheck(t *testing.T, at healthcheck.Target, ignore bool) *agentCheck {
	t.Helper()
	sp := agentSpec(at)
	sp.Agent.IgnoreSilence = ignore
	c, err := newAgent(sp, healthcheck.Target{Addr: netip.AddrPortFrom(at.Addr.Addr(), 0), Check: sp.Name})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func percent(n int) healthcheck.Value { return healthcheck.Value{Unit: healthcheck.Percent, N: n} }

// What a line means, by HAProxy's manual.
var agentLines = []struct {
	line  string
	value healthcheck.Value
	want  string
}{
	{"up", healthcheck.Value{}, ""},
	{"ready", healthcheck.Value{}, ""},
	{"75%", percent(75), ""},
	{"0%", percent(0), ""},
	{"100%", percent(100), ""},
	{"250%", percent(250), ""},
	{"99999999999999999999%", percent(maxPercent), ""},
	{"up 75%", percent(75), ""},
	{"75%,up\tready", percent(75), ""},
	{"UP Ready 50%", percent(50), ""},
	{"up # 3 users", healthcheck.Value{}, ""},
	{"maxconn:30", healthcheck.Value{}, ""},
	{"up maxconn:30 20%", percent(20), ""},
	{"drain", percent(0), ""},
	{"drain 75%", percent(0), ""},
	{"up drain", percent(0), ""},
	{"drain ready", healthcheck.Value{}, ""},
	{"75% 50%", percent(50), ""},
	{"up hello 5", healthcheck.Value{}, ""},
	{"down up", healthcheck.Value{}, ""},
	{"up down", healthcheck.Value{}, "agent: down"},
	{"down", healthcheck.Value{}, "agent: down"},
	{"Fail", healthcheck.Value{}, "agent: fail"},
	{"failed", healthcheck.Value{}, "agent: failed"},
	{"stopped", healthcheck.Value{}, "agent: stopped"},
	{"maint", healthcheck.Value{}, "agent: maint"},
	{"up maint 75%", healthcheck.Value{}, "agent: maint"},
	{"down drain", healthcheck.Value{}, "agent: down"},
	{"down # disk full", healthcheck.Value{}, "agent: down # disk full"},
	{"down 5%#disk\x00 full # or not ", healthcheck.Value{}, "agent: down # disk? full # or not"},
	{"down #", healthcheck.Value{}, "agent: down"},
	{"down # " + strings.Repeat("x", 300), healthcheck.Value{}, "agent: down # " + strings.Repeat("x", 200) + "..."},
	{"", healthcheck.Value{}, `agent's line has no known word: ""`},
	{"# down", healthcheck.Value{}, `agent's line has no known word: "# down"`},
	{"75", healthcheck.Value{}, `agent's line has no known word: "75"`},
	{"-75%", healthcheck.Value{}, `agent's line has no known word: "-75%"`},
	{"7 5 % maxconn: maxconn:x", healthcheck.Value{}, `agent's line has no known word: "7 5 % maxconn: maxconn:x"`},
	{"HTTP/1.1 400 Bad Request", healthcheck.Value{}, `agent's line has no known word: "HTTP/1.1 400 Bad Request"`},
	{"\x16\x03\x01" + strings.Repeat("ü", 50), healthcheck.Value{}, `agent's line has no known word: "\x16\x03\x01` + strings.Repeat(`\u00fc`, 18) + `\xc3"...`},
}

func TestAgentLines(t *testing.T) {
	for _, tt := range agentLines {
		t.Run(tt.line, func(t *testing.T) {
			c := &agentCheck{dial: playing([]byte(tt.line + "\r\nnot this\n"))}
			value, err := c.Measure(t.Context())
			checkCause(t, err, tt.want)
			if value != tt.value {
				t.Errorf("value %q, want %q", value, tt.value)
			}
		})
	}
}

// playing connects to an agent that says that and closes.
func playing(said []byte) dialFunc {
	return func(context.Context) (net.Conn, error) { return playedConn{r: bytes.NewReader(said)}, nil }
}

// playedConn is the connection, of which only these are used.
type playedConn struct {
	net.Conn
	r io.Reader
}

func (c playedConn) Read(b []byte) (int, error) { return c.r.Read(b) }
func (playedConn) Close() error                 { return nil }

var agentTests = []struct {
	name  string
	serve func(*net.TCPConn)
	// stalls is how many bytes the probe has when its deadline passes; 0: it does not.
	stalls int
	want   string
}{
	{"answers", tells("up\n"), 0, ""},
	{"ends its line with the connection", tells("up"), 0, ""},
	{"leaves the connection open", func(conn *net.TCPConn) { tells("up\n")(conn); untilClosed(conn) }, 0, ""},
	{"byte by byte", tells("d", "o", "w", "n", "\r"), 0, "agent: down"},
	{"says nothing and closes", tells(), 0, "closed by peer while waiting for the agent's line"},
	{"resets", func(conn *net.TCPConn) { reset(conn) }, 0, "reset by peer while waiting for the agent's line"},
	{"resets within the line", func(conn *net.TCPConn) { tells("up")(conn); reset(conn) }, 0, "reset by peer while waiting for the agent's line"},
	{"stops within the line", func(conn *net.TCPConn) { tells("up")(conn); untilClosed(conn) }, 2, "timeout after 2s waiting for the agent's line"},
	{"never ends its line", func(conn *net.TCPConn) {
		for {
			if _, err := conn.Write([]byte(strings.Repeat("up ", 1000))); err != nil {
				return
			}
		}
	}, 0, "agent's line is longer than 1024 bytes"},
}

// tells writes pieces.
func tells(pieces ...string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		for _, piece := range pieces {
			_, _ = conn.Write([]byte(piece))
		}
	}
}

func TestAgent(t *testing.T) {
	for _, tt := range agentTests {
		t.Run(tt.name, func(t *testing.T) {
			// What is sent first tells the agent that the probe has its connection.
			c := newAgentCheck(t, listen(t, func(conn *net.TCPConn) {
				_, _ = conn.Read(make([]byte, 1))
				tt.serve(conn)
			}), false)
			c.send = "?"
			ctx := newDeadlineContext(t.Context())
			if tt.stalls > 0 {
				c.dial = stall(c.dial, ctx, tt.stalls)
			}
			err := c.Check(ctx)
			checkCause(t, err, tt.want)
			if errors.Is(err, healthcheck.ErrNotAsked) {
				t.Error("no verdict, want a failure")
			}
		})
	}
}

// Beside another check an agent that gives no answer changes nothing.
func TestAgentWithoutAnAnswerIgnored(t *testing.T) {
	const silence = "" // the agent closes
	said := silence
	c := newAgentCheck(t, realServer, true)
	c.dial = func(ctx context.Context) (net.Conn, error) { return playing([]byte(said))(ctx) }
	for _, tt := range []struct {
		said  string
		value healthcheck.Value
		want  string
		warns string
	}{
		{silence, healthcheck.Value{}, "", "closed by peer while waiting for the agent's line"},
		{"220 mail ESMTP\r\n", healthcheck.Value{}, "", `agent's line has no known word: "220 mail ESMTP"`},
		{"50%\n", percent(50), "", ""},
		{silence, percent(50), "", "closed by peer while waiting for the agent's line"},
		{"?" + strings.Repeat(" ", maxAgentLine), percent(50), "", "agent's line is longer than 1024 bytes"},
		{"up\n", healthcheck.Value{}, "", ""},
		{silence, healthcheck.Value{}, "", "closed by peer while waiting for the agent's line"},
		{"down # disk full\n", healthcheck.Value{}, "agent: down # disk full", ""},
		{silence, healthcheck.Value{}, "agent: down # disk full", "closed by peer while waiting for the agent's line"},
		{"drain\n", percent(0), "", ""},
		{silence, percent(0), "", "closed by peer while waiting for the agent's line"},
	} {
		said = tt.said
		value, err := c.Measure(t.Context())
		checkCause(t, err, tt.want)
		if value != tt.value {
			t.Errorf("%q: value %v, want %v", tt.said, value, tt.value)
		}
		warns := strings.TrimPrefix(c.Notice().Text, "no answer of the agent, ignored: ")
		if diff := cmp.Diff(tt.warns, warns); diff != "" {
			t.Errorf("%q: the warning (-want +got):\n%s", tt.said, diff)
		}
	}

	c.dial = func(context.Context) (net.Conn, error) { return nil, failed("dial", "socket", syscall.EMFILE) }
	if err := c.Check(t.Context()); !errors.Is(err, healthcheck.ErrNotAsked) {
		t.Errorf("%v without a file descriptor, want no verdict", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newAgentCheck(t, refusing(t), true).Check(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap context.Canceled", err)
	}
}

// An agent that does not come to an end is ignored before the probe itself is late.
func TestAgentThatIsSilentIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := healthcheck.Target{Addr: realServer.Addr, Check: "c"}
		sp := agentSpec(target)
		sp.Agent.IgnoreSilence = true
		events := make(chan healthcheck.Event, 1)
		m, err := healthcheck.NewMonitor(healthcheck.Options{Events: events, NewChecker: func(sp healthcheck.Spec, t healthcheck.Target) (healthcheck.Checker, error) {
			c, err := newAgent(sp, t)
			c.dial = func(context.Context) (net.Conn, error) {
				probe, agent := net.Pipe()
				go untilClosed(agent)
				return slowConn{probe}, nil
			}
			return c, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		m.Apply(map[healthcheck.Target]healthcheck.Spec{target: sp})
		if e := <-events; e.Status != healthcheck.Up {
			t.Errorf("%v, %v, want up", e.Status, e.Err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// slowConn is a connection of a busy director.
type slowConn struct{ net.Conn }

func (c slowConn) Close() error {
	time.Sleep(100 * time.Millisecond)
	return c.Conn.Close()
}

func TestAgentIsSentItsText(t *testing.T) {
	asked := make(chan string, 1)
	target := listen(t, func(conn *net.TCPConn) {
		var b [64]byte
		n, err := io.ReadAtLeast(conn, b[:], len("state web\n"))
		asked <- string(b[:n])
		if err == nil {
			tells("50%\n")(conn)
		}
	})
	c := newAgentCheck(t, target, false)
	c.send = "state web\n"
	value, err := c.Measure(t.Context())
	checkCause(t, err, "")
	if got := <-asked; got != "state web\n" || value != percent(50) {
		t.Errorf("it was sent %q and said %v", got, value)
	}
}

func TestAgentThatHasGoneBeforeItIsAsked(t *testing.T) {
	c := &agentCheck{send: "x", timeout: tcpSpec().Timeout, dial: func(context.Context) (net.Conn, error) {
		probe, agent := net.Pipe()
		agent.Close()
		return brokenPipe{probe}, nil
	}}
	checkCause(t, c.Check(t.Context()), "closed by peer while sending the request")
}

// brokenPipe is a connection that cannot be written to.
type brokenPipe struct{ net.Conn }

func (brokenPipe) Write([]byte) (int, error) { return 0, failed("write", "write", syscall.EPIPE) }

// An endless line needs bounded memory.
func TestAgentThatSaysTooMuch(t *testing.T) {
	endless := iotest.OneByteReader(zeros{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readAgent(endless)
	runtime.ReadMemStats(&after)
	checkCause(t, err, "agent's line is longer than 1024 bytes")
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// FuzzAgent has an agent say arbitrary bytes: there is always a verdict, with a cause that
// prints or a percentage within bounds.
func FuzzAgent(f *testing.F) {
	for _, tt := range agentLines {
		f.Add([]byte(tt.line + "\n"))
	}
	f.Add([]byte("up\x00\rdown\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		c := &agentCheck{dial: playing(said), timeout: tcpSpec().Timeout}
		value, err := c.Measure(t.Context())
		switch {
		case err != nil:
			text := err.Error()
			if value != (healthcheck.Value{}) || len(text) > 400 || printable(text) != text || !utf8.ValidString(text) {
				t.Errorf("%q: value %v, cause %q", said, value, text)
			}
		case value.Unit == healthcheck.NoUnit:
			if value.N != 0 {
				t.Errorf("%q: %#v", said, value)
			}
		case value.Unit != healthcheck.Percent || value.N < 0 || value.N > maxPercent:
			t.Errorf("%q: %#v", said, value)
		}
		again, err2 := c.Measure(t.Context())
		if value != again || cmp.Diff(err == nil, err2 == nil) != "" {
			t.Errorf("%q: %v, %v and then %v, %v", said, value, err, again, err2)
		}
	})
}
