package conf

import (
	"net/netip"
	"strconv"

	"github.com/hadirector/hadirector/vrrp"
)

// Tracking is an entry of a virtual router's track: what a [track.NAME] does to it.
type Tracking struct {
	Track string // name of a Track
	// Weight changes the priority as keepalived's does: a positive one is added as
	// long as the track is well, a negative one as long as it is not, and that of a
	// file is multiplied by the number in it.
	Weight int
	// Fault takes the virtual router out as long as the track is not well. Weight is 0
	// then.
	Fault bool
}

// fault is Tracking.Fault in the file.
const fault = "fault"

func (t Tracking) String() string {
	if t.Fault {
		return strconv.Quote(fault)
	}
	return strconv.Itoa(t.Weight)
}

// tracking reads track = { uplink = -60, gateway = "fault" }.
func (p *parser) tracking(n *node) []Tracking {
	const form = `a table of tracks, such as { uplink = -60, gateway = "fault" }`
	if n == nil {
		return nil
	}
	if n.array {
		p.keyErrorf(n, "an array of tables has no place here: write %s once", n.path())
		return nil
	}
	if _, ok := read[map[string]any](p, n, form); !ok {
		return nil
	}
	var all []Tracking
	for _, k := range n.kids {
		if !p.trackName(k) {
			continue
		}
		t := Tracking{Track: k.name}
		switch v := k.value.(type) {
		case int64:
			switch {
			case v == 0:
				p.errorf(k, "0 changes nothing: want a weight, or %q (which keepalived's 0 means)", fault)
			case v < -maxTrackWeight || v > maxTrackWeight:
				p.errorf(k, "%d is out of range: want a weight from %d to %d", v, -maxTrackWeight, maxTrackWeight)
			}
			t.Weight = int(v)
		case string:
			t.Fault = v == fault
			if !t.Fault {
				p.errorf(k, "want a weight from %d to %d or %q, found %s%s", -maxTrackWeight, maxTrackWeight, fault, describe(v),
					weightHint(v, p.suggest(v, []string{fault})))
			}
		default:
			p.errorf(k, "want a weight from %d to %d or %q, found %s", -maxTrackWeight, maxTrackWeight, fault, describe(v))
		}
		all = append(all, t)
	}
	return all
}

func weightHint(s, suggestion string) string {
	if _, err := strconv.Atoi(s); err == nil {
		return ": write " + s + " without quotes"
	}
	return didYouMean(suggestion)
}

// trackName tells whether there is a track of the entry's name, and marks it as used.
func (p *parser) trackName(n *node) bool {
	tracks := p.root.kid("track")
	if tracks.kid(n.name) != nil {
		p.usedTracks[n.name] = true
		return true
	}
	var names []string
	if tracks != nil {
		for _, k := range tracks.kids {
			names = append(names, k.name)
		}
	}
	p.keyErrorf(n, "no track is named %q%s", shorten(n.name), didYouMean(p.suggest(n.name, names)))
	return false
}

// weights are the entries that change the priority.
func (vr VirtualRouter) weights() []Tracking {
	var all []Tracking
	for _, t := range vr.Track {
		if !t.Fault {
			all = append(all, t)
		}
	}
	return sortedBy(all, func(t Tracking) string { return t.Track })
}

// trackContradictions looks at what tracks can change in the end.
func (p *parser) trackContradictions(c *Config, vips map[netip.Addr]string) {
	for _, t := range c.Tracks {
		if a := t.Spec.Ping.Address; vips[a] != "" {
			p.warnf(p.root.at("track", t.Name, "address"), "%s is a virtual address of %s: its Master asks itself", a, vips[a])
		}
		if !p.usedTracks[t.Name] {
			p.warnf(p.root.at("track", t.Name), "no virtual router tracks this")
		}
	}
	for _, vr := range c.VirtualRouters {
		n := p.root.at("vrrp", vr.Name, "track")
		for _, d := range c.Directors {
			if len(vr.weights()) > 0 && vr.Priority[d.Name] == vrrp.PriorityOwner {
				p.warnf(n, "weights do not change the priority 255 of %s: the owner of the addresses leaves by %q only", d.Name, fault)
			}
		}
		p.idleWeights(n, vr, c)
	}
}

// idleWeights warns of weights that change nothing: with everything that is tracked
// lost, the best director is still before the next.
func (p *parser) idleWeights(n *node, vr VirtualRouter, c *Config) {
	best := vr.best(c.Directors)
	weights := vr.weights()
	if best == "" || len(weights) == 0 || len(c.Directors) < 2 || vr.Priority[best] == vrrp.PriorityOwner {
		return
	}
	up, down := 0, 0
	for _, t := range weights {
		i := trackIndex(c.Tracks, t.Track)
		if i < 0 || c.Tracks[i].Type == TrackFile {
			return // the number in a file can be any
		}
		up += max(t.Weight, 0)
		down += min(t.Weight, 0)
	}
	second, next := "", 0
	for _, d := range c.Directors {
		if q := int(vr.Priority[d.Name]); d.Name != best && q > next {
			second, next = d.Name, q
		}
	}
	worst := max(int(vr.Priority[best])+down, 1)
	if other := min(next+up, int(vrrp.PriorityOwner)-1); worst > other {
		p.warnf(n, "the weights change nothing: with everything lost %s has priority %d, and %s with nothing lost has %d", best, worst, second, other)
	}
}
