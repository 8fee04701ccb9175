package probe

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

// listenDatagrams starts a server on 127.0.0.1 that says what answer returns for each
// datagram, in as many datagrams. It ends with the test.
func listenDatagrams(tb testing.TB, answer func(request []byte) [][]byte) healthcheck.Target {
	tb.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if tb.Context().Err() != nil {
				return
			}
			if err != nil {
				continue // about a probe that has ended
			}
			for _, datagram := range answer(buf[:n]) {
				_, _ = conn.WriteToUDPAddrPort(datagram, from)
			}
		}
	}()
	tb.Cleanup(func() {
		conn.Close()
		<-done
	})
	return healthcheck.Target{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), Check: "c"}
}

// datagrams answers each datagram with others.
func datagrams(texts ...string) func([]byte) [][]byte {
	var all [][]byte
	for _, text := range texts {
		all = append(all, []byte(text))
	}
	return func([]byte) [][]byte { return all }
}

// silent answers nothing.
func silent([]byte) [][]byte { return nil }

// closedPort is one on 127.0.0.1 that nobody listens on.
func closedPort(t *testing.T) healthcheck.Target {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return healthcheck.Target{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), Check: "c"}
}

// stallDatagrams makes a dialFunc's sockets pass the deadline of ctx after some datagrams.
func stallDatagrams(dial dialFunc, ctx *deadlineContext, after int) dialFunc {
	return func(context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		return &stallingSocket{Conn: conn, after: after, pass: ctx.pass}, err
	}
}

type stallingSocket struct {
	net.Conn
	after int
	pass  func()
}

func (s *stallingSocket) Read(b []byte) (int, error) {
	if s.after == 0 {
		s.pass()
	}
	s.after--
	return s.Conn.Read(b)
}

// replySpec is a UDP check that needs a reply, and waitSpec one that does not.
func replySpec(t testing.TB, payload, reply string, least, most int) healthcheck.Spec {
	t.Helper()
	pattern, err := healthcheck.ParsePattern(reply)
	if err != nil {
		t.Fatal(err)
	}
	sp := tcpSpec()
	sp.Type = healthcheck.UDP
	sp.UDP = healthcheck.UDPSpec{Payload: payload, Reply: pattern, ReplyMin: least, ReplyMax: most}
	return sp
}

func waitSpec(wait time.Duration) healthcheck.Spec {
	sp := tcpSpec()
	sp.Type = healthcheck.UDP
	sp.UDP = healthcheck.UDPSpec{Payload: "x", Wait: wait}
	return sp
}

// udpTests are servers on 127.0.0.1. The deadline of a row with stall passes as in
// httpTests.
var udpTests = []struct {
	name     string
	answer   func([]byte) [][]byte
	reply    string
	min, max int
	stall    int
	want     string
}{
	{"any reply", datagrams("pong"), "", 0, 4096, never, ""},
	{"an empty reply", datagrams(""), "", 0, 4096, never, ""},
	{"the reply", datagrams("pong 1"), "pong", 0, 4096, never, ""},
	{"a pattern", datagrams("\x12\x34\x81\x80"), "hex:XXXX8XX0", 4, 4, never, ""},
	{"what was sent", func(request []byte) [][]byte { return [][]byte{request} }, "hex:ff00", 2, 2, never, ""},

	{"silence", silent, "", 0, 4096, 0, "timeout after 2s waiting for the answer"},
	{"another reply", datagrams("error"), "pong", 0, 4096, never, `answer "error", want "pong"`},
	{"the first one counts", datagrams("error", "pong"), "pong", 0, 4096, never, `answer "error", want "pong"`},
	{"another reply, in bytes", datagrams("\x12\x34\x01"), "hex:XXXX8X", 0, 4096, never, `answer "hex:123401", want "hex:XXXX8X"`},
	{"a reply that is too short for the pattern", datagrams("po"), "pong", 0, 4096, never, `answer "po", want "pong"`},
	{"too short", datagrams("pong"), "", 5, 4096, never, "answer shorter than 5 bytes"},
	{"an empty reply is too short", datagrams(""), "", 1, 4096, never, "answer shorter than 1 bytes"},
	{"too long", datagrams("pong!"), "pong", 0, 4, never, "answer longer than 4 bytes"},
	{"much too long", datagrams(strings.Repeat("x", 60_000)), "", 0, 4096, never, "answer longer than 4096 bytes"},
	{"a long reply is cut", datagrams(strings.Repeat("x", 50)), "y", 0, 4096, never, `answer "` + strings.Repeat("x", 40) + `"..., want "y"`},
}

