package healthcheck

import (
	"fmt"
	"net/netip"
)

// Path is how a target is asked. The zero value is the direct one, at its own address.
type Path struct {
	// VIP is the virtual address that is asked in place of the target's, at the target's
	// port, so that the real server has to have it as clients need it.
	VIP netip.Addr
	// Mark is the firewall mark of the probes, for which the kernel's IPVS has a service
	// with the target's real server alone.
	Mark uint32
}

// Direct tells whether the target's own address is asked.
func (p Path) Direct() bool { return !p.VIP.IsValid() }

// Asked is the address that probes are sent to.
func (t Target) Asked() netip.AddrPort {
	if t.Path.Direct() {
		return t.Addr
	}
	return netip.AddrPortFrom(t.Path.VIP, t.Addr.Port())
}

// Where says which real server is asked, and by what path.
func (t Target) Where() string {
	if t.Path.Direct() {
		return t.Addr.String()
	}
	return fmt.Sprintf("%s through %s", t.Addr, t.Path.VIP)
}
