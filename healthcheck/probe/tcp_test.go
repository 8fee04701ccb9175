package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// refusing is an address on 127.0.0.1 that nobody listens on.
func refusing(t *testing.T) healthcheck.Target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return healthcheck.Target{Addr: l.Addr().(*net.TCPAddr).AddrPort(), Check: "c"}
}

// full is a listener on 127.0.0.1 that answers no further handshake, because its
// queue is full and nobody accepts.
func full(t *testing.T) healthcheck.Target {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*syscall.SockaddrInet4).Port))
	conn, err := net.Dial("tcp", addr.String()) // a queue of 0 holds one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthcheck.Target{Addr: addr, Check: "c"}
}

func TestConnect(t *testing.T) {
	for _, sp := range []healthcheck.Spec{tcpSpec(), httpSpec(), httpsSpec(""), grpcSpec(""), dnsSpec("TCP"), smtpSpec()} {
		t.Run(string(sp.Type), func(t *testing.T) {
			t.Run("refused", func(t *testing.T) {
				c, err := New(sp, refusing(t))
				if err != nil {
					t.Fatal(err)
				}
				err = c.Check(t.Context())
				if diff := cmp.Diff("connect refused", fmt.Sprint(err)); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%#v does not wrap ECONNREFUSED", err)
				}
			})
			t.Run("timeout", func(t *testing.T) {
				c, err := New(sp, full(t))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				if diff := cmp.Diff("connect timeout after 2s", fmt.Sprint(c.Check(ctx))); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
			})
			t.Run("connect timeout", func(t *testing.T) {
				sp := sp
				sp.ConnectTimeout = 50 * time.Millisecond
				c, err := New(sp, full(t))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if diff := cmp.Diff("connect timeout after 50ms", fmt.Sprint(c.Check(ctx))); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
			})
			t.Run("connect timeout longer than the timeout", func(t *testing.T) {
				sp := sp
				sp.ConnectTimeout = time.Minute
				c, err := New(sp, full(t))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				if diff := cmp.Diff("connect timeout after 2s", fmt.Sprint(c.Check(ctx))); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
			})
			t.Run("canceled", func(t *testing.T) {
				c, err := New(sp, full(t))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(10*time.Millisecond, cancel).Stop()
				err = c.Check(ctx)
				if diff := cmp.Diff("canceled while connecting", fmt.Sprint(err)); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%#v does not wrap context.Canceled", err)
				}
			})
		})
	}
}

func TestTCPHealthy(t *testing.T) {
	c, err := New(tcpSpec(), listen(t, untilClosedTCP))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("cause %q, want healthy", err)
	}
}

// The port of the check is asked in place of the real server's, whatever that is.
func TestPort(t *testing.T) {
	asked := listen(t, says(fine))
	for _, sp := range []healthcheck.Spec{tcpSpec(), httpSpec()} {
		sp.Port = asked.Addr.Port()
		for _, target := range []healthcheck.Target{refusing(t), {Addr: netip.AddrPortFrom(asked.Addr.Addr(), 0)}} {
			c, err := New(sp, target)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Check(t.Context()); err != nil {
				t.Errorf("%s, target %v: cause %q, want healthy", sp.Type, target.Addr, err)
			}
		}
	}
}

func TestDialKeepAliveIsOff(t *testing.T) {
	conn, err := dialWithin(direct(listen(t, untilClosedTCP)), 0)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reset(conn)
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	keepAlive, errOption := 0, error(nil)
	if err := raw.Control(func(fd uintptr) {
		keepAlive, errOption = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
	}); err != nil || errOption != nil {
		t.Fatal(err, errOption)
	}
	if keepAlive != 0 {
		t.Error("keep-alive is on")
	}
}

// Probes leave neither descriptors nor sockets in TIME_WAIT behind.
func TestProbesLeaveNothingBehind(t *testing.T) {
	const probes = 50
	a := newAuthority(t, "known", nil)
	good := a.issue(t, nil)
	ca := pemFile(t, certBlock(a.cert))
	tests := []struct {
		name  string
		sp    healthcheck.Spec
		serve func(*net.TCPConn)
	}{
		{"tcp", tcpSpec(), untilClosedTCP},
		{"tcp, an answer", talkSpec(ping, "+PONG"), hears(ping, "+PONG\r\n")},
		{"tcp, another answer", talkSpec(ping, "+PONG"), hears(ping, "-ERR\r\n")},
		{"dns over TCP", dnsSpec("TCP"), overTCP(answers(unchanged))},
		{"smtp", smtpSpec(), replies(mailBanner, mailOffers, mailBye)},
		{"smtp, a wrong banner", smtpSpec(), replies("554 no\r\n")},
		{"http", httpSpec(), saysAndWaits(ok + "Content-Length: 0\r\n\r\n")},
		{"http, the server closes first", httpSpec(), says(ok + "Content-Length: 0\r\n\r\n")},
		{"http, a wrong status", httpSpec(), saysAndWaits("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")},
		{"http, garbage", httpSpec(), saysAndWaits("garbage\n")},
		{"https", httpsSpec(ca), shows(good, fine)},
		{"https, a certificate that is refused", httpsSpec(""), shows(good, fine)},
		{"https, garbage", httpsSpec(ca), bytesOf("garbage")},
		{"grpc", grpcSpec(""), bytesOf(grpcAnswerOf("\x00\x00\x00\x00\x02\x08\x01"))},
		{"grpc, garbage", grpcSpec(""), bytesOf("garbage")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan struct{}, probes)
			target := listen(t, func(conn *net.TCPConn) {
				tt.serve(conn)
				conn.Close()
				ended <- struct{}{}
			})
			c, err := New(tt.sp, target)
			if err != nil {
				t.Fatal(err)
			}
			before := descriptors(t)
			for range probes {
				_ = c.Check(t.Context())
			}
			for range probes {
				<-ended
			}
			if after := descriptors(t); after > before {
				t.Errorf("%d descriptors before, %d after %d probes", before, after, probes)
			}
			if n := timeWait(t, target.Addr.Port()); n != 0 {
				t.Errorf("%d of %d probes left a socket in TIME_WAIT", n, probes)
			}
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// timeWait counts the sockets in TIME_WAIT whose remote port is port.
func timeWait(t *testing.T, port uint16) int {
	t.Helper()
	f, err := os.Open("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const stateTimeWait = "06"
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // sl local remote state ...
		if len(fields) > 3 && strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", port)) && fields[3] == stateTimeWait {
			n++
		}
	}
	return n
}
