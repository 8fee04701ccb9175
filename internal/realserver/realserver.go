package realserver

import (
	"errors"
	"fmt"
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

// Plan returns the steps that Start would take now.
func Plan(vips []netip.Addr, o Options) ([]Step, error) {
	o = o.withDefaults()
	vips, err := normal(vips)
	if err != nil {
		return nil, err
	}
	f, err := o.machine.facts()
	if err != nil {
		return nil, err
	}
	return planStart(vips, f), nil
}

// Start makes the machine a real server for the virtual addresses, besides those of
// an earlier Start, and returns the steps that it took. What is in place already is
// left alone, so it may be called again, with other addresses too, and after it was
// interrupted. It stops at the first step that fails: without the parameters, an
// address would draw the director's traffic.
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
		steps := planStart(vips, f)
		if len(steps) == 0 {
			return nil
		}
		// Before the first change, so that a crash leaves nothing that Stop does not
		// know of.
		if err := writeState(o.StateFile, remember(s, f, steps)); err != nil {
			return err
		}
		done, err = carryOut(o.machine, steps)
		return err
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
		v = v.Unmap().WithZone("")
		if !v.IsValid() || v.IsUnspecified() || v.IsMulticast() || v.IsLoopback() {
			return nil, fmt.Errorf("%v cannot be a virtual address", v)
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no virtual addresses")
	}
	return out, nil
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
