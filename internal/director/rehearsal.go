package director

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// script is a configuration with its facts, to be tried without touching the kernel.
type script struct {
	cfg   *conf.Config
	self  string
	facts Facts
	// leaving are the real servers that were on their way out before.
	leaving map[identity]Leaving
	names   serviceNames
	now     time.Time
}

// rehearsed is what the reconciler would do.
type rehearsed struct {
	now     []Step // at once
	idle    []Step // right after that, because nobody uses it
	later   []Step // when its time has come
	refused []string
	err     error // why the kernel could not be read
}

// rehearsing asks for a rehearsal.
type rehearsing struct {
	// script tells what to rehearse, with the facts of that moment.
	script func(context.Context) (script, error)
	answer chan<- rehearsed // buffered
}

// ask has a rehearsal wait for the reading under way, or for one of its own: the table may
// be long, and changes do not wait for it.
func (r *reconciler) ask(ctx context.Context, asked rehearsing) {
	r.waiting = append(r.waiting, asked)
	switch {
	case r.reads != nil:
	case r.unneeded():
		r.answer(ctx, r.tableState, nil)
	default:
		r.aside = true
		r.start(ctx, nil)
	}
}

// readAside takes in a reading for rehearsals. Nothing else follows from it, because a
// plan changes nothing.
func (r *reconciler) readAside(ctx context.Context, got reading) {
	seen := r.tableState
	seen.doubt = maps.Clone(seen.doubt)
	seen.learn(got)
	r.answer(ctx, seen, got.err)
	due := r.due
	if r.aside, r.due, r.during = false, false, nil; due {
		r.look(ctx)
	}
}

// answer rehearses with what a reading has shown, which ended with err, what has waited
// for it, unless the next one is for that.
func (r *reconciler) answer(ctx context.Context, seen tableState, err error) {
	if r.reads != nil {
		return
	}
	for _, asked := range r.waiting {
		if err != nil {
			asked.answer <- rehearsed{err: err}
		} else if s, err := asked.script(ctx); err != nil {
			asked.answer <- rehearsed{err: err}
		} else {
			asked.answer <- r.rehearse(ctx, seen, s)
		}
	}
	r.waiting = nil
}

// refuseRehearsals answers those who wait when the director stops.
func (r *reconciler) refuseRehearsals() {
	for _, asked := range r.waiting {
		asked.answer <- rehearsed{err: errors.New("the director stops")}
	}
	r.waiting = nil
}

// rehearse works with a copy of the kernel's table as it does with the kernel: the same
// passes, and what follows them in the loop.
func (r *reconciler) rehearse(ctx context.Context, seen tableState, s script) rehearsed {
	st := &stage{kernel: r.kernel, observed: seen.observed, marks: r.marks, script: s}
	if seen.known != nil {
		st.table = seen.known.Clone()
	}
	understudy := &reconciler{
		kernel: st, marker: st, translator: &stagedTranslator{r.translations, st}, translations: r.translations, ledger: st, interfaceOf: r.interfaceOf, interfaces: r.interfaces,
		params: stagedParameters{r.params.Rehearsal(), st}, privateLink: &stagedPrivate{r.private, st},
		owned: r.owned, fresh: maps.Clone(r.fresh), daemonState: r.daemonState, marks: r.marks,
	}
	understudy.known = r.known // which only says that this is not the start
	act := func(f Facts) Pass {
		p := understudy.pass(ctx, Compile(s.cfg, s.self, f))
		p.Changed = nil // the connections do not change meanwhile
		return p
	}
	var out rehearsed
	f := s.facts.clone()
	p := act(f)
	if !p.Read {
		return rehearsed{err: errors.Join(p.Errs...)}
	}
	out.now, out.refused = st.taken(), texts(slices.Concat(p.Errs, p.SyncErrs))
	for _, service := range p.Adopted {
		out.now = append([]Step{{Comment: service + " was made by another program and is taken over"}}, out.now...)
	}
	st.gone = "it has no connections"
	for f.withoutLeft(p, s.now) {
		p = act(f)
		out.idle = append(out.idle, st.taken()...)
	}
	before := len(f.Leaving)
	maps.DeleteFunc(f.Leaving, func(id identity, _ Leaving) bool { _, was := s.leaving[id]; return !was })
	if len(f.Leaving) < before {
		st.gone = ""
		act(f)
		for _, step := range st.taken() {
			step.Later = true
			if strings.HasPrefix(step.Command, "sysctl ") {
				step.Comment += ", when nothing needs it any more"
			}
			out.later = append(out.later, step)
		}
	}
	return out
}

