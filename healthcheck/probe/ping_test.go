package probe

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

func pingSpec(addr, ifname string) healthcheck.Spec {
	return healthcheck.Spec{
		Name: "c", Type: healthcheck.Ping, Timeout: 2 * time.Second,
		Ping: healthcheck.PingSpec{Address: netip.MustParseAddr(addr), Interface: ifname},
	}
}

var pingExplainTests = []struct {
	name     string
	step     step
	err      error
	want     string
	notAsked bool
}{
	{"no permission", connecting, os.NewSyscallError("socket", syscall.EPERM), "not asked: no permission for raw sockets on this director", true},
	{"no such interface", connecting, os.NewSyscallError("setsockopt", syscall.ENODEV), "interface eth7 does not exist", false},
	{"no source", sending, os.NewSyscallError("sendto", syscall.EADDRNOTAVAIL), "no source address towards 192.0.2.1", false},
	{"a filter of the director's own", sending, os.NewSyscallError("sendto", syscall.EPERM), "operation not permitted while sending the request", false},
	{"no memory", sending, os.NewSyscallError("sendto", syscall.ENOMEM), "not asked: no memory for sockets on this director", true},
	{"no neighbour", awaitingEcho, syscall.EHOSTUNREACH, "no route to host", false},
	{"no answer", awaitingEcho, context.DeadlineExceeded, "timeout after 2s waiting for the echo reply", false},
}

func TestPingExplain(t *testing.T) {
	c, err := newPing(pingSpec("192.0.2.1", "eth7"), nil)
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
	checkCause(t, c.explain(canceled, awaitingEcho, context.Canceled), "canceled while waiting for the echo reply")
}
