package director

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

const (
	// viewsPause is the least time between two notes with verdicts. With tens of thousands of
	// real servers it is longer: viewsShare times what telling and comparing has taken.
	viewsPause, viewsShare = 200 * time.Millisecond, 20
	// viewsSaying is the least time between what is said of one other director in the log and
	// the journal, which is more and more of it if that one has lost its network.
	viewsSaying = 5 * time.Second
	// viewsDelay is how much later than its verdict a director's note may be here.
	viewsDelay = time.Second
)

// viewing is what this director and the others see of the checked real servers. Each
// checks for itself; what one finds decides nothing at another.
type viewing struct {
	list   []viewed // the places, by name
	digest [16]byte
	fails  map[healthcheck.Target]failing
	own    []healthcheck.Status // as last told, by place
	stale  bool                 // there is more to be told
	at     time.Time            // when it was last told
	pause  time.Duration        // until it is told again
	peers  map[string]heardViews
	differ map[string]map[ServerID]*difference // by director
	agreed map[string]map[ServerID]bool        // by director: disagreements whose end has not been said
	saidAt map[string]time.Time                // by director: when something was said of it
	next   time.Time                           // when time alone changes something; zero: it does not
	shown  map[ServerID][]ViewStatus           // never written to again
}

func newViewing() viewing {
	return viewing{
		fails: make(map[healthcheck.Target]failing), peers: make(map[string]heardViews),
		differ: make(map[string]map[ServerID]*difference), agreed: make(map[string]map[ServerID]bool), saidAt: make(map[string]time.Time),
	}
}

// viewed is a checked real server.
type viewed struct {
	user
	id ServerID
	// settle is how long two directors may take to notice the same.
	settle time.Duration
}

// failing is why and since when a target is down.
type failing struct {
	cause string
	since time.Time
}

// heardViews is a peer's newest note.
type heardViews struct {
	note []byte
	views
	err error
}

// difference is that another director's verdict on a real server is not this one's.
type difference struct {
	mine, theirs healthcheck.Status
	since        time.Time
	settled      bool // it is a disagreement
	said         bool // the log knows
	now          bool // it is so by the newest notes
}

