package director

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
)

// overriding is a request on its way through the loop.
type overriding struct {
	req     OverrideRequest
	changed uint64 // the overrides' number that has to be on the disk before the answer
	result  Overridden
	done    chan error // buffered
}

// Overridden is the outcome of a request.
type Overridden struct {
	// Servers are those that the request is about.
	Servers []ServerID
	// Warnings are what the operator should know besides.
	Warnings []string
}

// overrideState is the loop's side of the overrides; the facts have those in force.
type overrideState struct {
	keeper  overrideKeeper
	all     Registers // never written to
	text    string    // as other directors are told it
	id      [16]byte  // of text
	n       uint64    // counts the changes
	waiting []*overriding
	unsaved string // why the last write failed
	// heard is what was last taken in from each other director, and refused why that
	// could not be.
	heard, refused map[string]string
}

// Override lays a change over the configuration, or ends one. It returns when the change
// is in force and on the disk; the kernel follows: see Settle. With an error nothing has
// changed. Any goroutine may call it.
func (d *Director) Override(ctx context.Context, req OverrideRequest) (Overridden, error) {
	if err := req.check(); err != nil {
		return Overridden{}, err
	}
	o := &overriding{req: req, done: make(chan error, 1)}
	select {
	case d.overrides <- o:
	case <-ctx.Done():
		return Overridden{}, fmt.Errorf("%s %s: %w", req.Kind, req.Target, ctx.Err())
	}
	select {
	case err := <-o.done:
		return o.result, err
	case <-ctx.Done():
		return Overridden{}, fmt.Errorf("wait for %s %s to be kept: %w", req.Kind, req.Target, ctx.Err())
	}
}

// loadOverrides takes in what an earlier run has left.
func (d *Director) loadOverrides() {
	all, err := d.o.Overrides.Load()
	if err != nil {
		d.o.Logger.Warn("overrides of an earlier run not readable, none is in force", "err", err)
	}
	all = maps.Clone(all)
	for id, r := range all {
		if r.Director == "" { // of an earlier version of the program
			r.Director = d.o.Self
			all[id] = r
		}
	}
	now := time.Now()
	d.live.all = all
	if err := d.adopt(all, now); err != nil {
		d.o.Logger.Warn("overrides of an earlier run not taken in, none is in force", "err", err)
		all = nil
		_ = d.adopt(nil, now) // which is not too much
	}
	expired := false
	for _, id := range all.sorted() {
		switch r := all[id]; {
		case r.live(now) && d.force.servers[id]:
			d.o.Logger.Info("override goes on", r.attrs(id)...)
		case d.shares(): // the other directors have said it, or it is in force there
		case r.live(now):
			d.endOverride(id, r.Override, endRemoved)
		case r.Kind != OverrideNone:
			d.endOverride(id, r.Override, endExpired)
			expired = true
		}
	}
	d.facts.Overrides, _ = d.live.all.split(d.force.servers, now)
	d.endUnnamed(now)
	if expired {
		d.keepOverrides(now)
	}
	d.logPools()
}

// adopt makes registers this director's, if they are not too many.
func (d *Director) adopt(all Registers, now time.Time) error {
	all = all.prune(now)
	text, err := all.encode()
	if err != nil {
		return err
	}
	changed := !all.equal(d.live.all)
	d.live.all, d.live.text, d.live.id = all, text, sharedID(text)
	if changed {
		d.keepOverrides(now)
	}
	return nil
}

// keepOverrides has them written. What has ended nobody asks for who shares nothing.
func (d *Director) keepOverrides(now time.Time) {
	all := maps.Clone(d.live.all)
	if !d.shares() {
		maps.DeleteFunc(all, func(_ ServerID, r Register) bool { return !r.live(now) })
	}
	d.live.n++
	d.live.keeper.want.put(numbered{d.live.n, all})
}

