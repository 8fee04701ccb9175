package probe

import (
	"fmt"
	"net/netip"

	"github.com/hadirector/hadirector/healthcheck"
)

// Prober makes Checkers, and holds what they share: the sockets for echo requests,
// the files that TLS needs, and the paths through virtual addresses. The zero
// value is ready. There is nothing to close: what is shared ends with the probes.
type Prober struct {
	echoes echoes
	tls    tlsStore
	paths  paths
}

// New returns the Checker that makes the check sp at target t; the types that ask the
// director itself look at sp alone. The context given to
// its Check must end at sp.Timeout, as the Monitor's does; sp.Timeout itself is only
// what a cause says.
//
// The errors name what is wrong with the Spec. The configuration's parser has
// refused all of these before.
func (p *Prober) New(sp healthcheck.Spec, t healthcheck.Target) (healthcheck.Checker, error) {
	if sp.Port != 0 {
		t.Addr = netip.AddrPortFrom(t.Addr.Addr(), sp.Port)
	}
	switch sp.Type {
	case healthcheck.TCP, healthcheck.HTTP, healthcheck.HTTPS, healthcheck.GRPC, healthcheck.DNS, healthcheck.SMTP, healthcheck.UDP:
		if !t.Addr.IsValid() || t.Addr.Port() == 0 {
			return nil, fmt.Errorf("address %v cannot be connected to", t.Addr)
		}
		c, err := p.connecting(sp, p.wayTo(t))
		if err == nil && !t.Path.Direct() {
			c = newThroughVIP(c, sp, t.Path.VIP)
		}
		return c, err
	case healthcheck.Script:
		return checker(newScript(sp, t))
	case healthcheck.Ping:
		return checker(newPing(sp, &p.echoes))
	case healthcheck.ICMP:
		return checker(newEchoCheck(sp, t.Addr.Addr(), &p.echoes))
	case healthcheck.Process:
		return checker(newProcess(sp))
	case healthcheck.File:
		return checker(newFile(sp, t))
	case healthcheck.Agent:
		return checker(newAgent(sp, t))
	}
	return nil, fmt.Errorf("type %q is not known", sp.Type)
}

// connecting returns the Checker of a type that connects.
func (p *Prober) connecting(sp healthcheck.Spec, w way) (healthcheck.Checker, error) {
	switch sp.Type {
	case healthcheck.TCP:
		return checker(newTCP(sp, w))
	case healthcheck.DNS:
		return checker(newDNS(sp, w))
	case healthcheck.SMTP:
		return checker(newSMTP(sp, w, &p.tls))
	case healthcheck.UDP:
		return checker(newUDP(sp, w))
	case healthcheck.GRPC:
		return checker(newGRPC(sp, w, &p.tls))
	}
	return checker(newHTTP(sp, w, &p.tls))
}

// checker returns no Checker with an error: a nil pointer is not a nil Checker.
func checker[C healthcheck.Checker](c C, err error) (healthcheck.Checker, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
