package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// failed is the error of a system call as net returns it, ephemeral port included.
func failed(op, call string, errno syscall.Errno) error {
	return &net.OpError{
		Op: op, Net: "tcp",
		Source: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.9:49152")),
		Addr:   net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:80")),
		Err:    os.NewSyscallError(call, errno),
	}
}

var deadlineReached = &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}

var explainTests = []struct {
	name     string
	step     step
	err      error
	want     string
	notAsked bool
}{
	{"refused", connecting, failed("dial", "connect", syscall.ECONNREFUSED), "connect refused", false},
	{"no route", connecting, failed("dial", "connect", syscall.EHOSTUNREACH), "no route to host", false},
	{"no network", connecting, failed("dial", "connect", syscall.ENETUNREACH), "network unreachable", false},
	{"route lost on the way", readingBody, failed("read", "read", syscall.EHOSTUNREACH), "no route to host", false},
	{"reset in the handshake", connecting, failed("dial", "connect", syscall.ECONNRESET), "reset by peer while connecting", false},
	{"reset", awaitingStatus, failed("read", "read", syscall.ECONNRESET), "reset by peer while waiting for the status line", false},
	{"reset in the body", readingBody, failed("read", "read", syscall.ECONNRESET), "reset by peer while reading the body", false},
	{"broken pipe", sending, failed("write", "write", syscall.EPIPE), "closed by peer while sending the request", false},
	{"end", awaitingStatus, io.EOF, "closed by peer while waiting for the status line", false},
	{"early end", readingBody, io.ErrUnexpectedEOF, "closed by peer while reading the body", false},
	{"our deadline", readingHeaders, deadlineReached, "timeout after 2s reading the headers", false},
	{"our deadline in connect", connecting, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}, "connect timeout after 2s", false},
	{"the kernel's deadline is not ours", connecting, failed("dial", "connect", syscall.ETIMEDOUT), "connection timed out while connecting", false},
	{"another kernel error", connecting, failed("dial", "connect", syscall.EACCES), "permission denied while connecting", false},
	{"another error", connecting, &net.OpError{Op: "dial", Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:80")), Err: errors.New("something new")}, "something new while connecting", false},
	{"process out of descriptors", connecting, failed("dial", "socket", syscall.EMFILE), "not asked: too many open files on this director", true},
	{"system out of descriptors", connecting, failed("dial", "socket", syscall.ENFILE), "not asked: too many open files on this director", true},
	{"out of buffers", connecting, failed("dial", "socket", syscall.ENOBUFS), "not asked: no memory for sockets on this director", true},
	{"out of memory", sending, failed("write", "write", syscall.ENOMEM), "not asked: no memory for sockets on this director", true},
	{"out of ports", connecting, failed("dial", "connect", syscall.EADDRNOTAVAIL), "not asked: no free local port on this director", true},
}

func TestExplain(t *testing.T) {
	for _, tt := range explainTests {
		t.Run(tt.name, func(t *testing.T) {
			err := explain(t.Context(), tt.step, 2*time.Second, tt.err)
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
			if got := errors.Is(err, healthcheck.ErrNotAsked); got != tt.notAsked {
				t.Errorf("ErrNotAsked: %t, want %t", got, tt.notAsked)
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("%#v does not wrap %#v", err, tt.err)
			}
		})
	}
}

func TestExplainCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := explain(ctx, readingBody, 2*time.Second, deadlineReached)
	if diff := cmp.Diff("canceled while reading the body", err.Error()); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%#v does not wrap context.Canceled", err)
	}
}