// ViewStatus is another director's verdict on a real server, where it has been another
// than this one's for longer than checks take.
type ViewStatus struct {
	Director string `json:"director"`
	Status   string `json:"status"`
	// Cause and Since are why and since when, by that director's clock, it is down there.
	Cause string    `json:"cause,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// settling is how long after another director this one may notice a change of a real
// server: a run of probes, the last of which takes all its time, and the way of the note.
func (f inForce) settling(rs *conf.RealServer) time.Duration {
	var longest time.Duration
	for t := range targetsOf(rs) {
		s := f.targets[t]
		step := max(s.Interval, s.FastInterval, s.DownInterval, s.Timeout)
		step += step * time.Duration(s.Jitter) / 100
		longest = max(longest, step*time.Duration(max(s.Rise, s.Fall))+s.Timeout)
	}
	return longest + viewsDelay
}

// viewedIn lists a configuration's checked real servers by name, with the digest of what
// two directors must have alike to talk about them by their places.
func viewedIn(f inForce) (list []viewed, digest [16]byte) {
	for i := range f.cfg.VirtualServers {
		vs := &f.cfg.VirtualServers[i]
		for j := range vs.RealServers {
			rs := &vs.RealServers[j]
			if len(rs.Checks) == 0 {
				continue
			}
			list = append(list, viewed{user{vs, rs}, ServerID{vs.Name, rs.Name}, f.settling(rs)})
		}
	}
	slices.SortFunc(list, func(a, b viewed) int {
		return cmp.Or(cmp.Compare(a.id.VirtualServer, b.id.VirtualServer), cmp.Compare(a.id.RealServer, b.id.RealServer))
	})
	sum := sha256.New()
	for _, v := range list {
		fmt.Fprintf(sum, "%q %q %s %q\n", v.vs.Name, v.rs.Name, v.rs.Address, v.rs.Checks)
	}
	return list, [16]byte(sum.Sum(nil))
}

// configureViews takes in the configuration.
func (d *Director) configureViews() {
	v := &d.views
	maps.DeleteFunc(v.fails, func(t healthcheck.Target, _ failing) bool { return len(d.force.users[t]) == 0 })
	if !d.tellsNotes() {
		fails := v.fails
		*v = newViewing()
		v.fails = fails
		return
	}
	v.list, v.digest = viewedIn(d.force)
	v.own, v.stale, v.at = nil, true, time.Time{}
	there := make(map[ServerID]bool, len(v.list))
	for _, s := range v.list {
		there[s.id] = true
	}
	for peer, differ := range v.differ {
		maps.DeleteFunc(differ, func(id ServerID, _ *difference) bool { return !there[id] })
		maps.DeleteFunc(v.agreed[peer], func(id ServerID, _ bool) bool { return !there[id] })
		if _, known := d.force.cfg.Director(peer); !known {
			delete(v.differ, peer)
			delete(v.agreed, peer)
			delete(v.saidAt, peer)
		}
	}
	d.tellViews(time.Now())
}

// viewChanged takes in what a check has told.
func (d *Director) viewChanged(e healthcheck.Event) {
	d.views.stale = d.tellsNotes()
	delete(d.views.fails, e.Target)
	if e.Status == healthcheck.Down {
		at := e.At
		if at.IsZero() {
			at = time.Now()
		}
		d.views.fails[e.Target] = failing{errText(e.Err), at}
	}
}

// viewsDue is when there is something to tell or to say, zero: never.
func (d *Director) viewsDue() time.Time {
	next := d.views.next
	if at := d.views.at.Add(d.views.pause); d.views.stale && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next
}

// lookAtViews does what is due.
func (d *Director) lookAtViews(now time.Time) {
	if next := d.viewsDue(); next.IsZero() || now.Before(next) {
		return
	}
	if d.views.stale && !now.Before(d.views.at.Add(d.views.pause)) {
		d.tellViews(now)
		return
	}
	d.compareViews(now)
}

// tellViews tells the other directors what this one sees, and compares it.
func (d *Director) tellViews(now time.Time) {
	v, began := &d.views, time.Now()
	v.stale, v.at = false, now
	tell := views{list: v.digest, status: make([]healthcheck.Status, len(v.list))}
	for i, s := range v.list {
		tell.status[i] = d.facts.verdict(s.rs)
		if tell.status[i] == healthcheck.Down {
			if cause, since := v.why(d.facts, s.rs); !since.IsZero() {
				tell.down = append(tell.down, downView{i, cause, since})
			}
		}
	}
	v.own = tell.status
	d.setNote(noteViews, tell.encode())
	d.compareViews(now)
	v.pause = max(viewsPause, viewsShare*time.Since(began))
}

// verdict is what this director's checks of a real server have found. What is assumed
// until then is none.
func (f Facts) verdict(rs *conf.RealServer) healthcheck.Status {
	verdict := healthcheck.Up
	for t := range targetsOf(rs) {
		switch {
		case f.waits(t):
			verdict = healthcheck.Unknown
		case f.Health[t] == healthcheck.Down:
			return healthcheck.Down
		}
	}
	return verdict
}

// why is why a real server is down, and since when.
func (v *viewing) why(f Facts, rs *conf.RealServer) (cause string, since time.Time) {
	for t := range targetsOf(rs) {
		fails, known := v.fails[t]
		if f.Health[t] != healthcheck.Down || !known {
			continue
		}
		if cause == "" && fails.cause != "" {
			cause = named(rs, t.Check, fails.cause)
		}
		if since.IsZero() || fails.since.Before(since) {
			since = fails.since
		}
	}
	return cause, since
}

// hearViews takes in a peer's note, nil: none. The error is the note's for as long as it
// is the newest.
func (d *Director) hearViews(peer string, note []byte) error {
	heard, before := d.views.peers[peer]
	switch {
	case note == nil:
		delete(d.views.peers, peer)
		return nil
	case before && bytes.Equal(heard.note, note):
		return heard.err
	}
	heard = heardViews{note: note}
	heard.views, heard.err = parseViews(note)
	d.views.peers[peer] = heard
	return heard.err
}

// The states of another director's verdicts.
const (
	ViewsCompared   = "compared"
	ViewsOther      = "other-real-servers" // it checks others than this one
	ViewsUnreadable = "unreadable"         // its program tells in a way that this one does not know
)

// comparable tells whether a peer's verdicts can be compared with this director's.
func (v *viewing) comparable(heard heardViews) string {
	switch {
	case heard.err != nil:
		return ViewsUnreadable
	case heard.list != v.digest:
		return ViewsOther
	}
	return ViewsCompared
}

// states says of each other director that has told something what becomes of it.
func (v *viewing) states() map[string]string {
	states := make(map[string]string, len(v.peers))
	for peer, heard := range v.peers {
		states[peer] = v.comparable(heard)
	}
	return states
}

// compareViews finds where the newest verdicts of another director are others than this
// one's, and says what has been so for longer than checks take. What was said stays said
// until both can be compared again and say the same.
func (d *Director) compareViews(now time.Time) {
	if !d.tellsNotes() {
		return
	}
	v := &d.views
	v.next = time.Time{}
	dead := d.deadPeers()
	for peer, differ := range v.differ {
		if heard, there := v.peers[peer]; !there || dead[peer] || v.comparable(heard) != ViewsCompared {
			v.forget(differ)
		}
	}
	for _, peer := range slices.Sorted(maps.Keys(v.peers)) {
		if heard := v.peers[peer]; !dead[peer] && v.comparable(heard) == ViewsCompared {
			d.comparePeer(now, peer, heard.views)
		}
	}
	d.showViews()
}

// forget has nothing compared with a director.
func (*viewing) forget(differ map[ServerID]*difference) {
	for id, diff := range differ {
		if diff.now = false; !diff.said {
			delete(differ, id)
		}
	}
}

// deadPeers are the directors that do not answer on the membership: what they have told
// is old, whatever the streams know.
func (d *Director) deadPeers() map[string]bool {
	dead := make(map[string]bool)
	peers, _ := d.peers.snapshots()
	for _, p := range peers {
		if !p.Alive {
			dead[p.Name] = true
		}
	}
	return dead
}

// comparePeer compares this director's verdicts with another's.
func (d *Director) comparePeer(now time.Time, peer string, theirs views) {
	v := &d.views
	if v.differ[peer] == nil {
		v.differ[peer], v.agreed[peer] = make(map[ServerID]*difference), make(map[ServerID]bool)
	}
	differ, agreed := v.differ[peer], v.agreed[peer]
	var begun, ended []int // places
	for i := range min(len(v.own), len(theirs.status)) {
		id := v.list[i].id
		if mine, their := v.own[i], theirs.status[i]; mine != their {
			if v.differs(now, v.list[i], differ, agreed, mine, their) {
				begun = append(begun, i)
			}
			continue
		}
		if len(differ) > 0 {
			if diff := differ[id]; diff != nil && diff.said {
				agreed[id] = true
			}
			delete(differ, id)
		}
		if len(agreed) > 0 && agreed[id] {
			ended = append(ended, i)
		}
	}
	switch due := v.saidAt[peer].Add(viewsSaying); {
	case len(begun)+len(ended) == 0:
	case now.Before(due):
		v.wake(due)
	default:
		v.saidAt[peer] = now
		clear(agreed)
		d.sayDisagreements(peer, begun, theirs)
		d.sayAgreements(peer, ended)
	}
}

// differs takes in that two verdicts differ, and tells whether that is to be said.
func (v *viewing) differs(now time.Time, s viewed, differ map[ServerID]*difference, agreed map[ServerID]bool, mine, theirs healthcheck.Status) bool {
	diff := differ[s.id]
	switch {
	case agreed[s.id]: // for a moment, and that has not been said
		delete(agreed, s.id)
		diff = &difference{since: now, settled: true, said: true}
	case diff == nil || !diff.settled && (diff.mine != mine || diff.theirs != theirs):
		diff = &difference{since: now}
	}
	differ[s.id] = diff
	diff.mine, diff.theirs, diff.now = mine, theirs, true
	if due := diff.since.Add(s.settle); !diff.settled && due.After(now) {
		v.wake(due)
		return false
	}
	diff.settled = true
	return !diff.said
}

// wake has the verdicts compared again at a time, at the latest.
func (v *viewing) wake(at time.Time) {
	if v.next.IsZero() || at.Before(v.next) {
		v.next = at
	}
}

// showViews makes what readers see of disagreements.
func (d *Director) showViews() {
	v := &d.views
	shown := make(map[ServerID][]ViewStatus)
	for _, peer := range slices.Sorted(maps.Keys(v.differ)) {
		for id, diff := range v.differ[peer] {
			if diff.settled && diff.now {
				shown[id] = append(shown[id], ViewStatus{Director: peer, Status: diff.theirs.String()})
			}
		}
	}
	for i, s := range v.list {
		for n := range shown[s.id] {
			view := &shown[s.id][n]
			view.Cause, view.Since = v.peers[view.Director].why(i)
		}
	}
	v.shown = shown
}

// why is why and since when the real server at a place is down, as far as it was told.
func (v views) why(place int) (cause string, since time.Time) {
	i, down := slices.BinarySearchFunc(v.down, place, func(d downView, place int) int { return cmp.Compare(d.place, place) })
	if !down {
		return "", time.Time{}
	}
	return v.down[i].cause, v.down[i].since
}
