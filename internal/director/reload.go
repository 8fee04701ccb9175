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
	if err := d.acceptable(cfg); err != nil {
		return nil, err
	}
	// From here on nothing fails.
	before := d.force
	d.force = newInForce(cfg)
	d.reload = ReloadStatus{At: time.Now(), OK: true}
	d.carryOver(before)
	d.facts.Tracks = carriedTracks(before.cfg, cfg, d.facts.Tracks)
	d.renamed(before.cfg)
	d.carryOverrides(before.cfg)
	d.leave(before.cfg)
	changed = conf.DiffKeys(before.text, d.force.text)
	text := "nothing changed"
	if len(changed) > 0 {
		text = listed(changed)
	}
	d.o.Logger.Info("configuration reloaded", "file", cfg.File, "keys", text, "config_hash", hash(d.force.fingerprint))
	d.record(Event{Kind: EventReloadOK, Object: d.o.Self, Text: "reloaded " + cfg.File + ": " + text})
	d.configure()
	d.logPools()
	d.peersNews() // ours may differ now, or no longer
	return changed, nil
}

// acceptable says what about a valid configuration cannot be put in force while the
// daemon runs.
func (d *Director) acceptable(cfg *conf.Config) error {
	if !hasDirector(cfg, d.o.Self) {
		return fmt.Errorf("director %q, which this daemon runs as, is not in %s", d.o.Self, cfg.File)
	}
	if cfg.Admin != d.force.cfg.Admin {
		return fmt.Errorf("[admin] changed in %s: its listeners are opened at the start, so restart the daemon to change them", cfg.File)
	}
	if cfg.Log.Format != d.force.cfg.Log.Format {
		return fmt.Errorf("[log] format changed in %s: it is set at the start, so restart the daemon to change it", cfg.File)
	}
	return nil
}
