package director

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/vrrp"
)

// TrackState is what is known of a track, [track.NAME].
type TrackState struct {
	Status healthcheck.Status
	// Value is the number in a file, as long as the track is up.
	Value int
	// Cause says why the track is down, in words for the operator.
	Cause string
	// Since is when the status changed last; zero: there was none yet.
	Since time.Time
}

// faultWeight is the sum by which a file does more than lower a priority: no priority
// is left, and the virtual router must not take part. keepalived has the same bound.
const faultWeight = -254

// Fitness is how fit a director is to be a virtual router's Master by its tracks.
type Fitness struct {
	// Base is the configured priority, Priority what the tracks make of it: 1 to 254,
	// or the owner's, which no weight changes.
	Base, Priority vrrp.Priority
	// Effects are the tracks that do something now, in the order of the configuration.
	Effects []TrackEffect
}

// TrackEffect is what one track does now.
type TrackEffect struct {
	Track string
	// Weight is what is added to the priority.
	Weight int
	// Fault says that the virtual router must not take part.
	Fault bool
	// Why is the track's state, in words for the operator: "down: no route to host".
	Why string
}

// Fault is why the virtual router must not take part, in words for the operator; empty
// if it may.
func (f Fitness) Fault() string {
	var why []string
	for _, e := range f.Effects {
		if e.Fault {
			why = append(why, "track "+e.Track+" "+e.Why)
		}
	}
	return strings.Join(why, "; ")
}

// Fit says how fit director self is to be Master of the virtual router vr.
//
// A positive weight is added as long as its track is up, a negative one as long as it is
// down. A file's number is multiplied by the weight as long as it can be read; when that
// makes -254 or less, the virtual router must not take part. "fault" says so of a track
// that is down, and of a file whose number is not 0. A track without a verdict does
// nothing. Weights change nothing for the owner of the addresses.
func Fit(cfg *conf.Config, vr *conf.VirtualRouter, self string, tracks map[string]TrackState) Fitness {
	f := Fitness{Base: vr.Priority[self]}
	sum := int(f.Base)
	for _, t := range tracking(cfg, vr) {
		if f.Base == vrrp.PriorityOwner {
			t.Weight = 0
		}
		e := effect(kindOf(cfg, t.Track), t, tracks[t.Track])
		if e.Weight != 0 || e.Fault {
			f.Effects = append(f.Effects, e)
		}
		sum += e.Weight
	}
	f.Priority = f.Base
	if f.Base != vrrp.PriorityOwner {
		f.Priority = vrrp.Priority(min(max(sum, 1), 254))
	}
	return f
}

// effect says what a track in a state does.
func effect(kind conf.TrackType, t conf.Tracking, s TrackState) TrackEffect {
	e := TrackEffect{Track: t.Track, Why: s.describe(kind)}
	switch {
	case s.Status == healthcheck.Unknown:
	case kind == conf.TrackFile && s.Status == healthcheck.Up:
		product := int64(s.Value) * int64(t.Weight) // 32 bits times 9
		e.Weight = int(min(max(product, faultWeight), -faultWeight))
		e.Fault = t.Fault && s.Value != 0
		if e.Weight == faultWeight {
			e.Weight, e.Fault = 0, true
		}
	case s.Status == healthcheck.Down:
		e.Fault = t.Fault
		if kind != conf.TrackFile { // it has no number to multiply
			e.Weight = min(t.Weight, 0)
		}
	default:
		e.Weight = max(t.Weight, 0)
	}
	return e
}

// describe is a track's state in words for the operator.
func (s TrackState) describe(kind conf.TrackType) string {
	switch {
	case s.Status == healthcheck.Down && s.Cause != "":
		return "down: " + s.Cause
	case s.Status == healthcheck.Up && kind == conf.TrackFile:
		return fmt.Sprintf("says %d", s.Value)
	}
	return s.Status.String()
}

