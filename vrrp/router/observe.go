package router

import (
	"maps"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// published is what readers see of a virtual router.
type published struct {
	snap      vrrp.Snapshot
	conn      Conn              // counts its own discards
	discarded map[string]uint64 // the others
}

// publish hands readers a new snapshot.
func (r *router) publish() {
	p := &published{snap: r.vr.Snapshot(), conn: r.socket.conn, discarded: r.discarded}
	p.snap.Counters = r.counters
	p.snap.Mismatch = r.mismatch
	p.snap.Unguarded = r.unguarded
	p.snap.AddressError = r.addrError
	r.pub.Store(p)
}

// snapshot may be called from any goroutine.
func (r *router) snapshot() vrrp.Snapshot {
	p := r.pub.Load()
	s := p.snap
	s.Counters.Discarded = make(map[string]uint64)
	maps.Copy(s.Counters.Discarded, p.discarded)
	if p.conn != nil {
		for reason, n := range p.conn.Discarded() {
			s.Counters.Discarded[reason] += n
		}
	}
	return s
}

// notes remember what was logged, so that a failure that lasts is one line.
type notes struct {
	failed map[string]string    // the last error, by operation
	warned map[string]time.Time // when, by token
}

// note logs the outcome of an operation of ours when it differs from the last one.
func (r *router) note(op string, err error) {
	last, failing := r.notes.failed[op]
	switch {
	case err == nil && failing:
		delete(r.notes.failed, op)
		r.log.Info("operation works again", "op", op)
	case err != nil && (!failing || last != err.Error()):
		if r.notes.failed == nil {
			r.notes.failed = make(map[string]string)
		}
		r.notes.failed[op] = err.Error()
		r.log.Error("operation failed", "op", op, "err", err)
	}
}

// warn logs something that others cause, at most once a minute for each token,
// because they could cause it with every packet.
func (r *router) warn(token, msg string, err error) {
	now := time.Now()
	if last, ok := r.notes.warned[token]; ok && now.Sub(last) < time.Minute {
		return
	}
	if r.notes.warned == nil {
		r.notes.warned = make(map[string]time.Time)
	}
	r.notes.warned[token] = now
	r.log.Warn(msg, "reason", token, "err", err)
}

// discard counts an advertisement that the virtual router does not take.
func (r *router) discard(err error) {
	reason := vrrp.DiscardReason(err)
	r.addDiscarded(reason, 1)
	r.warn(reason, "advertisement discarded", err)
}

func (r *router) addDiscarded(reason string, n uint64) {
	d := maps.Clone(r.discarded)
	if d == nil {
		d = make(map[string]uint64)
	}
	d[reason] += n
	r.discarded = d
}

// compare notes what an accepted advertisement has otherwise than we have.
func (r *router) compare(rx Received) {
	err := r.params.Mismatch(rx.From, rx.Advert)
	if err == nil {
		r.mismatch = ""
		return
	}
	r.mismatch = err.Error()
	r.warn("mismatch", "the other router is configured otherwise", err)
}
