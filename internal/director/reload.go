package director

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
)

// ReloadStatus is the outcome of the last attempt to load a configuration.
type ReloadStatus struct {
	At time.Time `json:"at"`
	OK bool      `json:"ok"`
	// Error is why the last attempt changed nothing.
	Error string `json:"error,omitempty"`
}

type reloadRequest struct {
	next inForce
	done chan reloaded
}

type reloaded struct {
	Reloaded
	err error
}

// Reloaded is what a reload has done.
type Reloaded struct {
	// Changed are the first keys that differ from the configuration before.
	Changed []string
	steps
}

// Reload replaces the configuration, which the caller has validated. It returns when
// the new one is in force, or with an error when nothing has changed. The kernel follows:
// see Settle.
func (d *Director) Reload(ctx context.Context, cfg *conf.Config) (Reloaded, error) {
	r := reloadRequest{next: newInForce(cfg), done: make(chan reloaded, 1)}
	select {
	case d.reloads <- r:
		out := <-r.done
		return out.Reloaded, out.err
	case <-ctx.Done():
		return Reloaded{}, fmt.Errorf("reload %s: %w", cfg.File, ctx.Err())
	}
}

// Steps are those of the last reload, as a plan tells them, with what has been done to the
// kernel's table so far. Any goroutine may call it.
func (d *Director) Steps(r Reloaded) []Step {
	list := append([]Step{}, r.checks...)
	list = append(list, d.board.current.Load().reloadOps...)
	return append(list, r.routers...)
}

// reloadOps are what the passes after a reload have done, up to the first that tells its
// outcome.
type reloadOps struct {
	generation uint64 // that it is for; 0: it is over, or there is nothing to do
	done       []Step
}

// observe takes in a pass.
func (r *reloadOps) observe(p Pass) {
	if r.generation == 0 || p.Newest < r.generation {
		return
	}
	r.done = append(slices.Clip(r.done), p.steps()...)
	if p.Desired.Generation >= r.generation {
		r.generation = 0
	}
}

// Settle waits until the kernel has been brought to what is desired now, or has
// refused. It returns early when ctx ends.
func (d *Director) Settle(ctx context.Context) {
	// Again for what a pass shows to be without connections, and no more: something may
	// change all the time.
	for range 2 {
		p := d.board.current.Load()
		for want := p.generation; p.pass.Desired.Generation < want; p = d.board.current.Load() {
			select {
			case <-p.replaced:
			case <-ctx.Done():
				return
			}
		}
	}
}

// RejectReload records that a new configuration was not put in force.
func (d *Director) RejectReload(file string, err error) {
	why := listed(strings.Split(err.Error(), "\n")) // a line for each mistake
	d.o.Logger.Error("configuration not reloaded, the old one stays in force", "file", file, "err", why)
	d.rejected.put(rejection{file: file, why: why})
}

type rejection struct{ file, why string }

// rejectedReload takes in a rejection, for status and the journal.
func (d *Director) rejectedReload(r rejection) {
	d.reload = ReloadStatus{At: time.Now(), Error: r.why}
	d.record(Event{Kind: EventReloadFailed, Object: d.o.Self, Text: r.file + " not reloaded, the old configuration stays in force: " + r.why})
}

// apply puts a validated configuration in force. Everything that can fail comes
// before the first change.
func (d *Director) apply(next inForce) (Reloaded, error) {
	now := time.Now()
	t, err := d.turnover(next, now)
	if err != nil {
		return Reloaded{}, err
	}
	// From here on nothing fails.
	out := Reloaded{Changed: t.changed(), steps: d.stepsOf(t, now)}
	file, was := next.cfg.File, d.force.cfg
	d.force, d.yielded = t.after, t.yielded
	d.force.at = now
	d.configureHooks(was)
	d.forgetNotices()
	d.reload = ReloadStatus{At: now, OK: true}
	overrides := d.facts.Overrides
	d.facts, d.verdicts = t.facts, verdicts{}
	d.carryOverrides(overrides, t.live, t.moved)
	d.forgetLeaving()
	text := "nothing changed"
	if len(out.Changed) > 0 {
		text = listed(out.Changed)
	}
	d.o.Logger.Info("configuration reloaded", "file", file, "keys", text, "config_hash", hash(d.force.fingerprint))
	d.record(Event{Kind: EventReloadOK, Object: d.o.Self, Text: "reloaded " + file + ": " + text})
	before := d.desired.Generation
	d.look = true
	d.configure()
	d.ops = reloadOps{generation: d.desired.Generation}
	d.look = false
	if d.desired.Generation == before {
		d.ops.generation = 0
		look := d.desired // a reload looks at the kernel all the same
		look.changed, look.look = nil, true
		d.hand(look)
	}
	d.logPools()
	d.lookAtQuorums(nil)
	d.peersNews() // ours may differ now, or no longer
	return out, nil
}