// tracking are the tracks that count for a virtual router: its own, and those of every
// member of its sync group, each once. Otherwise weights would make the members Master
// on different directors. Of different weights for one track the one that weighs most
// counts.
func tracking(cfg *conf.Config, vr *conf.VirtualRouter) []conf.Tracking {
	if vr.SyncGroup == "" {
		return vr.Track
	}
	var all []conf.Tracking
	for i := range cfg.VirtualRouters {
		if cfg.VirtualRouters[i].SyncGroup != vr.SyncGroup {
			continue
		}
		for _, t := range cfg.VirtualRouters[i].Track {
			at := slices.IndexFunc(all, func(other conf.Tracking) bool { return other.Track == t.Track })
			if at < 0 {
				all = append(all, t)
				continue
			}
			all[at].Fault = all[at].Fault || t.Fault
			if magnitude(t.Weight) > magnitude(all[at].Weight) {
				all[at].Weight = t.Weight
			}
		}
	}
	return all
}

func magnitude(n int) int { return max(n, -n) }

// kindOf is a track's type.
func kindOf(cfg *conf.Config, name string) conf.TrackType {
	for i := range cfg.Tracks {
		if cfg.Tracks[i].Name == name {
			return cfg.Tracks[i].Type
		}
	}
	return ""
}

// tracksNotReady names the tracks without a verdict that a virtual router waits for.
func tracksNotReady(cfg *conf.Config, tracks map[string]TrackState) []string {
	var why []string
	for _, t := range cfg.Tracks {
		waits := slices.ContainsFunc(cfg.VirtualRouters, func(vr conf.VirtualRouter) bool {
			return slices.ContainsFunc(vr.Track, func(by conf.Tracking) bool { return by.Track == t.Name })
		})
		if waits && tracks[t.Name].Status == healthcheck.Unknown {
			why = append(why, "track "+t.Name+" has no verdict yet")
		}
	}
	return why
}

// quorate says whether a virtual server's quorum is up. What is not down counts, whatever
// operators and values want of it: a track is about failures. As long as that depends on
// real servers without a verdict, or with one that is only assumed, the status stays what it
// was.
func quorate(vs *conf.VirtualServer, f Facts, was TrackState) TrackState {
	up, waiting := 0, 0
	for i := range vs.RealServers {
		rs := &vs.RealServers[i]
		switch status := f.status(rs); {
		case status == healthcheck.Up:
			up++
		case status == healthcheck.Unknown, !f.fails(rs):
			waiting++
		}
	}
	quorum := vs.Quorum
	switch was.Status {
	case healthcheck.Up:
		quorum -= vs.QuorumHysteresis
	case healthcheck.Down:
		quorum += vs.QuorumHysteresis
	}
	quorum = max(quorum, 1)
	switch {
	case up >= quorum:
		return TrackState{Status: healthcheck.Up}
	case up+waiting >= quorum:
		return was
	}
	return TrackState{Status: healthcheck.Down, Cause: fmt.Sprintf("%d of %d real servers are up, want %d", up, len(vs.RealServers), quorum)}
}

// trackTargets are the tracks that have to be asked, as the Monitor takes them.
func trackTargets(cfg *conf.Config) map[healthcheck.Target]healthcheck.Spec {
	targets := make(map[healthcheck.Target]healthcheck.Spec)
	for _, t := range cfg.Tracks {
		if isCheck(t.Type) {
			targets[healthcheck.Target{Check: t.Name}] = t.Spec
		}
	}
	return targets
}

// isCheck tells whether tracks of a type are checks. The director knows the others itself.
func isCheck(kind conf.TrackType) bool {
	return kind != conf.TrackInterface && kind != conf.TrackVirtualServer
}

// carriedTracks are the states that are still those of the tracks of a new configuration.
// A check that has been exchanged for another keeps its status until the new one's
// verdict, as the Monitor does.
func carriedTracks(before, after *conf.Config, states map[string]TrackState) map[string]TrackState {
	kept := make(map[string]TrackState, len(after.Tracks))
	for _, t := range after.Tracks {
		i := slices.IndexFunc(before.Tracks, func(old conf.Track) bool { return old.Name == t.Name })
		if i < 0 {
			continue
		}
		old := before.Tracks[i]
		if isCheck(old.Type) && isCheck(t.Type) || old == t {
			kept[t.Name] = states[t.Name]
		}
	}
	return kept
}
