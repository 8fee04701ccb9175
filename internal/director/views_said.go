package director

import (
	"fmt"

	"github.com/hadirector/hadirector/healthcheck"
)

// viewsAtOnce is how many real servers are named one by one when two directors begin to
// disagree about them, or cease to, at the same time. More are one line and one event: a
// director that has lost its network sees all of them down.
const viewsAtOnce = 10

// sayDisagreements says about which real servers another director's verdict is another,
// and has been for longer than checks take.
func (d *Director) sayDisagreements(peer string, places []int, theirs views) {
	for _, place := range places {
		d.views.differ[peer][d.views.list[place].id].said = true
	}
	if len(places) > viewsAtOnce {
		all := make([]string, len(places))
		for i, place := range places {
			all[i] = d.views.list[place].id.String()
		}
		d.o.Logger.Warn("directors disagree about real servers", "peer", peer, "count", len(places), "real_servers", listed(all))
		d.record(Event{
			Kind: EventViewsDiffer, Object: peer,
			Text: fmt.Sprintf("%s and %s disagree about %d real servers: %s", d.o.Self, peer, len(places), listed(all)),
		})
		return
	}
	for _, place := range places {
		s := d.views.list[place]
		diff := d.views.differ[peer][s.id]
		mine, _ := d.views.why(d.facts, s.rs)
		cause, _ := theirs.why(place)
		attrs := []any{"real_server", s.rs.Name, "address", s.rs.Address, "virtual_server", s.vs.Name, "peer", peer, "here", diff.mine, "there", diff.theirs}
		if mine != "" {
			attrs = append(attrs, "here_err", mine)
		}
		if cause != "" {
			attrs = append(attrs, "there_err", cause)
		}
		d.o.Logger.Warn("directors disagree about a real server", attrs...)
		d.record(Event{
			Kind: EventViewsDiffer, Object: s.id.String(), From: diff.mine.String(), To: diff.theirs.String(), Reason: peer,
			Text: viewText(d.o.Self, diff.mine, mine) + "; " + viewText(peer, diff.theirs, cause),
		})
	}
}

// sayAgreements says about which real servers they say the same again.
func (d *Director) sayAgreements(peer string, places []int) {
	if len(places) > viewsAtOnce {
		d.o.Logger.Info("directors agree about real servers again", "peer", peer, "count", len(places))
		d.record(Event{Kind: EventViewsAgree, Object: peer, Text: fmt.Sprintf("%s and %s agree about %d real servers again", d.o.Self, peer, len(places))})
		return
	}
	for _, place := range places {
		s := d.views.list[place]
		verdict := d.facts.verdict(s.rs)
		d.o.Logger.Info("directors agree about a real server again", "real_server", s.rs.Name, "address", s.rs.Address, "virtual_server", s.vs.Name, "peer", peer, "status", verdict)
		d.record(Event{Kind: EventViewsAgree, Object: s.id.String(), To: verdict.String(), Text: viewText(d.o.Self+" and "+peer, verdict, "")})
	}
}

// viewText is a director's verdict as a clause.
func viewText(who string, verdict healthcheck.Status, cause string) string {
	switch {
	case verdict == healthcheck.Unknown:
		return who + ": no verdict"
	case cause == "":
		return fmt.Sprintf("%s: %s", who, verdict)
	}
	return fmt.Sprintf("%s: %s, %s", who, verdict, cause)
}
