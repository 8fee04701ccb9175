package probe

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/icmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func pingSpec(addr, ifname string) healthcheck.Spec {
	return healthcheck.Spec{
		Name: "c", Type: healthcheck.Ping, Timeout: 2 * time.Second,
		Ping: healthcheck.PingSpec{Address: netip.MustParseAddr(addr), Interface: ifname},
	}
}

// An echo request with identifier 0x1234, sequence number 0x0005 and data "abcd", and
// its replies, worked out by hand from RFC 792 and RFC 4443.
var (
	echo = icmp.Echo{ID: 0x1234, Seq: 5, Data: []byte("abcd")}
	// 0x0800+0x1234+0x0005+0x6162+0x6364 = 0xdeff; its complement is 0x2100.
	request4 = []byte{8, 0, 0x21, 0x00, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'}
	reply4   = []byte{0, 0, 0x29, 0x00, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'}
	request6 = []byte{128, 0, 0, 0, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'} // the kernel adds the checksum
	reply6   = []byte{129, 0, 0xaa, 0xaa, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'}
)

func TestPingRequest(t *testing.T) {
	for addr, want := range map[string][]byte{"192.0.2.1": request4, "2001:db8::1": request6} {
		c, err := newPing(pingSpec(addr, ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.request(echo)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", addr, diff)
		}
	}
}

func TestPingAnswers(t *testing.T) {
	changed := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	tests := []struct {
		name    string
		addr    string
		message []byte
		want    bool
	}{
		{"the reply", "192.0.2.1", reply4, true},
		{"the reply over IPv6", "2001:db8::1", reply6, true},
		{"the request itself", "192.0.2.1", request4, false},
		{"the request itself over IPv6", "2001:db8::1", request6, false},
		{"the other family's", "192.0.2.1", reply6, false},
		{"the other family's over IPv6", "2001:db8::1", reply4, false},
		{"another identifier", "192.0.2.1", changed(reply4, 5, 0x35), false},
		{"another sequence number", "192.0.2.1", changed(reply4, 7, 6), false},
		{"other data", "192.0.2.1", changed(reply4, 11, 'e'), false},
		{"shorter data", "192.0.2.1", reply4[:11], false},
		{"longer data", "192.0.2.1", append(bytes.Clone(reply4), 0), false},
		{"no data", "192.0.2.1", reply4[:8], false},
		{"half a header", "192.0.2.1", reply4[:6], false},
		{"nothing", "192.0.2.1", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newPing(pingSpec(tt.addr, ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.answers(tt.message, echo); got != tt.want {
				t.Errorf("answers: %t, want %t", got, tt.want)
			}
		})
	}
}

// What arrives never makes the probe panic, and only the very reply is one.
func FuzzPingAnswers(f *testing.F) {
	f.Add(reply4, false)
	f.Add(reply6, true)
	f.Add(request4, false)
	f.Fuzz(func(t *testing.T, message []byte, six bool) {
		host, reply := "192.0.2.1", reply4
		if six {
			host, reply = "2001:db8::1", reply6
		}
		c := &pingCheck{host: netip.MustParseAddr(host)}
		// The kernel has looked at the checksum.
		same := len(message) == len(reply) && message[0] == reply[0] && bytes.Equal(message[4:], reply[4:])
		if c.answers(message, echo) && !same {
			t.Errorf("%x counts as the reply", message)
		}
	})
}

func TestNewEchoIsLikeNoOther(t *testing.T) {
	a, b := newEcho(), newEcho()
	if bytes.Equal(a.Data, b.Data) || len(a.Data) != payloadLength {
		t.Errorf("data %x and then %x", a.Data, b.Data)
	}
}

var pingExplainTests = []struct {
	name     string
	step     step
	err      error
	want     string
	notAsked bool
}{
	{"no permission", connecting, failed("dial", "socket", syscall.EPERM), "not asked: no permission for raw sockets on this director", true},
	{"no such interface", connecting, failed("dial", "setsockopt", syscall.ENODEV), "interface eth7 does not exist", false},
	{"no source", connecting, failed("dial", "connect", syscall.EADDRNOTAVAIL), "no source address towards 192.0.2.1", false},
	{"no neighbour", awaitingEcho, failed("read", "recvfrom", syscall.EHOSTUNREACH), "no route to host", false},
	{"no answer", awaitingEcho, &net.OpError{Op: "read", Net: "ip4:icmp", Err: os.ErrDeadlineExceeded}, "timeout after 2s waiting for the echo reply", false},
}

func TestPingExplain(t *testing.T) {
	c, err := newPing(pingSpec("192.0.2.1", "eth7"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range pingExplainTests {
		t.Run(tt.name, func(t *testing.T) {
			err := c.explain(t.Context(), tt.step, tt.err)
			checkCause(t, err, tt.want)
			if got := errors.Is(err, healthcheck.ErrNotAsked); got != tt.notAsked {
				t.Errorf("ErrNotAsked: %t, want %t", got, tt.notAsked)
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("%#v does not wrap %#v", err, tt.err)
			}
		})
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	checkCause(t, c.explain(canceled, awaitingEcho, pingExplainTests[4].err), "canceled while waiting for the echo reply")
}