func TestUDP(t *testing.T) {
	for _, tt := range udpTests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newUDP(replySpec(t, "\xff\x00", tt.reply, tt.min, tt.max), direct(listenDatagrams(t, tt.answer)))
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

// A check that needs no reply.
func TestUDPWait(t *testing.T) {
	tests := []struct {
		name   string
		target healthcheck.Target
		wait   time.Duration
		want   string
	}{
		{"silence is a success", listenDatagrams(t, silent), time.Millisecond, ""},
		{"silence up to the timeout", listenDatagrams(t, silent), 50 * time.Millisecond, ""},
		{"so is a datagram, at once", listenDatagrams(t, datagrams("what?")), 2 * time.Second, ""},
		{"nobody listens", closedPort(t), 2 * time.Second, "connect refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(waitSpec(tt.wait), tt.target)
			if err != nil {
				t.Fatal(err)
			}
			timeout := 10 * time.Second // more than enough for what comes
			if tt.wait == 50*time.Millisecond {
				timeout = tt.wait
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			checkCause(t, c.Check(ctx), tt.want)
		})
	}
	t.Run("canceled", func(t *testing.T) {
		c, err := newUDP(waitSpec(time.Second), direct(listenDatagrams(t, silent)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		dial := c.dial
		c.dial = func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			return &stallingConn{Conn: conn, pass: cancel}, err
		}
		checkCause(t, c.Check(ctx), "canceled while waiting for the answer")
	})
}

// A wait as long as the timeout ends before it: a success that comes with it is one too late.
func TestUDPWaitEndsBeforeTheTimeout(t *testing.T) {
	for wait, want := range map[time.Duration]time.Duration{
		time.Second:             time.Second,
		1800 * time.Millisecond: 1800 * time.Millisecond,
		2 * time.Second:         1800 * time.Millisecond,
	} {
		c, err := newUDP(waitSpec(wait), direct(closedPort(t)))
		if err != nil {
			t.Fatal(err)
		}
		if c.wait != want {
			t.Errorf("it waits %v for a wait of %v and a timeout of 2s, want %v", c.wait, wait, want)
		}
	}
}

// refusedSocket is one to a closed port whose writes return when the ICMP error is there.
// written is called after each of them, and read before a read.
type refusedSocket struct {
	*net.UDPConn
	written, read func()
}

func (s *refusedSocket) Write(b []byte) (int, error) {
	n, err := s.UDPConn.Write(b)
	raw, rawErr := s.SyscallConn()
	if err == nil && rawErr == nil {
		_ = raw.Control(func(fd uintptr) {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 10_000) // errors are always polled for
		})
	}
	s.written()
	return n, err
}

func (s *refusedSocket) Read(b []byte) (int, error) {
	s.read()
	return s.UDPConn.Read(b)
}

// A director that comes to read when the wait is over, or when the datagram has been sent
// again, still learns of an ICMP error that came before.
func TestUDPErrorThatIsReadLate(t *testing.T) {
	tests := []struct {
		name        string
		wait, again time.Duration
		late        func(s *refusedSocket)
	}{
		{"after the wait", time.Hour, time.Hour, func(s *refusedSocket) {
			s.written = func() { _ = s.SetReadDeadline(longAgo) } // as when the wait is over
		}},
		{"after it is sent again", 100 * time.Millisecond, time.Millisecond, func(s *refusedSocket) {
			n, again := 0, make(chan struct{})
			s.written = func() {
				if n++; n == 2 {
					close(again)
				}
			}
			s.read = func() { <-again }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newUDP(waitSpec(time.Second), direct(closedPort(t)))
			if err != nil {
				t.Fatal(err)
			}
			dial := c.dial
			c.wait, c.again = tt.wait, tt.again
			c.dial = func(ctx context.Context) (net.Conn, error) {
				conn, err := dial(ctx)
				if err != nil {
					return nil, err
				}
				s := &refusedSocket{conn.(*net.UDPConn), func() {}, func() {}}
				tt.late(s)
				return s, nil
			}
			checkCause(t, c.Check(t.Context()), "connect refused")
		})
	}
}

// A closed port is known by the ICMP error, also when a reply is needed.
func TestDatagramRefused(t *testing.T) {
	for _, sp := range []healthcheck.Spec{replySpec(t, "x", "", 0, 4096), dnsSpec("UDP")} {
		c, err := New(sp, closedPort(t))
		if err != nil {
			t.Fatal(err)
		}
		checkCause(t, c.Check(t.Context()), "connect refused")
	}
}

// The request is sent once more when no answer has come for a while: that one datagram is
// lost says nothing about a server.
func TestDatagramIsSentAgain(t *testing.T) {
	first := true
	c, err := newUDP(replySpec(t, "x", "", 0, 4096), direct(listenDatagrams(t, func(request []byte) [][]byte {
		if first {
			first = false
			return nil
		}
		return [][]byte{request}
	})))
	if err != nil {
		t.Fatal(err)
	}
	if c.again != time.Second {
		t.Errorf("sent again after %v, want half the timeout", c.again)
	}
	c.again = time.Millisecond
	checkCause(t, c.Check(t.Context()), "")
}

// A datagram from elsewhere does not reach the probe.
func TestDatagramFromElsewhere(t *testing.T) {
	stranger, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	c, err := newUDP(replySpec(t, "x", "pong", 0, 4096), direct(listenDatagrams(t, datagrams("pong"))))
	if err != nil {
		t.Fatal(err)
	}
	dial := c.dial
	c.dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err == nil {
			_, err = stranger.WriteToUDPAddrPort([]byte("error"), conn.LocalAddr().(*net.UDPAddr).AddrPort())
		}
		return conn, err
	}
	checkCause(t, c.Check(t.Context()), "")
}

