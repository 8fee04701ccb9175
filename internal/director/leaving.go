package director

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
)

// Leaving is a real server that a reload has taken out of the configuration and that the
// kernel's table still holds, with weight 0, so that its connections can end.
//
// That is for what an operator removes. A real server that fails its check leaves at
// once: its connections have nobody to answer them.
type Leaving struct {
	Server      ServerID // by its names in the configuration before
	Service     ipvs.Service
	Destination ipvs.Destination
	Translation *ipvs.Translation // what full NAT needs beside it; nil: nothing
	Since       time.Time
	Until       time.Time // it leaves then, idle or not
}

// identity is what the kernel knows it by.
func (l Leaving) identity() identity { return identity{l.Service.Key, l.Destination.Key} }

// leave returns what is leaving after a reload: what was before, unless it is back in the
// configuration, and what the kernel's table has, see inTable, and the configuration no
// longer.
//
// What a drain_timeout of 0 says leaves at once. So does what would keep clients from
// being served: a real server whose scheduler refuses clients for one of weight 0, and a
// service whose clients another one takes.
func leave(was map[identity]Leaving, before, after *conf.Config, self string, kernel ipvs.Table, now time.Time) map[identity]Leaving {
	wanted, services := make(map[identity]bool), make(map[ipvs.ServiceKey]*conf.VirtualServer)
	for i := range after.VirtualServers {
		vs := &after.VirtualServers[i]
		for p := range places(vs) {
			wanted[p.identity] = true
		}
		for service := range vs.Services() {
			services[service.Key] = vs
		}
	}
	leaves := func(l Leaving) bool {
		if vs, stays := services[l.Service.Key]; stays {
			return !wanted[l.identity()] && !vs.Service.RefusesAtZero()
		}
		every := l.Service.Key // the service that takes every port of the address
		every.Addr = netip.AddrPortFrom(every.Addr.Addr(), 0)
		_, taken := services[every]
		return !taken
	}
	is := make(map[identity]Leaving)
	last := make(map[ipvs.ServiceKey]ipvs.Service) // as each service was configured before
	for i := range before.VirtualServers {
		for service := range before.VirtualServers[i].Services() {
			last[service.Key] = service
		}
	}
	for id, l := range was {
		if service, ok := last[id.service]; ok {
			l.Service = service // all that leave a service mean the same one
		}
		if leaves(l) {
			is[id] = l
		}
	}
	for i := range before.VirtualServers {
		vs := &before.VirtualServers[i]
		for p := range places(vs) {
			timeout := vs.DrainTimeout
			if stays, ok := services[p.of.Key]; ok {
				timeout = stays.DrainTimeout
			}
			d, in := kernel[p.of.Key].Destinations[p.key]
			d.Weight = 0
			l := Leaving{Server: ServerID{vs.Name, p.rs.Name}, Service: p.of, Destination: d, Since: now.Round(0), Until: now.Round(0).Add(timeout)}
			if t, ok := vs.Translation(p.of.Key, p.rs, self); ok {
				l.Translation = &t
			}
			if _, already := is[p.identity]; in && !already && timeout > 0 && leaves(l) {
				is[p.identity] = l
			}
		}
	}
	return is
}

// addLeaving adds what is leaving to the table that is wanted otherwise.
func addLeaving(t ipvs.Table, leaving map[identity]Leaving) {
	for id, l := range leaving {
		e, ok := t[id.service]
		if !ok {
			e = ipvs.Entry{Service: l.Service, Destinations: make(map[ipvs.DestinationKey]ipvs.Destination)}
			t[id.service] = e
		}
		if _, ok := e.Destinations[id.key]; !ok {
			e.Destinations[id.key] = l.Destination
		}
	}
}

// idle tells whether the kernel, as last read, gives it nothing new and has nothing left.
// Clients who would come back to it find another one when it is gone.
func (l Leaving) idle(p Pass) bool {
	if !p.Read || p.Changed[l.Service.Key] {
		return false
	}
	d, in := p.Table()[l.Service.Key].Destinations[l.Destination.Key]
	c := p.Observed[l.Service.Key][l.Destination.Key]
	return !in || d.Weight == 0 && c.Active == 0 && c.Inactive == 0
}