// withoutLeft takes out of f what need not wait any longer after a pass, and tells whether
// there was anything.
func (f Facts) withoutLeft(p Pass, now time.Time) bool {
	before := len(f.Leaving)
	maps.DeleteFunc(f.Leaving, func(_ identity, l Leaving) bool { left, _ := l.left(p, now); return left })
	return len(f.Leaving) < before
}

// stage stands for the kernel and the files of a reconciler. It has read the kernel once, or
// got what is known of it, and notes what it is told to change.
type stage struct {
	kernel Kernel
	script script

	table    ipvs.Table // nil: not known yet
	observed ipvs.Observed
	daemons  []syncd.Daemon
	asked    bool // about the daemons
	marks    []ipvs.Marking
	steps    []Step
	// gone is why real servers that were leaving are taken out now; empty: it is not now.
	gone string
}

// taken returns the steps since the last call.
func (s *stage) taken() []Step {
	steps := s.steps
	s.steps = nil
	return steps
}

func (s *stage) Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error) {
	if s.table == nil {
		var err error
		if s.table, s.observed, err = s.kernel.Table(ctx); err != nil {
			s.table = nil
			return nil, nil, err
		}
	}
	return s.table.Clone(), s.observed, nil
}

func (s *stage) Refresh(ctx context.Context, _ ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	return s.Table(ctx)
}

func (s *stage) ApplyAll(_ context.Context, ops []ipvs.Op) []error {
	for _, op := range ops {
		s.steps = append(s.steps, Step{Command: "ipvsadm " + op.String(), Comment: s.about(op)})
		s.table.Apply(op)
	}
	return make([]error, len(ops))
}

func (s *stage) Daemons(ctx context.Context) ([]syncd.Daemon, error) {
	if !s.asked {
		var err error
		if s.daemons, err = s.kernel.Daemons(ctx); err != nil {
			return nil, err
		}
		s.asked = true
	}
	return slices.Clone(s.daemons), nil
}

func (s *stage) ApplyDaemon(_ context.Context, op syncd.Op) error {
	s.steps = append(s.steps, Step{Command: "ipvsadm " + op.String()})
	switch op := op.(type) {
	case syncd.Start:
		s.daemons = append(s.daemons, op.Daemon)
	case syncd.Stop:
		s.daemons = slices.DeleteFunc(s.daemons, func(d syncd.Daemon) bool { return d.Role == op.Role })
	}
	return nil
}

// Ensure makes stage a Marker. What somebody else has taken away is put back anyway.
func (s *stage) Ensure(want []ipvs.Marking) (wrote, repaired bool, err error) {
	if slices.Equal(want, s.marks) {
		return false, false, nil
	}
	s.marks = slices.Clone(want)
	for _, op := range markOps(want) {
		s.steps = append(s.steps, Step{Comment: op})
	}
	return true, false, nil
}

// stagedTranslator notes what would be translated.
type stagedTranslator struct {
	is    []ipvs.Translation
	stage *stage
}

func (t *stagedTranslator) Ensure(want []ipvs.Translation) (wrote, repaired bool, err error) {
	if slices.Equal(want, t.is) {
		return false, false, nil
	}
	for _, op := range translationOps(t.is, want, false) {
		t.stage.steps = append(t.stage.steps, Step{Comment: op})
	}
	t.is = slices.Clone(want)
	return true, false, nil
}

// stagedPrivate notes what would become of the private interface.
type stagedPrivate struct {
	is    PrivateState
	stage *stage
}

func (p *stagedPrivate) Ensure() (PrivateState, error) {
	if made := p.is.Index == 0; made {
		p.stage.steps = append(p.stage.steps, privateSteps(makePrivate)...)
		p.is.Index = 1
		return PrivateState{Index: p.is.Index, Made: true}, nil
	}
	return p.is, nil
}

func (p *stagedPrivate) Delete() error {
	if p.is.Index != 0 {
		p.stage.steps = append(p.stage.steps, privateSteps(dropPrivate)...)
	}
	p.is = PrivateState{}
	return nil
}

// stagedParameters notes what would be done to the kernel's parameters.
type stagedParameters struct {
	Parameters
	stage *stage
}