func TestDatagramsLeaveNothingBehind(t *testing.T) {
	target := listenDatagrams(t, datagrams("pong"))
	before := descriptors(t)
	for _, sp := range []healthcheck.Spec{replySpec(t, "x", "pong", 0, 4096), replySpec(t, "x", "ping", 0, 4096), waitSpec(time.Millisecond)} {
		c, err := New(sp, target)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			_ = c.Check(t.Context())
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// FuzzUDPReply: a reply is good when its length is and the pattern matches, and the cause
// of one that is not is short and printable.
func FuzzUDPReply(f *testing.F) {
	f.Add([]byte("pong"), "pong", 0, 4096)
	f.Add([]byte{0, 1}, "hex:0X", 0, 1)
	f.Add([]byte("\xff\xfe"), "hex:00", 1, 2)
	target := healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")} // never dialed
	f.Fuzz(func(t *testing.T, reply []byte, pattern string, least, most int) {
		p, err := healthcheck.ParsePattern(pattern)
		if err != nil {
			return
		}
		sp := waitSpec(0)
		sp.UDP.Reply, sp.UDP.ReplyMin, sp.UDP.ReplyMax = p, least, most
		c, err := newUDP(sp, direct(target))
		if err != nil {
			return
		}
		verdict, more := c.judge(bytes.Clone(reply))
		if good := len(reply) >= least && len(reply) <= most && p.Matches(reply); more || good != (verdict == nil) {
			t.Errorf("%q: verdict %v, more %t", reply, verdict, more)
		}
		if verdict == nil {
			return
		}
		if text := verdict.Error(); len(text) > 700 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("cause of %d bytes: %q", len(text), text)
		}
	})
}