// left tells whether it need not wait any longer after a pass, and whether that is because
// it is idle.
func (l Leaving) left(p Pass, now time.Time) (left, idle bool) {
	idle = l.idle(p)
	return idle || !now.Before(l.Until), idle
}

// forgetLeaving forgets what has been said about real servers that are back.
func (d *Director) forgetLeaving() {
	maps.DeleteFunc(d.said.leaving, func(id identity, _ bool) bool {
		_, still := d.facts.Leaving[id]
		return !still
	})
}

// stillLeaving goes on with what an earlier run has left in the kernel's table on its way
// out, until the same time.
func (d *Director) stillLeaving(was map[identity]Leaving) {
	d.facts.Leaving = leave(was, d.force.cfg, d.force.cfg, d.o.Self, nil, time.Now())
	for _, id := range d.facts.sortedLeaving() {
		l := d.facts.Leaving[id]
		d.said.leaving[id] = true
		d.o.Logger.Info("removed real server goes on being drained", l.attrs("until", l.Until.Format(time.RFC3339))...)
	}
}

// left takes out what need not wait any longer.
func (d *Director) left(now time.Time) {
	gone := false
	for _, id := range d.facts.sortedLeaving() {
		l := d.facts.Leaving[id]
		left, idle := l.left(d.lastPass, now)
		if !left {
			d.logLeaving(l)
			continue
		}
		delete(d.facts.Leaving, id)
		gone = true
		d.logLeft(l, idle)
	}
	if gone {
		d.compile()
	}
}

// nextLeft is when the first one's time is over; zero: never.
func (f Facts) nextLeft() time.Time {
	var next time.Time
	for _, l := range f.Leaving {
		if next.IsZero() || l.Until.Before(next) {
			next = l.Until
		}
	}
	return next
}

func (f Facts) sortedLeaving() []identity {
	return slices.SortedFunc(maps.Keys(f.Leaving), func(a, b identity) int {
		if c := a.service.Compare(b.service); c != 0 {
			return c
		}
		return a.key.Compare(b.key)
	})
}

// logLeaving says, once, that a real server has connections to be waited for.
func (d *Director) logLeaving(l Leaving) {
	c, counted := d.lastPass.Observed[l.Service.Key][l.Destination.Key]
	dest, in := d.lastPass.Table()[l.Service.Key].Destinations[l.Destination.Key]
	if d.said.leaving[l.identity()] || !counted || !in || dest.Weight != 0 || d.lastPass.Changed[l.Service.Key] {
		return
	}
	d.said.leaving[l.identity()] = true
	d.o.Logger.Info("removed real server is drained", l.attrs("active", c.Active, "inactive", c.Inactive, "until", l.Until.Format(time.RFC3339))...)
	d.record(Event{
		Kind: EventRealServerDraining, Object: l.Server.String(),
		Text: fmt.Sprintf("%s is not in the configuration any more: its %d connections may end until %s", l.Destination.Key, c.Active+c.Inactive, l.Until.Format(time.RFC3339)),
	})
}

// logLeft says what became of one that was waited for.
func (d *Director) logLeft(l Leaving, idle bool) {
	if !d.said.leaving[l.identity()] && idle {
		return // there was nothing to wait for
	}
	delete(d.said.leaving, l.identity())
	c := d.lastPass.Observed[l.Service.Key][l.Destination.Key]
	level, why, text := slog.LevelInfo, "idle", fmt.Sprintf("%s is gone: it has no connections any more", l.Destination.Key)
	if !idle {
		level, why = slog.LevelWarn, "drain-timeout"
		text = fmt.Sprintf("%s is gone: its time was over, with %d connections left", l.Destination.Key, c.Active+c.Inactive)
	}
	d.log(level, "removed real server is gone", l.attrs("reason", why, "active", c.Active, "inactive", c.Inactive)...)
	d.record(Event{Kind: EventRealServerDrained, Object: l.Server.String(), Reason: why, Text: text})
}

func (l Leaving) attrs(more ...any) []any {
	return append([]any{"real_server", l.Server.RealServer, "address", l.Destination.Key, "virtual_server", l.Server.VirtualServer}, more...)
}
