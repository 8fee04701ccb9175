package director

import (
	"context"
	"fmt"
	"log/slog"
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

// overrideState is the loop's side of the overrides; the facts have them.
type overrideState struct {
	keeper  overrideKeeper
	n       uint64 // counts the changes
	waiting []*overriding
	unsaved string // why the last write failed
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
	d.facts.Overrides = make(Overrides, len(all))
	names := make(map[ServerID]bool)
	for _, id := range identities(d.force.cfg) {
		names[id] = true
	}
	dropped := false
	for _, id := range all.sorted() {
		if !names[id] {
			d.endOverride(id, all[id], endRemoved)
			dropped = true
			continue
		}
		d.facts.Overrides[id] = all[id]
		d.o.Logger.Info("override goes on", all[id].attrs(id)...)
	}
	if dropped {
		d.keepOverrides()
	}
	d.endOverrides(time.Now())
	d.logPools()
}

// override takes in a request.
func (d *Director) override(o *overriding) {
	ids, err := find(d.force.cfg, o.req.Target)
	if err != nil {
		o.done <- err
		return
	}
	now := time.Now().Round(0) // it has to survive this process's clock
	changed := false
	for _, id := range ids {
		was, is := d.facts.Overrides[id]
		switch {
		case o.req.Kind != OverrideNone:
			ov := Override{Kind: o.req.Kind, Weight: o.req.Weight, By: o.req.By, At: now, Reason: o.req.Reason}
			if o.req.For > 0 {
				ov.Until = now.Add(o.req.For)
			}
			d.facts.Overrides[id] = ov
			d.logOverride(id, was, ov)
			changed = true
		case is:
			delete(d.facts.Overrides, id)
			d.endOverride(id, was, "enabled by "+o.req.By)
			changed = true
		}
	}
	o.result = Overridden{Servers: ids, Warnings: d.overrideWarnings(o.req, ids)}
	if !changed {
		o.done <- nil
		return
	}
	d.overridesChanged()
	o.changed = d.live.n
	d.live.waiting = append(d.live.waiting, o)
}

// overridesChanged brings a change of the overrides to the kernel and to the disk.
func (d *Director) overridesChanged() {
	d.keepOverrides()
	d.compile()
	d.logPools()
}

// keepOverrides has them written.
func (d *Director) keepOverrides() {
	d.live.n++
	d.live.keeper.want.put(numbered{d.live.n, maps.Clone(d.facts.Overrides)})
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
		case poolSorry:
			list = append(list, fmt.Sprintf("%s: fewer than %d real servers take connections now: sorry server %s serves", vs.Name, vs.Quorum, vs.SorryServer.Address))
			continue
		}
		if zero := (Override{Kind: req.Kind, Weight: req.Weight}); req.Kind != OverrideDisable && zero.quiet() && refusesAtZero(vs.Service) {
			list = append(list, fmt.Sprintf("%s: scheduler %s refuses the clients whose place in its table is at a real server of weight 0; disable gives them to others", vs.Name, vs.Service.Scheduler))
		}
	}
	return list
}

// carryOverrides takes the overrides into a new configuration.
func (d *Director) carryOverrides(before *conf.Config) {
	kept, ended := d.facts.Overrides.carry(before, d.force.cfg)
	same := maps.Equal(kept, d.facts.Overrides)
	for _, id := range ended {
		d.endOverride(id, d.facts.Overrides[id], endRemoved)
	}
	d.facts.Overrides = kept
	if !same {
		d.keepOverrides()
	}
}

// endOverrides ends those whose time has come.
func (d *Director) endOverrides(now time.Time) {
	changed := false
	for _, id := range d.facts.Overrides.sorted() {
		if o := d.facts.Overrides[id]; o.over(now) {
			delete(d.facts.Overrides, id)
			d.endOverride(id, o, endExpired)
			changed = true
		}
	}
	if changed {
		d.overridesChanged()
	}
}

// nextOver is when the first override's time comes; zero: never.
func (o Overrides) nextOver() time.Time {
	var next time.Time
	for _, ov := range o {
		if !ov.Until.IsZero() && (next.IsZero() || ov.Until.Before(next)) {
			next = ov.Until
		}
	}
	return next
}

func (o Overrides) sorted() []ServerID {
	return slices.SortedFunc(maps.Keys(o), ServerID.compare)
}

// Why overrides end without being asked to.
const (
	endExpired = "its time is over"
	endRemoved = "the real server is not in the configuration any more"
)

// logOverride says an override once, in the log and in the journal.
func (d *Director) logOverride(id ServerID, was, is Override) {
	d.o.Logger.Info("override set", is.attrs(id)...)
	text := []string{fmt.Sprintf("%s of %s by %s", is, id, is.By)}
	if !is.Until.IsZero() {
		text = append(text, "until "+is.Until.Format(time.RFC3339))
	}
	if is.Reason != "" {
		text = append(text, is.Reason)
	}
	e := Event{At: is.At, Kind: EventOverrideSet, Object: id.String(), To: is.String(), Text: strings.Join(text, ", ")}
	if was.Kind != "" {
		e.From = was.String()
	}
	d.record(e)
}

// endOverride says that an override has ended.
func (d *Director) endOverride(id ServerID, was Override, why string) {
	level := slog.LevelInfo
	if why == endRemoved {
		level = slog.LevelWarn
	}
	d.log(level, "override ended", "virtual_server", id.VirtualServer, "real_server", id.RealServer, "override", was.String(), "reason", why)
	d.record(Event{Kind: EventOverrideEnded, Object: id.String(), From: was.String(), Text: fmt.Sprintf("%s of %s ended: %s", was, id, why)})
}

// attrs are an override's for the log.
func (o Override) attrs(id ServerID) []any {
	attrs := []any{"virtual_server", id.VirtualServer, "real_server", id.RealServer, "override", o.String(), "by", o.By}
	if !o.Until.IsZero() {
		attrs = append(attrs, "until", o.Until.Format(time.RFC3339))
	}
	if o.Reason != "" {
		attrs = append(attrs, "reason", o.Reason)
	}
	return attrs
}
