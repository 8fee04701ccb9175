package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// pingCheck sends a host one ICMP or ICMPv6 echo request and waits for its reply: the track
// of a host, and the check "icmp" of a real server.
type pingCheck struct {
	host    netip.Addr // without a zone
	echoes  *echoes
	timeout time.Duration // for the cause's text
}

// newPing makes the track of a host. One that has to be reached over an interface has
// sockets of its own, which are bound to it.
func newPing(sp healthcheck.Spec, shared *echoes) (*pingCheck, error) {
	p := sp.Ping
	ifname := cmp.Or(p.Interface, p.Address.Zone())
	if p.Address.Is6() && p.Address.IsLinkLocalUnicast() && ifname == "" {
		return nil, fmt.Errorf("link-local address %v needs an interface", p.Address)
	}
	if ifname != "" {
		shared = &echoes{ifname: ifname}
	}
	// The sockets are bound to the interface, so the zone says nothing more.
	return newEchoCheck(sp, p.Address.WithZone(""), shared)
}

// newEchoCheck makes the check of a host at an address that the routes know.
func newEchoCheck(sp healthcheck.Spec, host netip.Addr, shared *echoes) (*pingCheck, error) {
	if !host.IsValid() || host.IsUnspecified() || host.IsMulticast() {
		return nil, fmt.Errorf("address %v cannot be asked for an echo", host)
	}
	return &pingCheck{host: host.Unmap(), echoes: shared, timeout: sp.Timeout}, nil
}

// Check succeeds when the reply to its request comes.
func (c *pingCheck) Check(ctx context.Context) error {
	if st, err := c.echoes.ask(ctx, c.host); err != nil {
		return c.explain(ctx, st, err)
	}
	return nil
}

// explain turns the error that ended a step into its cause.
func (c *pingCheck) explain(ctx context.Context, st step, err error) error {
	because := func(errs []error, format string, args ...any) error {
		return &cause{text: fmt.Sprintf(format, args...), errs: append(errs, err)}
	}
	var known *cause
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
	case errors.Is(err, syscall.EPERM) && st == connecting:
		return because([]error{healthcheck.ErrNotAsked}, "not asked: no permission for raw sockets on this director")
	case errors.Is(err, syscall.ENODEV):
		return because(nil, "interface %s does not exist", c.echoes.ifname)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return because(nil, "no source address towards %v", c.host)
	}
	return explain(ctx, st, c.timeout, err)
}
