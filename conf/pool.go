package conf

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

// What becomes of a real server that is down.
const (
	downRemove = "remove"
	downWeight = "weight-0"
)

// whole is the whole of a part in hundredths of a percent.
const whole = 100_00

// poolKeys reads what a virtual server makes of its real servers' health.
func (p *parser) poolKeys(t *node, vs *VirtualServer) {
	vs.Quorum = int(p.integer(t.kid("quorum"), defaultQuorum, 1, 1<<31-1))
	vs.QuorumHysteresis = int(p.integer(t.kid("quorum_hysteresis"), 0, 0, 1<<31-1))
	vs.QuiesceDown = p.choice(t.kid("on_down"), "an end", downRemove, []string{downRemove, downWeight}, nil) == downWeight
	vs.SlowStart = p.duration(t.kid("slow_start"), 0, 0, maxSlowStart, time.Millisecond)
	vs.PanicThreshold = p.part(t.kid("panic_threshold"))
	vs.OnQuorumUp, vs.OnQuorumDown = p.hook(t.kid("on_quorum_up")), p.hook(t.kid("on_quorum_down"))
}

// part reads a part of a whole, "50%" or 0.5, in hundredths of a percent.
func (p *parser) part(n *node) int {
	const want = `a part, such as "50%" or 0.5`
	if n == nil {
		return 0
	}
	var f float64
	switch v := n.value.(type) {
	case string:
		digits, percent := strings.CutSuffix(v, "%")
		f, _ = strconv.ParseFloat(digits, 64)
		if !percent || strings.Trim(digits, "0123456789.") != "" || strings.Trim(digits, ".") == "" {
			p.errorf(n, "%q is not %s", shorten(v), want)
			return 0
		}
		f /= 100
	case float64:
		f = v
	case int64:
		f = float64(v)
	default:
		p.errorf(n, "want %s, found %s", want, describe(n.value))
		return 0
	}
	hundredths := math.Round(f * whole)
	switch {
	case !(f >= 0 && f <= 1):
		p.errorf(n, "%s is out of range: want %s, from 0 to 1", describe(n.value), want)
		return 0
	case math.Abs(f*whole-hundredths) > 1e-6:
		p.errorf(n, "%s is too fine: want a multiple of 0.01%%", describe(n.value))
		return 0
	}
	return int(hundredths)
}

// formatPart writes a part as a percentage.
func formatPart(hundredths int) string {
	return strconv.FormatFloat(float64(hundredths)/100, 'f', -1, 64) + "%"
}

// poolKeys writes what poolKeys reads.
func (w *writer) poolKeys(vs VirtualServer) {
	w.integer("quorum", int64(vs.Quorum))
	w.integer("quorum_hysteresis", int64(vs.QuorumHysteresis))
	onDown := downRemove
	if vs.QuiesceDown {
		onDown = downWeight
	}
	w.text("on_down", onDown)
	w.duration("slow_start", vs.SlowStart)
	w.text("panic_threshold", formatPart(vs.PanicThreshold))
	w.hook("on_quorum_up", vs.OnQuorumUp)
	w.hook("on_quorum_down", vs.OnQuorumDown)
}

// checkPool looks for contradictions in what a virtual server makes of its real servers'
// health.
func (p *parser) checkPool(t *node, vs VirtualServer) {
	p.checkQuorum(t, vs)
	if zero := t.kid("on_down"); vs.QuiesceDown && vs.Service.RefusesAtZero() {
		p.warnf(zero, "the scheduler %s refuses clients for the sake of a real server of weight 0: those that are down are removed all the same", vs.Service.Scheduler)
	}
	if slow := t.kid("slow_start"); vs.SlowStart > 0 {
		heavy := slices.ContainsFunc(vs.RealServers, func(rs RealServer) bool { return rs.Weight > 1 })
		switch {
		case slices.Contains([]string{"rr", "lc", "dh"}, vs.Service.Scheduler):
			p.warnf(slow, "the scheduler %s does not look at weights: slow_start changes nothing", vs.Service.Scheduler)
		case len(vs.RealServers) > 0 && !heavy:
			p.warnf(slow, "a weight of 1 has no parts: slow_start changes nothing without greater weights, such as 100")
		}
	}
	if vs.PanicThreshold > 0 && vs.SorryServer != nil {
		p.warnf(t.kid("panic_threshold"), "failing checks leave the last good real servers in: the sorry server serves only if those are fewer than the quorum")
	}
}

// checkQuorum looks for a quorum that cannot be.
func (p *parser) checkQuorum(t *node, vs VirtualServer) {
	servers, which := 0, "there are"
	for _, rs := range vs.RealServers {
		if rs.Backup {
			which = "that are no backups"
		} else {
			servers++
		}
	}
	declared := t.kid("real_server")
	switch known := declared == nil || len(vs.RealServers) == len(declared.kids); {
	case vs.QuorumHysteresis >= vs.Quorum:
		if vs.QuorumHysteresis > 0 {
			p.errorf(t.at("quorum_hysteresis"), "%d is not less than the quorum, %d", vs.QuorumHysteresis, vs.Quorum)
		}
	case !known: // some were refused
	case len(vs.RealServers) == 0:
		if vs.Quorum > 1 {
			p.errorf(t.at("quorum"), "%d is more than the 0 real servers there are", vs.Quorum)
		} else {
			p.warnf(t, "has no real servers")
		}
	case servers == 0:
		p.errorf(declared, "every real server is a backup: of what?")
	case vs.Quorum > servers:
		p.errorf(t.at("quorum"), "%d is more than the %d real servers %s", vs.Quorum, servers, which)
	case vs.Quorum+vs.QuorumHysteresis > servers:
		p.errorf(t.at("quorum_hysteresis"), "a quorum that is lost comes back with %d, more than the %d real servers %s",
			vs.Quorum+vs.QuorumHysteresis, servers, which)
	}
}

// quiescedPersistence warns of clients that stick to a real server that is down.
func (p *parser) quiescedPersistence(c *Config) {
	for _, vs := range c.VirtualServers {
		if vs.QuiesceDown && vs.Service.Flags&ipvs.FlagPersistent != 0 && !vs.Service.RefusesAtZero() && c.IPVS.Parameters["expire_quiescent_template"] != 1 {
			p.warnf(p.root.at("virtual_server", vs.Name, "on_down"), "persistence sends clients to a real server of weight 0 as before, so they stick to one that is down: want [ipvs] expire_quiescent_template = true")
		}
	}
}
