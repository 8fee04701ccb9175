package realserver

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/sysctl"
)

// DefaultStateFile is where Start remembers what Stop has to bring back. It is on a
// file system that ends with the changes, when the machine is restarted.
const DefaultStateFile = "/run/hadirector/realserver.json"

// Options are the circumstances of a call.
type Options struct {
	// StateFile is DefaultStateFile if empty.
	StateFile string
	// machine is this machine, except in tests.
	machine machine
}

func (o Options) withDefaults() Options {
	if o.StateFile == "" {
		o.StateFile = DefaultStateFile
	}
	if o.machine == nil {
		o.machine = thisMachine{}
	}
	return o
}

// machine is what the steps are carried out on.
type machine interface {
	facts() (facts, error)
	do(Step) error
}

// Start makes the machine a real server for these virtual addresses and no others,
// and returns the steps that it took. What an earlier Start did for addresses that
// are not among them is taken back; what is in place already is left alone. So it
// may be called again, with other addresses too, and after it was interrupted. It
// stops at the first step that fails: without the parameters, an address would draw
// the director's traffic.
func Start(vips []netip.Addr, o Options) (done []Step, err error) {
	o = o.withDefaults()
	if vips, err = normal(vips); err != nil {
		return nil, err
	}
	err = locked(o.StateFile, func() error {
		s, err := readState(o.StateFile)
		if err != nil {
			return err
		}
		f, err := o.machine.facts()
		if err != nil {
			return err
		}
		kept, stale := split(s, vips)
		steps := planStart(vips, f)
		if len(steps) == 0 && stale.empty() {
			return nil
		}
		// Before the first change, so that a crash leaves nothing that Stop does not
		// know of.
		if err := writeState(o.StateFile, remember(s, f, steps)); err != nil {
			return err
		}
		if done, err = carryOut(o.machine, append(slices.Clone(steps), planStop(stale, f)...)); err != nil || stale.empty() {
			return err
		}
		// What was taken back is not ours any more, if somebody puts it there again.
		return writeState(o.StateFile, remember(kept, f, steps))
	})
	return done, err
}

// Stop takes back what Start has changed, and returns the steps that it took.
// Without a Start before it, it does nothing. When a step fails, the others are
// tried all the same, and Stop may be called again.
func Stop(o Options) (done []Step, err error) {
	o = o.withDefaults()
	err = locked(o.StateFile, func() error {
		s, err := readState(o.StateFile)
		if err != nil {
			return err
		}
		f, err := o.machine.facts()
		if err != nil {
			return err
		}
		var errs []error
		for _, st := range planStop(s, f) {
			some, err := carryOut(o.machine, []Step{st})
			done, errs = append(done, some...), append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return removeState(o.StateFile)
	})
	return done, err
}

// Status tells of everything that a real server for these virtual addresses needs
// whether it is so. It changes nothing.
func Status(vips []netip.Addr, o Options) ([]Item, error) {
	o = o.withDefaults()
	vips, err := normal(vips)
	if err != nil {
		return nil, err
	}
	s, err := readState(o.StateFile)
	if err != nil {
		return nil, err
	}
	f, err := o.machine.facts()
	if err != nil {
		return nil, err
	}
	return status(vips, f, s), nil
}

// normal is the addresses once each, in their order.
func normal(vips []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, v := range vips {
		if err := CheckAddress(v); err != nil {
			return nil, err
		}
		if v = v.Unmap(); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no virtual addresses")
	}
	return out, nil
}

// CheckAddress tells whether clients anywhere could send to the address, which a
// virtual address is for. The error says why not.
func CheckAddress(a netip.Addr) error {
	var kind string
	switch v := a.Unmap(); {
	case !v.IsValid():
		return errors.New("an address is missing")
	case v.Zone() != "" || v.IsLinkLocalUnicast():
		kind = "it is a link-local address"
	case v.IsLoopback():
		kind = "it is a loopback address"
	case v.IsUnspecified():
		kind = "it is the unspecified address"
	case v.IsMulticast():
		kind = "it is a multicast address"
	case v == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		kind = "it is the broadcast address"
	default:
		return nil
	}
	return fmt.Errorf("%v cannot be a virtual address: %s", a, kind)
}

// CheckOwn tells whether one of the addresses is on an interface other than lo,
// where a real server must not have a virtual address: it is this machine's own, or
// ARP would be answered for it.
func CheckOwn(vips []netip.Addr, byInterface map[string][]netip.Prefix) error {
	for _, v := range vips {
		for _, ifname := range slices.Sorted(maps.Keys(byInterface)) {
			for _, p := range byInterface[ifname] {
				if ifname != device && p.Addr() == v.Unmap() {
					return fmt.Errorf("%v cannot be a virtual address: it is this machine's own address on %s", v, ifname)
				}
			}
		}
	}
	return nil
}

func carryOut(m machine, steps []Step) (done []Step, err error) {
	for _, s := range steps {
		if err := m.do(s); err != nil {
			return done, fmt.Errorf("%s: %w", s, err)
		}
		done = append(done, s)
	}
	return done, nil
}

// thisMachine is the machine of the calling thread's network namespace.
type thisMachine struct{}

func (thisMachine) facts() (facts, error) {
	f := facts{sysctls: map[string]string{}}
	var err error
	if f.addresses, err = netif.AddressesByInterface(); err != nil {
		return facts{}, err
	}
	if f.routes, err = netif.HostRoutes(device); err != nil {
		return facts{}, err
	}
	for _, p := range params {
		if f.sysctls[p.name], err = sysctl.Get(p.name); err != nil {
			return facts{}, err
		}
	}
	return f, nil
}

func (thisMachine) do(s Step) error {
	switch s.Kind {
	case AddAddress:
		return netif.AddAddress(device, host(s.Addr))
	case DeleteAddress:
		return netif.DeleteAddress(device, host(s.Addr))
	case AddRoute:
		return netif.AddHostRoute(device, s.Addr)
	case DeleteRoute:
		return netif.DeleteHostRoute(device, s.Addr)
	}
	return sysctl.Set(s.Param, s.Value)
}
