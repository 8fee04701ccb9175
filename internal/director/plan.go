package director

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/syncd"
)

// Plan is what a reload, or a start, would do.
type Plan struct {
	File string `json:"file"`
	// Running says that a daemon runs, and that this is what its reload would do.
	// Otherwise it is what a start would do.
	Running bool `json:"running"`
	// Changed are the first keys that differ from the configuration in force.
	Changed []string `json:"changed"`
	// Steps are in the order in which they would be done.
	Steps []Step `json:"steps"`
	// Refused are the parts that would fail.
	Refused []string `json:"refused"`
	// Warnings are about the new configuration.
	Warnings []string `json:"warnings"`
}

// Step is one thing that is done.
type Step struct {
	// Command is what an operator would type for it; empty: there is no command.
	Command string `json:"command,omitempty"`
	// Comment says what it is about, in words for the operator.
	Comment string `json:"comment,omitempty"`
	// Later says that something has to happen first: Comment says what.
	Later bool `json:"later,omitempty"`
}

// String is the step as a line for a shell: what is done at once is a command, and all
// the rest a comment.
func (s Step) String() string {
	switch {
	case s.Command == "":
		return "# " + s.Comment
	case s.Later:
		return fmt.Sprintf("# later: %s  # %s", s.Command, s.Comment)
	case s.Comment == "":
		return s.Command
	}
	return fmt.Sprintf("%s  # %s", s.Command, s.Comment)
}

// steps are what a pass has done.
func (p Pass) steps() []Step {
	list := parameterSteps(p.Parameters)
	for _, op := range p.Done {
		switch {
		case strings.HasPrefix(op, "nft: "), strings.HasPrefix(op, syncd.PrivateInterface+": "):
			list = append(list, Step{Comment: op})
		case strings.HasPrefix(op, "ip "), strings.HasPrefix(op, "sysctl "):
			list = append(list, Step{Command: op})
		default:
			list = append(list, Step{Command: "ipvsadm " + op})
		}
	}
	return append(list, parameterSteps(p.Released)...)
}

// Empty tells whether nothing would change.
func (p Plan) Empty() bool { return len(p.Changed) == 0 && len(p.Steps) == 0 && len(p.Refused) == 0 }

// steps are what is done about the parts that the loop hands a configuration to.
type steps struct {
	checks, routers []Step
}

type planRequest struct {
	next   inForce
	answer chan planDraft // buffered
}

// planDraft is the loop's part of a plan.
type planDraft struct {
	steps
	turnover turnover
	script   script
	err      error
}

// Plan says what Reload of the configuration, which the caller has validated, would do.
// Its error is the one that Reload would return, or why the kernel cannot be read.
// Nothing is changed. Any goroutine may call it.
func (d *Director) Plan(ctx context.Context, cfg *conf.Config) (Plan, error) {
	next := newInForce(cfg)
	var draft planDraft
	ask := func(ctx context.Context) (script, error) {
		req := planRequest{next: next, answer: make(chan planDraft, 1)}
		select {
		case d.plans <- req:
		case <-ctx.Done():
			return script{}, fmt.Errorf("plan %s: %w", cfg.File, ctx.Err())
		}
		if draft = <-req.answer; draft.err == nil {
			draft.script.names = tableNames(draft.turnover.before.cfg, cfg)
		}
		return draft.script, draft.err
	}
	if _, err := ask(ctx); err != nil {
		return Plan{}, err
	}
	// Only the reconciler may use the kernel. When it has read the table, it asks for the
	// facts that go with it.
	answer := make(chan rehearsed, 1)
	select {
	case d.rec.rehearsals <- rehearsing{ask, answer}:
	case <-ctx.Done():
		return Plan{}, fmt.Errorf("plan %s: %w", cfg.File, ctx.Err())
	}
	select {
	case out := <-answer:
		p := draft.with(out)
		// What takes a while with a long configuration is not the loop's.
		p.File, p.Running, p.Changed = cfg.File, true, append(p.Changed, draft.turnover.changed()...)
		return p, out.err
	case <-ctx.Done():
		return Plan{}, fmt.Errorf("plan %s: %w", cfg.File, ctx.Err())
	}
}

