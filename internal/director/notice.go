package director

import (
	"fmt"
	"maps"

	"github.com/hadirector/hadirector/healthcheck"
)

// logNotice says once that a check that succeeds warns of something, and when it does so
// no longer. A real server that is down has other troubles: what was said stays until it
// is up and asked again.
func (d *Director) logNotice(e healthcheck.Event) {
	text, was := e.Notice.Text, d.said.notices[e.Target]
	users := d.force.users[e.Target] // none: a reload has taken it away
	if e.Status != healthcheck.Up || text == was || len(users) == 0 {
		return
	}
	if text == "" {
		delete(d.said.notices, e.Target)
	} else {
		d.said.notices[e.Target] = text
	}
	for _, u := range users {
		attrs := []any{"real_server", u.rs.Name, "address", u.rs.Address, "virtual_server", u.vs.Name, "check", e.Target.Check}
		ev := Event{At: e.At, Kind: EventRealServerWarning, Object: u.vs.Name + "/" + u.rs.Name}
		if text == "" {
			d.o.Logger.Info("real server's check no longer warns", append(attrs, "warning", was)...)
			ev.Text = fmt.Sprintf("%s: check %s no longer warns: %s", u.rs.Address, e.Target.Check, was)
		} else {
			d.o.Logger.Warn("real server's check warns", append(attrs, "warning", text)...)
			ev.Text = fmt.Sprintf("%s: check %s warns: %s", u.rs.Address, e.Target.Check, text)
		}
		d.record(ev)
	}
}

// forgetNotices forgets what was said of targets that a reload has taken away: when they are
// back, it is news again.
func (d *Director) forgetNotices() {
	maps.DeleteFunc(d.said.notices, func(t healthcheck.Target, _ string) bool { return len(d.force.users[t]) == 0 })
}
