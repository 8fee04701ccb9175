package vrrp

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// When a [Witness] asks.
const (
	// witnessSoon is how long after a change of Master the first round begins: the
	// hand-over is then done, and a client that lost its way has not given up yet.
	witnessSoon = time.Second
	// witnessAgain is the pause before the round that has to confirm a verdict,
	// witnessWrong the one while something is wrong, witnessSteady the one otherwise.
	witnessAgain  = 500 * time.Millisecond
	witnessWrong  = 2 * time.Second
	witnessSteady = 5 * time.Second
)

// Witness decides when to ask who has the addresses of one virtual router, and which
// verdict to believe. Two rounds in turn have to agree before a verdict changes: an
// answer during a hand-over, or one that got lost, is no fault. The first good verdict
// after a change of Master is believed at once.
//
// It is not safe for concurrent use, and keeps no more than its addresses.
type Witness struct {
	offset    time.Duration // of this witness's rounds among those of others
	addrs     map[netip.Addr]witnessed
	active    bool
	changedAt time.Time
	due       time.Time
	round     uint64
	asking    bool
	confirmed bool // since changedAt
}

// witnessed is one address.
type witnessed struct {
	said  Finding
	since time.Time // of said's verdict
	seen  Finding   // in the last round, and not said
}

// VerdictChange is a change of what is said about an address.
type VerdictChange struct {
	Addr     netip.Addr
	From, To Finding
}

// WitnessNews is what a round has brought.
type WitnessNews struct {
	Changes []VerdictChange
	// Confirmed says that this is the first round since a change of Master in which
	// the new one was seen to have every address, and After how long that took.
	Confirmed bool
	After     time.Duration
	// Disputed are the addresses that two directors have by what is said now, also
	// without a change.
	Disputed []netip.Addr
}

// WitnessedAddr is what is said about one address.
type WitnessedAddr struct {
	Addr    netip.Addr
	Finding Finding
	Since   time.Time // zero: never asked
}

// NewWitness returns a Witness of the addresses, which waits for Changed. Its regular
// rounds come at the offset in each period, so that many witnesses do not ask at the
// same moment.
func NewWitness(addrs []netip.Addr, offset time.Duration) *Witness {
	w := &Witness{offset: offset % witnessSteady}
	w.SetAddresses(addrs)
	return w
}

// SetAddresses makes addrs what is asked for. What is said of those that stay, stays.
func (w *Witness) SetAddresses(addrs []netip.Addr) {
	was := w.addrs
	w.addrs = make(map[netip.Addr]witnessed, len(addrs))
	for _, a := range addrs {
		s, ok := was[a]
		if !ok {
			s = witnessed{said: Finding{Verdict: VerdictUnknown}}
		}
		w.addrs[a] = s
	}
}

// Addresses are what is asked for, in order.
func (w *Witness) Addresses() []netip.Addr {
	return slices.SortedFunc(maps.Keys(w.addrs), netip.Addr.Compare)
}

// Changed tells that another router is Master, or that this one now takes part. A round
// that is under way does not count.
func (w *Witness) Changed(now time.Time) {
	w.active, w.asking, w.confirmed = true, false, false
	w.changedAt, w.due = now, now.Add(witnessSoon)
	for a, s := range w.addrs {
		s.seen = Finding{}
		w.addrs[a] = s
	}
}

// Stop tells that this router does not take part. Nothing is known then.
func (w *Witness) Stop() {
	w.active, w.asking = false, false
	for a := range w.addrs {
		w.addrs[a] = witnessed{said: Finding{Verdict: VerdictUnknown}}
	}
}

// Deadline returns when the next round is due, if one is.
func (w *Witness) Deadline() (t time.Time, armed bool) { return w.due, w.active && !w.asking }

// Begin begins a round and returns its number.
func (w *Witness) Begin() uint64 {
	w.round++
	w.asking = true
	return w.round
}

// Failed tells that nobody could be asked.
func (w *Witness) Failed(now time.Time, round uint64) {
	if w.counts(round) {
		w.asking = false
		w.due = w.regular(now)
	}
}

// Done takes the findings of a round. Those of a round that Changed or Stop overtook
// count for nothing, and so do addresses that are asked for no more.
func (w *Witness) Done(now time.Time, round uint64, found map[netip.Addr]Finding) WitnessNews {
	if !w.counts(round) {
		return WitnessNews{}
	}
	w.asking = false
	var news WitnessNews
	pending, wrong, good := false, false, true
	for _, a := range w.Addresses() {
		f, ok := found[a]
		if !ok {
			continue
		}
		s := w.addrs[a]
		first := s.since.IsZero() && !f.Verdict.Wrong()
		switch {
		case f.Equal(s.said) || f.Verdict == VerdictOwnerOK && s.said.Verdict == VerdictOwnerOK:
			s.said, s.seen = f, Finding{} // the new Master, if there is one, is not news
		case first || f.Equal(s.seen):
			news.Changes = append(news.Changes, VerdictChange{Addr: a, From: s.said, To: f})
			if f.Verdict != s.said.Verdict || s.since.IsZero() {
				s.since = now
			}
			s.said, s.seen = f, Finding{}
		default:
			s.seen, pending = f, true
		}
		w.addrs[a] = s
		wrong = wrong || s.said.Verdict.Wrong()
		good = good && f.Verdict == VerdictOwnerOK
		if s.said.Verdict == VerdictTwoOwners {
			news.Disputed = append(news.Disputed, a)
		}
	}
	if good && !w.confirmed && len(found) > 0 {
		w.confirmed, news.Confirmed, news.After = true, true, now.Sub(w.changedAt)
	}
	switch {
	case pending:
		w.due = now.Add(witnessAgain)
	case wrong:
		w.due = now.Add(witnessWrong)
	default:
		w.due = w.regular(now)
	}
	return news
}

// Said is what is said about each address, in order.
func (w *Witness) Said() []WitnessedAddr {
	list := make([]WitnessedAddr, 0, len(w.addrs))
	for _, a := range w.Addresses() {
		list = append(list, WitnessedAddr{a, w.addrs[a].said, w.addrs[a].since})
	}
	return list
}

func (w *Witness) counts(round uint64) bool { return w.active && w.asking && round == w.round }

// regular is the witness's place in the next period that is at least half a period
// away.
func (w *Witness) regular(now time.Time) time.Time {
	earliest := now.Add(witnessSteady / 2)
	into := time.Duration(earliest.UnixNano()-int64(w.offset)) % witnessSteady
	if into == 0 {
		return earliest
	}
	return earliest.Add(witnessSteady - into)
}