// draft works out the loop's part of a plan.
func (d *Director) draft(next inForce, now time.Time) planDraft {
	t, err := d.turnover(next, now)
	if err != nil {
		return planDraft{err: err}
	}
	return planDraft{
		steps:    d.stepsOf(t, now),
		turnover: t,
		script:   script{cfg: next.cfg, self: d.o.Self, facts: t.facts, leaving: maps.Clone(d.facts.Leaving), now: now},
	}
}

// stepsOf are what a turnover does to the checks and the virtual routers.
func (d *Director) stepsOf(t turnover, now time.Time) steps {
	s := steps{checks: checkSteps(t.before.targets, t.after.targets)}
	s.checks = append(s.checks, trackSteps(t.before.cfg, t.after.cfg)...)
	for _, id := range t.ended(d.facts.Overrides) {
		s.checks = append(s.checks, Step{Comment: fmt.Sprintf("%s: %s ends, %s", id, d.facts.Overrides[id], endRemoved)})
	}
	running := d.running
	if running == nil {
		running = t.before.cfg
	}
	is := instancesFor{
		before: d.instancesWith(running, d.facts, d.yielded, now),
		after:  d.instancesWith(t.after.cfg, withKnownTracks(t.after, t.facts, d.links.last), t.yielded, now),
		states: statesByID(t.before.cfg, d.facts.VRRP),
	}
	s.routers = is.steps()
	return s
}

// with puts the parts of a plan together, in the order of a reload: checks, the kernel's
// table, virtual routers, and then what can be taken out of the table.
func (d planDraft) with(out rehearsed) Plan {
	p := Plan{Changed: []string{}, Steps: []Step{}, Refused: append([]string{}, out.refused...), Warnings: []string{}}
	for _, part := range [][]Step{d.checks, out.now, d.routers, out.idle, out.later} {
		p.Steps = append(p.Steps, part...)
	}
	return p
}

// PlanStart says what a start of the daemon would do on a machine where none runs. It
// changes nothing. Of the options it takes Config, Self, Kernel, Params, Ledger, Overrides,
// Statuses, InterfaceOf and Interfaces; left is what is done before the virtual routers start.
func PlanStart(ctx context.Context, o Options, left []Step) (Plan, error) {
	if !hasDirector(o.Config, o.Self) {
		return Plan{}, fmt.Errorf("director %q is not in %s", o.Self, o.Config.File)
	}
	now := time.Now()
	owned, err := o.Ledger.Load()
	if err != nil {
		return Plan{}, err
	}
	overrides, err := o.Overrides.Load()
	if err != nil {
		return Plan{}, err
	}
	names := make(map[ServerID]bool)
	for _, id := range identities(o.Config) {
		names[id] = true
	}
	inForce, _ := overrides.split(names, now)
	f := Facts{
		Overrides: inForce, Leaving: leave(owned.Leaving, o.Config, o.Config, o.Self, nil, now),
		Health: make(map[healthcheck.Target]healthcheck.Status), Assumed: make(map[healthcheck.Target]bool), Pools: make(map[string]Memory),
	}
	kept, err := o.Statuses.Load()
	if err != nil {
		return Plan{}, err
	}
	f.assume(nil, Targets(o.Config), kept.Down)
	f.resume(o.Config, kept.Panics)
	nothing := map[healthcheck.Target]healthcheck.Spec{}
	draft := planDraft{steps: steps{checks: checkSteps(nothing, Targets(o.Config))}}
	draft.checks = append(draft.checks, trackSteps(&conf.Config{}, o.Config)...)
	draft.routers = append(slices.Clip(left), instancesFor{after: Instances(o.Config, o.Self, false)}.steps()...)
	var known daemonState
	if owned.Private {
		known.private.Index = 1 // some or other: a run that was killed has left it
	}
	rec := reconciler{daemonState: known, kernel: o.Kernel, params: o.Params, interfaceOf: o.InterfaceOf, interfaces: o.Interfaces, owned: owned}
	out := rec.rehearse(ctx, tableState{}, script{cfg: o.Config, self: o.Self, facts: f, leaving: maps.Clone(f.Leaving), names: tableNames(o.Config), now: now})
	p := draft.with(out)
	p.File = o.Config.File
	return p, out.err
}
