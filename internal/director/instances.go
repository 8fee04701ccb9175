package director

import (
	"fmt"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

const (
	// deadAfter is how long the kernel's table has been unreadable before this
	// director no longer takes part: what it forwards is not known then.
	deadAfter = 3 * time.Second
	// brokenAfter is how long the kernel's table has differed from the configuration
	// before a peer of lower priority is the better Master.
	brokenAfter = 5 * time.Second
)

// DataPlane is what is known of the kernel's forwarding.
type DataPlane struct {
	// UnreadSince is since when the table cannot be read, and Err why; zero: it can.
	UnreadSince time.Time
	Err         string
	// BrokenSince is since when it is not as configured; zero: it is.
	BrokenSince time.Time
}

// observe takes in a pass of the reconciler.
func (dp *DataPlane) observe(p Pass) {
	since := func(was time.Time, bad bool) time.Time {
		switch {
		case !bad:
			return time.Time{}
		case was.IsZero():
			return p.At
		}
		return was
	}
	dp.UnreadSince, dp.BrokenSince = since(dp.UnreadSince, !p.Read), since(dp.BrokenSince, !p.Reached)
	dp.Err = ""
	if !p.Read && len(p.Errs) > 0 {
		dp.Err = p.Errs[0].Error()
	}
}

// dead tells why this director must not take part, if it must not.
func (dp DataPlane) dead(now time.Time) string {
	if dp.UnreadSince.IsZero() || now.Sub(dp.UnreadSince) < deadAfter {
		return ""
	}
	return "ipvs cannot be read: " + dp.Err
}

// broken tells whether another director is the better Master.
func (dp DataPlane) broken(now time.Time) bool {
	return !dp.BrokenSince.IsZero() && now.Sub(dp.BrokenSince) >= brokenAfter
}

// change returns when dead or broken may next be another than now, zero if never.
func (dp DataPlane) change(now time.Time) time.Time {
	var next time.Time
	for _, t := range []time.Time{dp.UnreadSince.Add(deadAfter), dp.BrokenSince.Add(brokenAfter)} {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// Lowered is the priority of a director that is no good Master: a tenth, so that the
// order between two such directors stays, and every other one comes before them. The
// owner of the addresses keeps its own.
func Lowered(p vrrp.Priority) vrrp.Priority {
	if p == vrrp.PriorityOwner {
		return p
	}
	return max(1, p/10)
}

// instances returns the virtual routers as they should run now: what is configured,
// and what the facts make of it.
func (d *Director) instances(now time.Time) map[string]vrrp.Instance {
	return d.instancesWith(d.running, d.facts, d.yielded, now)
}

// instancesWith is instances for another configuration and its facts.
func (d *Director) instancesWith(cfg *conf.Config, f Facts, yielded map[string]time.Time, now time.Time) map[string]vrrp.Instance {
	instances := Instances(cfg, d.o.Self, d.ready)
	dead, lowered := f.DataPlane.dead(now), d.lowered(now)
	fitness := fitness(cfg, d.o.Self, f.Tracks)
	for name, in := range instances {
		in.Priority, in.Fault = grouped(cfg, fitness, name), fitness[name].Fault()
		if in.Fault == "" {
			in.Fault = dead
		}
		if lowered != "" {
			in.Priority = Lowered(in.Priority)
		}
		in.Senders = withSenders(in.Senders, d.senders)
		in.Hold = d.hold[name]
		if !yielded[name].IsZero() {
			in.Preempt = false
		}
		instances[name] = in
	}
	return instances
}

// grouped is a virtual router's priority with that of the others in its sync group: the
// lowest counts for all of them. With different ones each of two directors could be the
// better for one member, and both would give up all of them, again and again.
func grouped(cfg *conf.Config, fitness map[string]Fitness, name string) vrrp.Priority {
	p := fitness[name].Priority
	vr, _ := virtualRouter(cfg, name)
	for _, other := range cfg.VirtualRouters {
		if vr.SyncGroup != "" && other.SyncGroup == vr.SyncGroup {
			p = min(p, fitness[other.Name].Priority)
		}
	}
	return p
}

// priority is that of one virtual router among the instances.
func (d *Director) priority(vr *conf.VirtualRouter, now time.Time) vrrp.Priority {
	p := grouped(d.force.cfg, d.fitness(d.force.cfg), vr.Name)
	if d.lowered(now) != "" {
		return Lowered(p)
	}
	return p
}

// lowered says why this director's priorities are lowered, in words for the operator,
// if they are: it has not been ready since its start, it sees no real server while others
// do, or the kernel does not take its table. A reload that adds checks lowers nothing.
func (d *Director) lowered(now time.Time) string {
	switch {
	case !d.everReady:
		return "not ready since the start"
	case d.blinded != "":
		return "every check fails here, and " + d.blinded + " has seen real servers that pass"
	case d.facts.DataPlane.broken(now):
		return fmt.Sprintf("ipvs table not as configured for more than %v", brokenAfter)
	}
	return ""
}

// applyInstances starts or updates the virtual routers, if they take part yet.
func (d *Director) applyInstances() {
	if d.running == nil {
		return
	}
	now := time.Now()
	a := applied{d.running, d.instances(now)}
	d.o.VRRP.Apply(a.instances)
	d.witness.configure(a)
	d.split.configure(a)
	d.logLowered(d.lowered(now))
}

// arm sets the timer to when the mere passing of time changes something.
func (d *Director) arm() {
	now := time.Now()
	next := d.facts.DataPlane.change(now)
	for _, t := range []time.Time{d.facts.Overrides.nextOver(), d.facts.nextLeft(), d.facts.nextRise(), d.relaying.until, d.viewsDue()} {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if again := d.hooks.doubtedUntil; len(d.hooks.doubted) > 0 && (next.IsZero() || again.Before(next)) {
		next = again
	}
	for _, o := range d.switches {
		if next.IsZero() || o.until.Before(next) {
			next = o.until
		}
	}
	if next.IsZero() {
		d.later.Stop()
		return
	}
	d.later.Reset(next.Sub(now))
}

// timePassed does what is due.
func (d *Director) timePassed() {
	d.endSwitches(time.Now())
	d.endOverrides(time.Now())
	d.left(time.Now())
	d.rise(time.Now())
	d.doubtful(time.Now())
	d.moveGate()
	d.lookAtViews(time.Now())
	// A kernel that is dead may never be brought to the configuration that waits for it.
	if d.instancesAt == 0 && d.facts.DataPlane != (DataPlane{}) || d.facts.DataPlane.dead(time.Now()) != "" {
		d.applyInstances()
	}
}

// logLowered says once when the priorities are lowered after a start, and when they no
// longer are. That they are at the start is normal.
func (d *Director) logLowered(why string) {
	if why == d.said.lowered {
		return
	}
	if d.said.lowered = why; !d.everReady {
		return
	}
	if why == "" {
		d.o.Logger.Info("priorities are as configured again", "director", d.o.Self)
	} else {
		d.o.Logger.Warn("priorities lowered to a tenth", "director", d.o.Self, "reason", why)
	}
}