func TestNewErrors(t *testing.T) {
	with := func(change func(*healthcheck.Spec)) healthcheck.Spec {
		sp := httpSpec()
		change(&sp)
		return sp
	}
	good := netip.MustParseAddrPort("192.0.2.1:80")
	none := netip.AddrPort{} // a track has no address
	tests := []struct {
		name string
		sp   healthcheck.Spec
		addr netip.AddrPort
		want string
	}{
		{"no address", tcpSpec(), netip.AddrPort{}, "address invalid AddrPort cannot be connected to"},
		{"port 0", tcpSpec(), netip.MustParseAddrPort("192.0.2.1:0"), "address 192.0.2.1:0 cannot be connected to"},
		{"type", with(func(s *healthcheck.Spec) { s.Type = "gopher" }), good, `type "gopher" is not known`},
		{"what is sent without an expectation", talkSpec(ping, ""), good, "what is sent to a server needs an expected answer"},
		{"two expectations", with(func(s *healthcheck.Spec) {
			*s = talkSpec("", "a")
			s.TCP.Regexp = "b"
		}), good, "an answer is expected by its text or by a regular expression, not both"},
		{"regular expression", regexpSpec("", "("), good, "error parsing regexp: missing closing ): `(`"},
		{"record", with(func(s *healthcheck.Spec) { *s = dnsSpec("UDP"); s.DNS.Record = "B" }), good, `record type "B" is not known`},
		{"domain name", with(func(s *healthcheck.Spec) { *s = dnsSpec("UDP"); s.DNS.Name = "example.org" }), good, `name "example.org" is not a full domain name`},
		{"response code", with(func(s *healthcheck.Spec) { *s = dnsSpec("UDP"); s.DNS.Codes = "NOERROR," }), good, `response code "" is not known`},
		{"no address to send to", dnsSpec("UDP"), none, "address invalid AddrPort cannot be connected to"},
		{"name of a mail client", with(func(s *healthcheck.Spec) { *s = smtpSpec(); s.SMTP.Helo = "a\r\nMAIL" }), good, `name "a\r\nMAIL" is not one that EHLO can carry`},
		{"payload", with(func(s *healthcheck.Spec) { s.Type = healthcheck.UDP }), good, "there is no payload to send"},
		{"mask", with(func(s *healthcheck.Spec) { *s = waitSpec(0); s.UDP.Reply.Value = "x" }), good, "the reply's pattern has a mask of another length"},
		{"wait", waitSpec(3 * time.Second), good, "wait 3s is not within the timeout 2s"},
		{"reply lengths", replySpec(t, "x", "", 0, 4097), good, "reply of 0 to 4097 bytes is not within 0 to 4096"},
		{"method", with(func(s *healthcheck.Spec) { s.HTTP.Method = "PUT" }), good, `method "PUT" is not GET, HEAD, OPTIONS or POST`},
		{"relative path", with(func(s *healthcheck.Spec) { s.HTTP.Path = "health" }), good, `path "health" is not one that a request can carry`},
		{"path with a line end", with(func(s *healthcheck.Spec) { s.HTTP.Path = "/\r\nX: y" }), good, `path "/\r\nX: y" is not one that a request can carry`},
		{"path with a space", with(func(s *healthcheck.Spec) { s.HTTP.Path = "/a b" }), good, `path "/a b" is not one that a request can carry`},
		{"host with a line end", with(func(s *healthcheck.Spec) { s.HTTP.Host = "x\r\nX: y" }), good, `host "x\r\nX: y" is not one that a request can carry`},
		{"status range upside down", with(func(s *healthcheck.Spec) { s.HTTP.Status = "300-299" }), good, `status: "300-299" is an empty range: write "299-300"`},
		{"header with a line end", with(func(s *healthcheck.Spec) { s.HTTP.Headers = "X-A: b\r\nX-B: c" }), good, `header "X-A" is not one that a request can carry`},
		{"header without a value", with(func(s *healthcheck.Spec) { s.HTTP.Headers = "secret" }), good, `header "secret" is not one that a request can carry`},
		{"body of a GET", with(func(s *healthcheck.Spec) { s.HTTP.Body = "x" }), good, "method GET has no body"},
		{"regular expression", with(func(s *healthcheck.Spec) { s.HTTP.ExpectRegex = "(" }), good, "error parsing regexp: missing closing ): `(`"},
		{"digest", with(func(s *healthcheck.Spec) { s.HTTP.ExpectDigest = "sha256:00" }), good, `digest "sha256:00" is not one`},
		{"status missing", with(func(s *healthcheck.Spec) { s.HTTP.Status = "" }), good, `status: "" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
		{"relative file of authorities", httpsSpec("ca.pem"), good, `file "ca.pem" is not an absolute path`},
		{"client's certificate without a key", with(func(s *healthcheck.Spec) { s.Type, s.TLS.Certificate = healthcheck.HTTPS, "/a.pem" }), good, "a client's certificate and its key go together"},
		{"version of TLS", with(func(s *healthcheck.Spec) { s.Type, s.TLS.MinVersion = healthcheck.HTTPS, "1.4" }), good, `TLS version "1.4" is not known`},
		{"authority with a line end", healthcheck.Spec{Type: healthcheck.GRPC, GRPC: healthcheck.GRPCSpec{Host: "x\r\n"}}, good, `host "x\r\n" is not one that a request can carry`},
		{"service that is too long", healthcheck.Spec{Type: healthcheck.GRPC, GRPC: healthcheck.GRPCSpec{Service: strings.Repeat("x", 1<<14)}}, good, "host or service is too long for a request"},
		{"script without a path", healthcheck.Spec{Type: healthcheck.Script, Script: healthcheck.ScriptSpec{Command: "check\x00/a"}}, none, `script "check" is not an absolute path`},
		{"file without a path", fileSpec("state/value"), none, `file "state/value" is not an absolute path`},
		{"process without a name", processSpec("", false, 1), none, "no process is named"},
		{"ping to nobody", healthcheck.Spec{Type: healthcheck.Ping}, none, "address invalid IP cannot be asked for an echo"},
		{"icmp without an address", healthcheck.Spec{Type: healthcheck.ICMP}, none, "address invalid IP cannot be asked for an echo"},
		{"agent without an address", healthcheck.Spec{Type: healthcheck.Agent, Agent: healthcheck.AgentSpec{Port: 7}}, none, "address invalid IP and port 7 cannot be connected to"},
		{"agent without a port", healthcheck.Spec{Type: healthcheck.Agent}, good, "address 192.0.2.1 and port 0 cannot be connected to"},
		{"ping to all", pingSpec("224.0.0.1", ""), none, "address 224.0.0.1 cannot be asked for an echo"},
		{"ping to a link-local address", pingSpec("fe80::1", ""), none, "link-local address fe80::1 needs an interface"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(tt.sp, healthcheck.Target{Addr: tt.addr})
			if diff := cmp.Diff(tt.want, fmt.Sprint(err)); diff != "" || c != nil {
				t.Errorf("checker %v, error (-want +got):\n%s", c, diff)
			}
		})
	}
}
