package relay

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// A difference that stays although all was told is answered by a full resync, so often and
// not more until the tables were the same.
const (
	differsAsks  = 3
	differsEvery = time.Minute
	// differsAfter is for how many seconds both must have been told everything until a
	// difference counts: the digests of a moment before are still on their way.
	differsAfter = 3
)

// patience is for how long what peers tell waits for the kernel's list. They give up a stream
// on which nothing is acknowledged for longer (syncd.LinkOptions.StallAfter).
const patience = 20 * time.Second

// everySecond forgets what has expired, tells peers what there is, and compares.
func (r *Relay) everySecond(now time.Time) {
	r.x.Expire(now)
	if !r.seeded && now.Sub(r.began) >= patience {
		r.seeded = true
		r.o.Logger.Warn("the kernel's connections were not read yet, going on with what peers tell", "after", patience)
	}
	changed := r.x.Changed()
	r.book.Set(changed)
	for i, page := range r.book.Notes() {
		r.o.Streams.TellAll(syncd.SetNote{Kind: uint8(syncd.NoteDigests + i), Payload: page})
	}
	for name, p := range r.peers {
		p.same.Mine(now, changed)
		p.comparison = p.same.Compare(now)
		if p.calm++; p.send != syncd.LinkInSync || !r.complete(p) {
			p.calm = 0
		}
		r.mend(now, name, p)
	}
	r.kernel.everySecond(now)
	r.publish(now)
}

// mend asks for a full resync from a peer that has other connections although neither has
// anything more to tell.
func (r *Relay) mend(now time.Time, name string, p *peer) {
	if p.comparison.Same() {
		p.asked = 0
	}
	if r.stateOf(p) != syncd.RelayDiffers || p.asked >= differsAsks || now.Before(p.askAt) {
		return
	}
	p.asked++
	p.askAt = now.Add(differsEvery)
	r.o.Logger.Warn("peer has other connections although it was told all, asking it for its own", "peer", name, "virtual_servers", listed(p.comparison.Differs))
	r.o.Streams.Tell(name, syncd.WantResync{})
}

// listed names the first few virtual servers that differ.
func listed(all []syncd.ServerDifference) string {
	const most = 3
	var b strings.Builder
	for i, d := range all[:min(len(all), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%d here, %d there)", d.VirtualServer, d.Here.Conns+d.Here.Templates, d.There.Conns+d.There.Templates)
	}
	if len(all) > most {
		fmt.Fprintf(&b, " and %d more", len(all)-most)
	}
	return b.String()
}

// complete says that this director's kernel was told all that a peer knew.
func (r *Relay) complete(p *peer) bool {
	return p.receive == syncd.LinkInSync && r.kernel.injection.upToDate()
}

func (r *Relay) stateOf(p *peer) syncd.RelayState {
	switch {
	case p.send == syncd.LinkConnecting || p.receive == syncd.LinkConnecting:
		return syncd.RelayConnecting
	case p.send != syncd.LinkInSync || !r.complete(p) || !p.comparison.Known:
		return syncd.RelayResyncing
	case len(p.comparison.Differs) > 0 && p.calm < differsAfter:
		return syncd.RelayResyncing
	case len(p.comparison.Differs) > 0:
		return syncd.RelayDiffers
	}
	return syncd.RelayInSync
}

// why says what is missing.
func (r *Relay) why(p *peer) string {
	switch state := r.stateOf(p); {
	case state == syncd.RelayInSync:
		return ""
	case state == syncd.RelayConnecting:
		return "no connection" // Status asks the streams why
	case state == syncd.RelayDiffers:
		return "different connections of " + listed(p.comparison.Differs)
	case p.receive != syncd.LinkInSync:
		return "being told its connections"
	case !r.kernel.injection.upToDate():
		return r.kernel.lacks()
	case p.send != syncd.LinkInSync:
		return "telling it the connections"
	}
	return "waiting for its count"
}

// lacks says why the kernel does not know what peers have told.
func (k *kernelSide) lacks() string {
	switch i := &k.injection; {
	case i.err != "":
		return i.err
	case !k.r.now.Ready:
		return "waiting for the IPVS table"
	case k.r.now.Interface == 0 || !k.r.now.Inject:
		return "the kernel's backup sync daemon does not run"
	}
	return "telling the kernel"
}

// publish shows readers how things are, and wakes whoever waits for a change of it.
func (r *Relay) publish(now time.Time) {
	k := r.kernel
	s := &syncd.RelayStatus{Limit: r.o.Limit, Capture: k.hearing.counts, Inject: k.injection.counts, Tick: k.ticking.err, List: k.listing.err}
	s.Table, s.Exchange = r.x.Counts()
	s.Capture.Running, s.Capture.Err = k.hearing.worker != nil, k.hearing.err
	if k.hearing.worker != nil && k.hearing.heard != nil {
		s.Capture.Heard = k.hearing.heard()
	}
	if s.Capture.Err == "" {
		s.Capture.Err = k.hearing.quiet.err
	}
	s.Inject.Running, s.Inject.Err, s.Inject.Behind = k.injection.worker != nil, k.injection.err, !k.injection.upToDate()
	complete, entered := make(map[string]bool, len(r.peers)), false
	for _, name := range slices.Sorted(maps.Keys(r.peers)) {
		p := r.peers[name]
		entered = r.enter(now, name, p) || entered
		complete[name] = r.complete(p)
		s.Peers = append(s.Peers, syncd.RelayPeer{
			Name: name, State: p.state, Since: p.since, Why: r.why(p), Complete: complete[name], Comparison: p.comparison,
		})
	}
	r.shown.Store(s)
	// Readers are woken when there is something to read.
	if was := r.brief.Swap(&complete); entered || was == nil || !maps.Equal(*was, complete) {
		r.wake()
	}
}

// enter logs a new state. It tells whether it is one.
func (r *Relay) enter(now time.Time, name string, p *peer) bool {
	state := r.stateOf(p)
	if state == p.state {
		return false
	}
	switch {
	case state == syncd.RelayInSync:
		r.o.Logger.Info("in sync with peer", "peer", name, "connections", p.comparison.Here.Conns+p.comparison.Here.Templates, "after", now.Sub(p.since).Round(time.Millisecond))
	case p.state == syncd.RelayInSync:
		r.o.Logger.Warn("no longer in sync with peer", "peer", name, "state", string(state), "reason", r.why(p))
	}
	p.state, p.since = state, now
	return true
}

// Status returns what is known. Its maps and slices are the caller's.
func (r *Relay) Status() syncd.RelayStatus {
	s := *r.shown.Load()
	s.Refused = r.o.Streams.Refused()
	s.Peers = slices.Clone(s.Peers)
	streams := r.o.Streams.Status()
	for i := range s.Peers {
		p := &s.Peers[i]
		p.Stream = streams[p.Name]
		if p.State == syncd.RelayConnecting {
			p.Why = notConnected(p.Stream)
		}
	}
	return s
}

// notConnected says why there is no connection to a peer.
func notConnected(s syncd.StreamStatus) string {
	var why []string
	for _, p := range s.Paths {
		if p.Err != "" && !slices.Contains(why, p.Err) {
			why = append(why, p.Err)
		}
	}
	if len(why) == 0 {
		return "waiting for a connection"
	}
	return strings.Join(why, "; ")
}
