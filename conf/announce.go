package conf

import (
	"fmt"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

var announceGrammar = grammar{keys: []string{"rounds", "spacing", "refresh"}}

var defaultAnnouncements = vrrp.Announcements{
	Rounds: defaultAnnounceRounds, Spacing: defaultAnnounceSpacing, Refresh: defaultAnnounceRefresh,
}

// announce reads how often a Master tells the neighbours where its addresses are.
func (p *parser) announce(n *node) vrrp.Announcements {
	if !p.table(n, announceGrammar) {
		return defaultAnnouncements
	}
	return vrrp.Announcements{
		Rounds:  int(p.integer(n.kid("rounds"), defaultAnnounceRounds, 1, 100)),
		Spacing: p.duration(n.kid("spacing"), defaultAnnounceSpacing, 100*time.Millisecond, time.Minute, time.Millisecond),
		Refresh: p.duration(n.kid("refresh"), defaultAnnounceRefresh, 10*time.Second, time.Hour, time.Millisecond),
	}
}

// formatAnnounce is the inverse of announce.
func formatAnnounce(a vrrp.Announcements) string {
	return fmt.Sprintf("{ rounds = %d, spacing = %q, refresh = %q }", a.Rounds, formatDuration(a.Spacing), formatDuration(a.Refresh))
}

// announcements leaves out what is the default, as the protocol's parameters do.
func announcements(a vrrp.Announcements) vrrp.Announcements {
	if a.Rounds == defaultAnnounceRounds {
		a.Rounds = 0
	}
	if a.Spacing == defaultAnnounceSpacing {
		a.Spacing = 0
	}
	if a.Refresh == defaultAnnounceRefresh {
		a.Refresh = 0
	}
	return a
}
