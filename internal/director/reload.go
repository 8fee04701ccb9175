package director

import (
	"context"
	"fmt"
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
	cfg  *conf.Config
	done chan reloaded
}

type reloaded struct {
	changed []string
	err     error
}

// Reload replaces the configuration, which the caller has validated. It returns, when
// the new one is in force, the first keys that it changed, or an error when nothing
// has changed. The kernel follows: see Settle.
func (d *Director) Reload(ctx context.Context, cfg *conf.Config) (changed []string, err error) {
	r := reloadRequest{cfg: cfg, done: make(chan reloaded, 1)}
	select {
	case d.reloads <- r:
		out := <-r.done
		return out.changed, out.err
	case <-ctx.Done():
		return nil, fmt.Errorf("reload %s: %w", cfg.File, ctx.Err())
	}
}

// Settle waits until the kernel has been brought to what is desired now, or has
// refused. It returns early when ctx ends.
func (d *Director) Settle(ctx context.Context) {
	for {
		p := d.board.current.Load()
		if p.pass.Desired.Generation >= p.generation {
			return
		}
		select {
		case <-p.replaced:
		case <-ctx.Done():
			return
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
func (d *Director) apply(cfg *conf.Config) (changed []string, err error) {
	t, err := d.turnover(cfg, time.Now())
	if err != nil {
		return nil, err
	}
	// From here on nothing fails.
	d.force, d.yielded = t.after, t.yielded
	d.reload = ReloadStatus{At: time.Now(), OK: true}
	overrides := d.facts.Overrides
	d.facts = t.facts
	d.carryOverrides(overrides, t.live, t.moved)
	d.forgetLeaving()
	text := "nothing changed"
	if len(t.changed) > 0 {
		text = listed(t.changed)
	}
	d.o.Logger.Info("configuration reloaded", "file", cfg.File, "keys", text, "config_hash", hash(d.force.fingerprint))
	d.record(Event{Kind: EventReloadOK, Object: d.o.Self, Text: "reloaded " + cfg.File + ": " + text})
	d.configure()
	d.logPools()
	d.peersNews() // ours may differ now, or no longer
	return t.changed, nil
}
