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
		p, err := newPlan(virtuals, o)
		if err != nil || len(p.steps) == 0 && p.stale.empty() {
			return err
		}
		// Before the first change, so that a crash leaves nothing that Stop does not
		// know of.
		if err := writeState(o.StateFile, remember(p.before, p.facts, p.steps)); err != nil {
			return err
		}
		if done, err = carryOut(o.machine, p.all()); err != nil || p.stale.empty() {
			return err
		}
		// What was taken back is not ours any more, if somebody puts it there again.
		return writeState(o.StateFile, remember(p.kept, p.facts, p.steps))
	})
	return done, err
}

// Plan returns the steps that Start would take, and changes nothing.
func Plan(virtuals []Virtual, o Options) ([]Step, error) {
	o = o.withDefaults()
	virtuals, err := normal(virtuals)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(virtuals, o)
	return p.all(), err
}

// plan is what Start is about to do.
type plan struct {
	wanted      wanted
	facts       facts
	before      state // what is remembered
	kept, stale state // its parts
	steps       []Step
}

func newPlan(virtuals []Virtual, o Options) (plan, error) {
	s, err := readState(o.StateFile)
	if err != nil {
		return plan{}, err
	}
	f, err := o.machine.facts()
	if err != nil {
		return plan{}, err
	}
	p := plan{wanted: want(virtuals, f), facts: f, before: s}
	p.kept, p.stale = split(s, p.wanted)
	if err := p.wanted.check(f, p.stale); err != nil {
		return plan{}, err
	}
	p.steps = planStart(p.wanted, f)
	return p, nil
}

// all are the steps with those that take back what is wanted no more.
func (p plan) all() []Step {
	back := planStop(p.stale, p.facts)
	if p.stale.inTheWay(p.wanted) {
		return slices.Concat(back, p.steps)
	}
	return slices.Concat(p.steps, back)
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
