package director

import (
	"maps"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// linkWatch is the watch over the interfaces that are tracks.
type linkWatch struct {
	names []string
	last  map[string]Link        // the newest
	news  <-chan map[string]Link // nil: none
	stop  func()
}

// configureTracks has what the configuration tracks looked at, and nothing else.
func (d *Director) configureTracks() {
	d.o.Tracks.Apply(trackTargets(d.force.cfg))
	var names []string
	for _, t := range d.force.cfg.Tracks {
		if t.Type == conf.TrackInterface {
			names = append(names, t.Interface)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if slices.Equal(names, d.links.names) {
		return
	}
	d.unwatchLinks()
	if len(names) > 0 {
		d.links.names = names
		d.links.news, d.links.stop = d.o.Links.Watch(names...)
	}
}

func (d *Director) unwatchLinks() {
	if d.links.stop != nil {
		d.links.stop()
	}
	d.links = linkWatch{}
}

// knownTracks gives tracks that a configuration has brought what is known already.
func (d *Director) knownTracks() {
	d.linksChanged(d.links.last)
	d.virtualServerTracks(nil)
}

// withKnownTracks are the facts after knownTracks with a configuration.
func withKnownTracks(next inForce, f Facts, links map[string]Link) Facts {
	f.Tracks = maps.Clone(f.Tracks)
	maps.Copy(f.Tracks, linkTracks(next.cfg, links))
	maps.Copy(f.Tracks, quorumTracks(next.tracked, f))
	return f
}

// trackEvent takes in the verdict on a track.
func (d *Director) trackEvent(e healthcheck.Event) {
	if kind := kindOf(d.force.cfg, e.Target.Check); kind == "" || !isCheck(kind) {
		return // a reload has taken it away
	}
	s := TrackState{Status: e.Status, Value: e.Value.N}
	if e.Status == healthcheck.Down {
		s.Cause = errText(e.Err)
	}
	d.learnTracks(e.At, map[string]TrackState{e.Target.Check: s})
}

// linksChanged takes in the state of the interfaces that are tracks.
func (d *Director) linksChanged(links map[string]Link) {
	d.links.last = links
	d.learnTracks(time.Now(), linkTracks(d.force.cfg, links))
}

// linkTracks are the states of the tracks that are interfaces of which anything is known.
func linkTracks(cfg *conf.Config, links map[string]Link) map[string]TrackState {
	states := make(map[string]TrackState)
	for _, t := range cfg.Tracks {
		link, ok := links[t.Interface]
		switch {
		case t.Type != conf.TrackInterface || !ok:
		case link.Up:
			states[t.Name] = TrackState{Status: healthcheck.Up}
		default:
			states[t.Name] = TrackState{Status: healthcheck.Down, Cause: link.Why}
		}
	}
	return states
}

// virtualServerTracks works out the tracks that are virtual servers: these, nil: all.
func (d *Director) virtualServerTracks(touched map[*conf.VirtualServer]bool) {
	tracked := d.force.tracked
	if touched != nil {
		tracked = make(map[*conf.VirtualServer][]string)
		for vs := range touched {
			if names := d.force.tracked[vs]; len(names) > 0 {
				tracked[vs] = names
			}
		}
	}
	d.learnTracks(time.Now(), quorumTracks(tracked, d.facts))
}

// quorumTracks are the states of the tracks that are these virtual servers.
func quorumTracks(tracked map[*conf.VirtualServer][]string, f Facts) map[string]TrackState {
	states := make(map[string]TrackState)
	for vs, names := range tracked {
		for _, name := range names {
			states[name] = quorate(vs, f, f.Tracks[name])
		}
	}
	return states
}

// learnTracks enters what has changed about tracks into the facts, says it, and tells
// the virtual routers.
func (d *Director) learnTracks(at time.Time, news map[string]TrackState) {
	changed := false
	for _, name := range slices.Sorted(maps.Keys(news)) {
		is, was := news[name], d.facts.Tracks[name]
		if is.Status == was.Status && is.Value == was.Value {
			continue
		}
		is.Since = was.Since
		if is.Status != was.Status {
			is.Since = at
		}
		before := d.fitness(d.force.cfg)
		d.facts.Tracks[name] = is
		d.logTrack(at, name, was, is, trackEffects(d.force.cfg, before, d.fitness(d.force.cfg)))
		changed = true
	}
	if !changed {
		return
	}
	if was := d.ready; d.readiness() == was && d.instancesAt == 0 { // else they have been told
		d.applyInstances()
	}
}

// fitness is this director's with a configuration, by virtual router.
func (d *Director) fitness(cfg *conf.Config) map[string]Fitness {
	return fitness(cfg, d.o.Self, d.facts.Tracks)
}

// fitness is that of director self with a configuration, by virtual router.
func fitness(cfg *conf.Config, self string, tracks map[string]TrackState) map[string]Fitness {
	all := make(map[string]Fitness, len(cfg.VirtualRouters))
	for i := range cfg.VirtualRouters {
		vr := &cfg.VirtualRouters[i]
		all[vr.Name] = Fit(cfg, vr, self, tracks)
	}
	return all
}
