package director

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// handOverMargin is added to the time that a hand-over takes at most, for what passes
// between the parts.
const handOverMargin = time.Second

// SwitchedOver is what became of one virtual router's switchover.
type SwitchedOver struct {
	Instance string `json:"instance"`
	// To is the director that took over; empty if none did.
	To string `json:"to,omitempty"`
	// State is what this director is now.
	State string `json:"state"`
	// Took is how long it was until that director was heard.
	Took time.Duration `json:"took_ns,omitempty"`
}

// switchover is a request to give virtual routers to another director.
type switchover struct {
	names   []string // on its way to the loop: what was asked for, may be empty
	by      string
	at      time.Time
	until   time.Time
	waiting []string // those that nobody has taken yet
	results []SwitchedOver
	done    chan error // buffered
}

// Switchover gives the named virtual routers of which this director is Master to
// another one, all of them without a name, and with each the others of its sync group.
// It returns when another director is heard, or when none was in time; then this one
// goes on. After it has given a virtual router away, this director preempts nobody for
// it until it has been Master again. The error says what is wrong with the request, and
// nothing has happened then, or that the wait for its outcome was cut short.
func (d *Director) Switchover(ctx context.Context, by string, names []string) ([]SwitchedOver, error) {
	o := &switchover{names: names, by: by, done: make(chan error, 1)}
	select {
	case d.orders <- o:
	case <-ctx.Done():
		return nil, fmt.Errorf("switch over: %w", ctx.Err())
	}
	select {
	case err := <-o.done:
		if err != nil {
			return nil, err
		}
		return o.results, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the switchover: %w", ctx.Err())
	}
}

// switchover begins a request.
func (d *Director) switchover(o *switchover) {
	names, err := d.switchable(o.names)
	if err != nil {
		o.done <- err
		return
	}
	o.at = time.Now()
	o.waiting = names
	for _, name := range names {
		d.yielded[name] = o.at
		vr, _ := virtualRouter(d.force.cfg, name)
		o.until = later(o.until, o.at.Add(2*vr.AdvertInterval+handOverMargin))
	}
	d.o.Logger.Info("switchover requested", "virtual_router", strings.Join(names, " "), "by", o.by)
	for _, name := range names {
		d.record(Event{Kind: EventSwitchover, Object: name, Text: "switchover requested by " + o.by})
	}
	d.switches = append(d.switches, o)
	d.applyInstances() // before it hands over: it must not preempt its successor
	d.o.VRRP.HandOver(names...)
}

// switchable returns the virtual routers that a request is about.
func (d *Director) switchable(asked []string) ([]string, error) {
	if len(asked) == 0 {
		for _, vr := range d.force.cfg.VirtualRouters {
			if d.facts.VRRP[vr.Name] == vrrp.Master {
				asked = append(asked, vr.Name)
			}
		}
		if len(asked) == 0 {
			return nil, fmt.Errorf("director %s is Master of nothing", d.o.Self)
		}
	}
	var names []string
	for _, name := range asked {
		vr, ok := virtualRouter(d.force.cfg, name)
		if !ok {
			return nil, fmt.Errorf("there is no [vrrp.%s]", name)
		}
		if state := d.facts.VRRP[name]; state != vrrp.Master {
			return nil, fmt.Errorf("%s is not Master on %s but %s: run this on its Master", name, d.o.Self, state)
		}
		if vr.Priority[d.o.Self] == vrrp.PriorityOwner {
			return nil, fmt.Errorf("%s belongs to %s, which has priority 255 and would take it back at once", name, d.o.Self)
		}
		for _, other := range d.force.cfg.VirtualRouters {
			together := other.Name == name || vr.SyncGroup != "" && other.SyncGroup == vr.SyncGroup
			if together && !slices.Contains(names, other.Name) {
				names = append(names, other.Name)
			}
		}
	}
	return names, nil
}

// switched takes in a transition that a request may be waiting for.
func (d *Director) switched(r vrrp.Report) {
	if r.To == vrrp.Master && !d.yielded[r.Instance].IsZero() {
		delete(d.yielded, r.Instance)
		if d.instancesAt == 0 {
			d.applyInstances() // it may preempt again
		}
	}
	if r.From != vrrp.Master {
		return
	}
	for _, o := range d.switches {
		i := slices.Index(o.waiting, r.Instance)
		if i < 0 {
			continue
		}
		o.waiting = slices.Delete(o.waiting, i, i+1)
		s := SwitchedOver{Instance: r.Instance, State: r.To.String(), Took: r.At.Sub(o.at)}
		if r.Peer.IsValid() {
			s.To = directorName(d.force.cfg, d.senders, r.Peer)
		}
		o.results = append(o.results, s)
	}
	d.endSwitches(time.Now())
}

// abandonSwitches answers the requests that this director will not see the end of.
func (d *Director) abandonSwitches() {
	for _, o := range d.switches {
		o.done <- fmt.Errorf("director %s is stopping", d.o.Self)
	}
	d.switches = nil
}

// endSwitches answers the requests that are done, and those whose time is over: nobody
// has taken what they are still waiting for, and it stays here.
func (d *Director) endSwitches(now time.Time) {
	d.switches = slices.DeleteFunc(d.switches, func(o *switchover) bool {
		if len(o.waiting) > 0 && now.Before(o.until) {
			return false
		}
		for _, name := range o.waiting {
			delete(d.yielded, name)
			o.results = append(o.results, SwitchedOver{Instance: name, State: vrrp.Master.String()})
			d.o.Logger.Warn("switchover failed, nobody took over", "virtual_router", name)
			d.record(Event{Kind: EventSwitchover, Object: name, Text: "switchover failed: nobody took over, this director goes on"})
		}
		if len(o.waiting) > 0 {
			d.applyInstances()
		}
		o.done <- nil
		return true
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
