package realserver

import (
	"errors"
	"fmt"
	"slices"
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

// Start makes the machine a real server for these virtual addresses and no others,
// and returns the steps that it took. What an earlier Start did for addresses that
// are not among them is taken back; what is in place already is left alone. So it
// may be called again, with other addresses too, and after it was interrupted. It
// stops at the first step that fails: without the parameters, an address would draw
// the director's traffic.
func Start(virtuals []Virtual, o Options) (done []Step, err error) {
	o = o.withDefaults()
	if virtuals, err = normal(virtuals); err != nil {
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
		w := want(virtuals, f)
		kept, stale := split(s, w)
		if err := w.check(f, stale); err != nil {
			return err
		}
		steps := planStart(w, f)
		if len(steps) == 0 && stale.empty() {
			return nil
		}
		// Before the first change, so that a crash leaves nothing that Stop does not
		// know of.
		if err := writeState(o.StateFile, remember(s, f, steps)); err != nil {
			return err
		}
		all := slices.Concat(steps, planStop(stale, f))
		if stale.inTheWay(w) {
			all = slices.Concat(planStop(stale, f), steps)
		}
		if done, err = carryOut(o.machine, all); err != nil || stale.empty() {
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
func Status(virtuals []Virtual, o Options) ([]Item, error) {
	o = o.withDefaults()
	virtuals, err := normal(virtuals)
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
	return status(virtuals, f, s), nil
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
