package director

import (
	"fmt"
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

// apply puts a validated configuration in force. Everything that can fail comes
// before the first change.
func (d *Director) apply(cfg *conf.Config) error {
	if err := d.acceptable(cfg); err != nil {
		return err
	}
	// From here on nothing fails.
	before := d.force
	d.force = newInForce(cfg)
	d.reload = ReloadStatus{At: time.Now(), OK: true}
	d.prune()
	d.configure()
	d.readiness()
	changes := conf.DiffKeys(before.text, d.force.text)
	d.o.Logger.Info("configuration reloaded", "file", cfg.File, "changed", len(changes), "config_hash", hash(d.force.fingerprint))
	d.record(Event{Kind: EventReloadOK, Object: d.o.Self, Text: "reloaded " + cfg.File + ": " + listKeys(changes)})
	return nil
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
	return nil
}

// RejectReload records that a new configuration was not put in force. Any goroutine
// may call it.
func (d *Director) RejectReload(file string, err error) {
	d.o.Logger.Error("configuration not reloaded, the old one stays in force", "file", file, "err", err)
	select {
	case d.rejected <- rejection{file: file, err: err}:
	default: // one is on its way already
	}
}

type rejection struct {
	file string
	err  error
}

// rejectedReload takes in a rejection, for status and the journal.
func (d *Director) rejectedReload(r rejection) {
	d.reload = ReloadStatus{At: time.Now(), Error: r.err.Error()}
	d.record(Event{Kind: EventReloadFailed, Object: d.o.Self, Text: r.file + " not reloaded, the old configuration stays in force: " + r.err.Error()})
	d.publish()
}

// prune forgets the facts about what the configuration no longer has.
func (d *Director) prune() {
	targets := Targets(d.force.cfg)
	for t := range d.facts.Health {
		if _, ok := targets[t]; !ok {
			delete(d.facts.Health, t)
			delete(d.causes, t)
		}
	}
	for name := range d.facts.VRRP {
		if _, ok := virtualRouter(d.force.cfg, name); !ok {
			delete(d.facts.VRRP, name)
		}
	}
}