// change adopts registers of this director's own.
func (d *Director) change(changes Registers, now time.Time) error {
	return d.adopt(merge(d.live.all, changes), now)
}

// override takes in a request.
func (d *Director) override(o *overriding) {
	now := time.Now().Round(0) // it has to survive this process's clock
	ids, err := find(d.force.cfg, o.req.Target)
	if vs, rs, _ := strings.Cut(o.req.Target, "/"); err != nil && o.req.Kind == OverrideNone && d.live.all[ServerID{vs, rs}].live(now) {
		// It is of a real server that only other directors name.
		ids, err = []ServerID{{vs, rs}}, nil
	}
	if err != nil {
		o.done <- err
		return
	}
	wants := Register{Version: d.live.all.next(now), Override: Override{
		Kind: o.req.Kind, Weight: o.req.Weight, By: o.req.By, Director: d.o.Self, At: now, Reason: o.req.Reason,
	}}
	if o.req.For > 0 {
		wants.Until = now.Add(o.req.For)
	}
	changes, before := make(Registers), d.live.n
	for _, id := range ids {
		// What is not overridden here may be on a director that is not heard just now.
		if wants.Kind != OverrideNone || d.shares() || d.live.all[id].live(now) {
			changes[id] = wants
		}
	}
	if len(changes) > 0 {
		if err := d.change(changes, now); err != nil {
			o.done <- fmt.Errorf("%s %s: %w", o.req.Kind, o.req.Target, err)
			return
		}
		d.layOverrides(now)
		d.announce()
	}
	o.result = Overridden{Servers: ids, Warnings: d.overrideWarnings(o.req, ids)}
	if d.live.n == before { // nothing is to be written
		o.done <- nil
		return
	}
	o.changed = d.live.n
	d.live.waiting = append(d.live.waiting, o)
}

// layOverrides lays what is known over the configuration anew, says what that changes,
// and brings it to the kernel.
func (d *Director) layOverrides(now time.Time) {
	was := d.facts.Overrides
	d.facts.Overrides, _ = d.live.all.split(d.force.servers, now)
	for _, id := range was.sorted() {
		if _, still := d.facts.Overrides[id]; !still {
			d.endOverride(id, was[id], d.live.all[id].ended(now, d.o.Self))
		}
	}
	for _, id := range d.facts.Overrides.sorted() {
		if is := d.facts.Overrides[id]; is.compare(was[id]) != 0 {
			d.logOverride(id, was[id], is)
		}
	}
	d.compile()
	d.logPools()
	d.lookAtQuorums(nil)
}

// overridesSaved takes in that overrides have been written, or could not be.
func (d *Director) overridesSaved(s savedOverrides) {
	if why := errText(s.err); why != d.live.unsaved {
		if d.live.unsaved = why; why == "" {
			d.o.Logger.Info("overrides are written again")
		} else {
			d.o.Logger.Warn("overrides not written, a restart now would forget them", "err", why)
		}
	}
	d.live.waiting = slices.DeleteFunc(d.live.waiting, func(o *overriding) bool {
		if o.changed > s.n {
			return false
		}
		if s.err != nil {
			o.result.Warnings = append(o.result.Warnings, "not kept over a restart: "+errText(s.err))
		}
		o.done <- nil
		return true
	})
}

// answerOverrides answers the requests that wait at the end of a run, when the overrides
// have been written.
func (d *Director) answerOverrides(err error) {
	for _, o := range d.live.waiting {
		o.done <- err
	}
}

