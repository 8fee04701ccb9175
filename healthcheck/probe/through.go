package probe

import (
	"context"
	"errors"
	"net/netip"

	"github.com/hadirector/hadirector/healthcheck"
)

// throughVIP is a check through a virtual address. It says so in the causes of failures that
// may come from a real server without it.
type throughVIP struct {
	healthcheck.Checker
	vip netip.Addr
	// datagrams says that the first sign of the real server is its answer.
	datagrams bool
}

func newThroughVIP(c healthcheck.Checker, sp healthcheck.Spec, vip netip.Addr) throughVIP {
	return throughVIP{c, vip, sp.Type == healthcheck.UDP || sp.Type == healthcheck.DNS && !sp.DNS.TCP}
}

// Check makes the check.
func (c throughVIP) Check(ctx context.Context) error {
	err := c.Checker.Check(ctx)
	why, ok := errors.AsType[*cause](err)
	unreached := ok && (why.step == connecting || c.datagrams && why.step == awaitingAnswer)
	if !unreached || errors.Is(err, healthcheck.ErrNotAsked) || errors.Is(err, context.Canceled) {
		return err
	}
	text := why.text + ", asked through VIP " + c.vip.String()
	if why.late {
		text += ": the real server is down or lacks it, or a firewall drops its answers; run hadirector doctor there and here"
	}
	return &cause{text: text, errs: []error{err}}
}

// Notice is the check's own.
func (c throughVIP) Notice() healthcheck.Notice {
	if n, ok := c.Checker.(healthcheck.Noticer); ok {
		return n.Notice()
	}
	return healthcheck.Notice{}
}
