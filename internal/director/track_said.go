package director

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// trackEffects says what a change has done to the virtual routers, in the order of the
// configuration: "web priority 150 to 90", "api must not take part".
func trackEffects(cfg *conf.Config, before, after map[string]Fitness) []string {
	var effects []string
	for _, vr := range cfg.VirtualRouters {
		was, is := before[vr.Name], after[vr.Name]
		if was.Priority != is.Priority {
			effects = append(effects, fmt.Sprintf("%s priority %d to %d", vr.Name, was.Priority, is.Priority))
		}
		switch {
		case was.Fault() == "" && is.Fault() != "":
			effects = append(effects, vr.Name+" must not take part")
		case was.Fault() != "" && is.Fault() == "":
			effects = append(effects, vr.Name+" may take part again")
		}
	}
	return effects
}

// logTrack says a change of a track once, with what it does to the virtual routers. A
// first verdict that all is well and changes nothing is not worth a line.
func (d *Director) logTrack(at time.Time, name string, was, is TrackState, effects []string) {
	if was.Status == healthcheck.Unknown && is.Status == healthcheck.Up && len(effects) == 0 {
		return
	}
	kind := kindOf(d.force.cfg, name)
	attrs := []any{"track", name, "type", string(kind), "from", was.Status, "to", is.Status}
	ev := Event{At: at, Kind: EventTrackChanged, Object: name, From: was.Status.String(), To: is.Status.String()}
	if kind == conf.TrackFile && is.Status == healthcheck.Up {
		attrs = append(attrs, "value", is.Value)
		ev.Attrs = map[string]string{"value": fmt.Sprint(is.Value)}
	}
	if is.Cause != "" {
		attrs = append(attrs, "err", is.Cause)
	}
	ev.Text = is.describe(kind)
	if len(effects) > 0 {
		attrs = append(attrs, "effect", listed(effects))
		ev.Text += "; " + strings.Join(effects, ", ")
	}
	level := slog.LevelInfo
	if is.Status == healthcheck.Down {
		level = slog.LevelWarn
	}
	d.log(level, "track changed", attrs...)
	d.record(ev)
}

// TrackStatus is one track.
type TrackStatus struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Status is the verdict: "up", "down", "unknown".
	Status string `json:"status"`
	// Value is the number in a file that is up.
	Value *int      `json:"value,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Cause is why it is down, or what the last probe of one that is not met.
	Cause string `json:"cause,omitempty"`
}

// TrackEffectStatus is what a track does to a virtual router now.
type TrackEffectStatus struct {
	Track  string `json:"track"`
	Weight int    `json:"weight"`
	Fault  bool   `json:"fault,omitempty"`
	Why    string `json:"why"`
}

// trackStatus lists the tracks.
func (d *Director) trackStatus(p *published) []TrackStatus {
	list := make([]TrackStatus, 0, len(p.force.cfg.Tracks))
	probes := d.o.Tracks.Snapshots()
	for _, t := range p.force.cfg.Tracks {
		is := p.facts().Tracks[t.Name]
		s := TrackStatus{Name: t.Name, Type: string(t.Type), Status: is.Status.String(), Since: is.Since, Cause: is.Cause}
		if t.Type == conf.TrackFile && is.Status == healthcheck.Up {
			s.Value = &is.Value
		}
		// The newest cause, also of one that is on its way down or could not be asked.
		if probe := probes[healthcheck.Target{Check: t.Name}]; isCheck(t.Type) && probe.Err != nil {
			s.Cause = errText(probe.Err)
		}
		list = append(list, s)
	}
	return list
}

// status is what tracks do to a virtual router.
func (f Fitness) status() []TrackEffectStatus {
	list := make([]TrackEffectStatus, 0, len(f.Effects))
	for _, e := range f.Effects {
		list = append(list, TrackEffectStatus(e))
	}
	return list
}