// overrideWarnings are what an operator may not expect of a request.
func (d *Director) overrideWarnings(req OverrideRequest, ids []ServerID) []string {
	var list []string
	for i := range d.force.cfg.VirtualServers {
		vs := &d.force.cfg.VirtualServers[i]
		touched := slices.ContainsFunc(ids, func(id ServerID) bool { return id.VirtualServer == vs.Name })
		if !touched || req.Kind == OverrideNone {
			continue
		}
		switch _, serves := Pool(vs, d.facts); serves {
		case poolEmpty:
			list = append(list, fmt.Sprintf("%s: no real server takes connections now, and there is no sorry server: they are refused", vs.Name))
			continue
		case poolBackup:
			list = append(list, fmt.Sprintf("%s: fewer than %d real servers take connections now: the backups do so too", vs.Name, vs.Quorum))
			continue
		case poolSorry:
			list = append(list, fmt.Sprintf("%s: fewer than %d real servers take connections now: sorry server %s serves", vs.Name, vs.Quorum, vs.SorryServer.Address))
			continue
		}
		if zero := (Override{Kind: req.Kind, Weight: req.Weight}); req.Kind != OverrideDisable && zero.quiet() && vs.Service.RefusesAtZero() {
			list = append(list, fmt.Sprintf("%s: scheduler %s refuses the clients whose place in its table is at a real server of weight 0; disable gives them to others", vs.Name, vs.Service.Scheduler))
		}
	}
	return list
}

// carried is what a new configuration makes of the overrides of director self: changes to
// the registers, and the new names of the real servers that have another one.
func (r Registers) carried(before, after *conf.Config, self string, now time.Time) (changes Registers, moved map[ServerID]ServerID) {
	moved = r.moved(before, after, now)
	changes = make(Registers)
	version := r.next(now)
	for id, name := range moved {
		reg := r[id]
		reg.Version = version
		changes[name] = reg
		if !hasMembership(after) {
			changes[id] = gone(version, self, now)
		}
	}
	return changes, moved
}

// carryOverrides takes the overrides into a new configuration; was are those in force
// before. One follows a real server that has another name now. What the configuration no
// longer names has no effect any more; other directors may still have the configuration
// before: see endUnnamed.
func (d *Director) carryOverrides(was Overrides, changes Registers, moved map[ServerID]ServerID) {
	now := time.Now().Round(0)
	if err := d.change(changes, now); err != nil {
		d.o.Logger.Warn("overrides do not follow the real servers that have another name", "err", err)
		clear(moved)
	}
	d.facts.Overrides, _ = d.live.all.split(d.force.servers, now)
	arrived := make(map[ServerID]bool)
	for _, name := range moved {
		arrived[name] = true
	}
	for _, id := range was.sorted() {
		if _, still := d.facts.Overrides[id]; !still && moved[id] == (ServerID{}) {
			d.endOverride(id, was[id], endRemoved)
		}
	}
	for _, id := range d.facts.Overrides.sorted() {
		if _, before := was[id]; !before && !arrived[id] {
			d.o.Logger.Info("override goes on", d.facts.Overrides[id].attrs(id)...)
		}
	}
	d.endUnnamed(now)
}

// endUnnamed ends, for good, the overrides of real servers that no director's
// configuration names any more. As long as one of the directors is not known to run the
// same configuration as this one, they are kept: where the real server still is, a drain
// before its removal has to hold.
func (d *Director) endUnnamed(now time.Time) {
	_, unnamed := d.live.all.split(d.force.servers, now)
	if len(unnamed) == 0 || !d.agreed() {
		return
	}
	changes, version := make(Registers), d.live.all.next(now)
	for id := range unnamed {
		changes[id] = gone(version, d.o.Self, now)
	}
	_ = d.change(changes, now) // there are not more of them, and they are shorter
}

// gone is the register of a real server that is in no configuration any more.
func gone(version uint64, self string, now time.Time) Register {
	return Register{Version: version, Override: Override{Kind: OverrideNone, Director: self, At: now.Round(0), Reason: endRemoved}}
}

// endOverrides ends those whose time has come.
func (d *Director) endOverrides(now time.Time) {
	if next := d.facts.Overrides.nextOver(); !next.IsZero() && !now.Before(next) {
		d.keepOverrides(now)
		d.layOverrides(now)
	}
}
