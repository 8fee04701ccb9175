package peers

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Member is what is known of one configured peer.
type Member struct {
	Name string
	Addr netip.Addr // configured
	// Alive says that the peer answers. Since is when that last changed; before
	// the first sight of a peer, when this process began to look for it.
	Alive bool
	Since time.Time
	// LastSeen is when the peer last answered a probe or told something, and RTT
	// how long the last answered probe took. Zero: never.
	LastSeen time.Time
	RTT      time.Duration
	// Meta is what the peer last told about itself; zero if it never did, or in a
	// form that this program does not understand.
	Meta Meta
	// Why says why a peer that is not alive could not be reached, in words for the
	// operator: "connection refused", "it has another cluster key".
	Why string
}

// EventKind is what happened to a peer: a fixed token for logs and events.
type EventKind string

// The kinds of events.
const (
	Joined  EventKind = "peer-joined"  // it is there, for the first time or again
	Left    EventKind = "peer-left"    // it said goodbye
	Lost    EventKind = "peer-lost"    // it stopped answering
	Changed EventKind = "peer-changed" // its metadata or its configuration text is new
)

// Event is a change of one peer, with what is known of it afterwards.
type Event struct {
	Kind   EventKind
	At     time.Time
	Member Member
}

// timing is when a peer is called. Every value is spread by a quarter up and down, so
// that two directors do not call each other at the same instant for ever.
const (
	rejoinInterval = 2 * time.Second        // between attempts to reach a peer that is not there
	fetchDelay     = 200 * time.Millisecond // before a new configuration is fetched: it may be on its way
	fetchMax       = time.Minute            // between attempts to fetch one that does not come
)

// book holds what is known of the peers and decides when one is called. It is a value
// without goroutines: times come in as arguments.
type book struct {
	peers  map[string]*entry
	jitter func(time.Duration) time.Duration
	ours   Fingerprint // of what we share; zero: nothing
}

type entry struct {
	Member
	hasMeta    bool   // Meta is the peer's
	hasConfig  bool   // config is the peer's
	config     string // text last received
	configHash Fingerprint
	told       string    // the cause last reported as news
	calling    bool      // a call is under way
	next       time.Time // earliest next call
	backoff    time.Duration
	shared     string // what it last sent of what is shared
	sending    sending
}

func newBook(now time.Time, peers map[string]netip.Addr, jitter func(time.Duration) time.Duration) *book {
	b := &book{peers: make(map[string]*entry, len(peers)), jitter: jitter}
	for name, addr := range peers {
		b.peers[name] = &entry{Member: Member{Name: name, Addr: addr, Since: now}, next: now}
	}
	return b
}

// heard takes in metadata from a peer that is alive, and says what changed.
func (b *book) heard(now time.Time, name string, meta Meta, ok bool) []Event {
	e := b.peers[name]
	if e == nil {
		return nil
	}
	kind := Changed
	if !e.Alive {
		kind = Joined
		e.Alive, e.Since, e.Why, e.told = true, now, "", ""
	}
	e.LastSeen = now
	if meta.Shared != e.Meta.Shared {
		e.changed(now, b.jitter(fetchDelay))
	}
	e.Meta, e.hasMeta = meta, ok
	e.backoff = 0
	e.next = now.Add(b.jitter(fetchDelay))
	if kind == Joined {
		e.sending = sending{under: e.sending.under, held: e.sending.held} // it may have forgotten what it was sent
	}
	return []Event{{kind, now, e.Member}}
}

// gone takes in that a peer no longer answers, or said goodbye.
func (b *book) gone(now time.Time, name string) []Event {
	e := b.peers[name]
	if e == nil || !e.Alive {
		return nil
	}
	kind := Lost
	if e.Meta.Leaving {
		kind = Left
	}
	e.Alive, e.Since = false, now
	e.next = now.Add(b.jitter(rejoinInterval))
	return []Event{{kind, now, e.Member}}
}

// answered takes in that a peer answered a probe.
func (b *book) answered(now time.Time, name string, rtt time.Duration) {
	if e := b.peers[name]; e != nil {
		e.LastSeen, e.RTT = now, rtt
	}
}

// refreshed takes in metadata that came with the answer to a probe, and says if it is
// new: gossip has not brought it. It makes nobody alive.
func (b *book) refreshed(now time.Time, name string, meta Meta) []Event {
	e := b.peers[name]
	if e == nil || !e.Alive || e.hasMeta && bytes.Equal(e.Meta.appendTo(nil), meta.appendTo(nil)) {
		return nil
	}
	return b.heard(now, name, meta, true)
}

// exchanged takes in the state that a peer sent.
func (b *book) exchanged(now time.Time, x exchange) []Event {
	e := b.peers[x.Name]
	if e == nil {
		return nil
	}
	e.LastSeen = now
	if e.hasConfig && x.Config == e.config {
		return nil
	}
	e.hasConfig, e.config, e.configHash = true, x.Config, FingerprintOf(x.Config)
	return []Event{{Changed, now, e.Member}}
}

// called takes in that a call has ended; why is empty if it reached the peer. It reports
// whether that is news: a cause that is not yet told since the peer was last there, and
// that has come twice in a row, because directors that start together miss each other
// once.
func (b *book) called(now time.Time, name, why string) (news bool) {
	e := b.peers[name]
	if e == nil {
		return false
	}
	e.calling = false
	e.backoff = min(max(2*e.backoff, rejoinInterval), fetchMax)
	if e.Alive {
		e.next = now.Add(b.jitter(e.backoff))
		return false
	}
	e.next = now.Add(b.jitter(rejoinInterval))
	if why != "" && why == e.Why && why != e.told {
		e.told, news = why, true
	}
	e.Why = why
	return news
}

// wanted says whether there is a reason to call a peer: it is not there, or the text of
// its configuration is not.
func (e *entry) wanted() bool {
	if e.calling {
		return false
	}
	return !e.Alive || e.hasMeta && !e.Meta.ConfigTooLong && !e.Meta.Leaving && e.Meta.Config != e.configHash
}

// due returns the peers to call now, and counts them as called.
func (b *book) due(now time.Time) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b.peers)) {
		if e := b.peers[name]; e.wanted() && !e.next.After(now) {
			e.calling = true
			names = append(names, name)
		}
	}
	return names
}

// deadline is when due has something to say next.
func (b *book) deadline() (t time.Time, armed bool) {
	for _, e := range b.peers {
		if e.wanted() && (!armed || e.next.Before(t)) {
			t, armed = e.next, true
		}
	}
	if next, some := b.sendDeadline(); some && (!armed || next.Before(t)) {
		t, armed = next, true
	}
	return t, armed
}

// view is what readers see; it is never written to after it was published.
type view struct {
	members map[string]Member
	configs map[string]string
	shared  map[string]string
}

func (b *book) view() *view {
	v := &view{make(map[string]Member, len(b.peers)), make(map[string]string, len(b.peers)), make(map[string]string, len(b.peers))}
	for name, e := range b.peers {
		v.members[name] = e.Member
		if e.shared != "" {
			v.shared[name] = e.shared
		}
		// An older text than the one that the peer runs would name wrong keys.
		if e.hasMeta && e.Meta.Config == e.configHash {
			v.configs[name] = e.config
		}
	}
	return v
}