func (p stagedParameters) Ensure(want []ipvs.Parameter) ([]ipvs.ParameterState, error) {
	states, err := p.Parameters.Ensure(want)
	p.stage.steps = append(p.stage.steps, parameterSteps(states)...)
	return states, err
}

func (p stagedParameters) Release(keep []ipvs.Parameter) ([]ipvs.ParameterState, error) {
	states, err := p.Parameters.Release(keep)
	p.stage.steps = append(p.stage.steps, parameterSteps(states)...)
	return states, err
}

// parameterSteps are the changes among the states of kernel parameters.
func parameterSteps(states []ipvs.ParameterState) []Step {
	var list []Step
	for _, s := range states {
		comment := s.Reason
		switch s.Change {
		case ipvs.ParameterSet, ipvs.ParameterRepaired:
		case ipvs.ParameterPutBack:
			comment = "put back"
		default:
			continue
		}
		list = append(list, Step{Command: s.Command(), Comment: comment})
	}
	return list
}

// Load and Save make stage a Ledger.
func (s *stage) Load() (Owned, error) { return Owned{}, nil }
func (s *stage) Save(Owned) error     { return nil }

// about says what an operation is about, by the names of the configuration.
func (s *stage) about(op ipvs.Op) string {
	switch op := op.(type) {
	case ipvs.AddService:
		return s.script.names.services[op.Service.Key]
	case ipvs.EditService:
		return s.script.names.services[op.Service.Key]
	case ipvs.DeleteService:
		return s.script.names.services[op.Key] + s.when(func(id identity) bool { return id.service == op.Key })
	case ipvs.AddDestination:
		return s.script.names.of(op.Service, op.Destination.Key)
	case ipvs.EditDestination:
		return s.edited(op)
	case ipvs.DeleteDestination:
		name := s.script.names.of(op.Service, op.Key)
		return name + s.when(func(id identity) bool { return id == identity{op.Service, op.Key} })
	}
	return ""
}

// when says when what is leaving is taken out; nothing of what is not.
func (s *stage) when(is func(identity) bool) string {
	var last time.Time
	for id, l := range s.script.facts.Leaving {
		if is(id) && l.Until.After(last) {
			last = l.Until
		}
	}
	switch {
	case last.IsZero():
		return ""
	case s.gone != "":
		return ": " + s.gone
	}
	return fmt.Sprintf(": when idle, at the latest after %v", last.Sub(s.script.now))
}

func (s *stage) edited(op ipvs.EditDestination) string {
	text := s.script.names.of(op.Service, op.Destination.Key)
	was := s.table[op.Service].Destinations[op.Destination.Key]
	if was.Weight != op.Destination.Weight {
		text += fmt.Sprintf(": weight %d -> %d", was.Weight, op.Destination.Weight)
	}
	if l, leaves := s.script.facts.Leaving[identity{op.Service, op.Destination.Key}]; leaves {
		text += fmt.Sprintf(", removed when idle, at the latest after %v", l.Until.Sub(s.script.now))
	}
	return text
}

// serviceNames are what the kernel's services and destinations are called.
type serviceNames struct {
	services map[ipvs.ServiceKey]string
	servers  map[identity]string
}

// tableNames are the names of some configurations; the later ones count more.
func tableNames(cfgs ...*conf.Config) serviceNames {
	n := serviceNames{services: make(map[ipvs.ServiceKey]string), servers: make(map[identity]string)}
	for _, cfg := range cfgs {
		for i := range cfg.VirtualServers {
			vs := &cfg.VirtualServers[i]
			for p := range places(vs) {
				n.servers[p.identity] = vs.Name + "/" + p.rs.Name
				if p.rs == vs.SorryServer {
					n.servers[p.identity] = vs.Name + ", its sorry server"
				}
			}
			for service := range vs.Services() {
				n.services[service.Key] = vs.Name
			}
		}
		n.services[tickKey] = "tick of connection sync"
		for p := range probeEnds(cfg) {
			n.services[p.service.Key] = "probes of " + p.rs.Address.Addr().String() + " through the virtual address"
		}
	}
	return n
}

// of is a destination's name; without one that of its virtual server, where somebody else
// has added it.
func (n serviceNames) of(s ipvs.ServiceKey, d ipvs.DestinationKey) string {
	if name, ok := n.servers[identity{s, d}]; ok {
		return name
	}
	return n.services[s]
}
