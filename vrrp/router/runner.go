package router

import (
	"context"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// retryInterval is how long after a failed attempt the sockets are opened again, or
// the addresses written again.
const retryInterval = time.Second

// lateness is how late a timer may run out before it is counted. On a machine that is
// not overloaded it is well below a millisecond.
const lateness = 10 * time.Millisecond

// maxWaiting bounds the received advertisements that go before a timer, by member.
const maxWaiting = 64

// inboxLength is how many advertisements wait for a group, by member. One that is
// behind by more gains nothing from the oldest.
const inboxLength = 16

// maxPending bounds the transitions that wait for a reader.
const maxPending = 1024

// runner runs one sync group: one goroutine and one timer. Its goroutine owns
// everything below the line, its members included.
type runner struct {
	opts     Options
	members  []*member // never changes
	commands chan command
	cancel   context.CancelFunc
	ctx      context.Context
	done     chan struct{} // closed when the goroutine has ended

	// ----
	group     vrrp.SyncGroup
	inbox     Inbox
	timer     *time.Timer
	pending   []reported // not yet taken by the reader
	dissolved bool
}

// reported is a report and the member that it is about.
type reported struct {
	vrrp.Report
	by *member
}

// command is a function that the runner's goroutine calls; done is closed when it has
// returned.
type command struct {
	f    func()
	done chan struct{}
}

func newRunner(o Options, members ...*member) *runner {
	r := &runner{
		opts: o, members: members, commands: make(chan command), done: make(chan struct{}),
		inbox: make(Inbox, inboxLength*len(members)), timer: time.NewTimer(0),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for i, m := range members {
		m.runner, m.number = r, i
		r.group.Add(m.in.Name, m.vr)
		for _, rep := range m.carried {
			r.pending = append(r.pending, reported{rep, m})
		}
		m.carried = nil
	}
	slices.SortStableFunc(r.pending, func(a, b reported) int { return a.At.Compare(b.At) })
	return r
}

// post has the runner's goroutine call f. The channel is closed when f has returned.
func (r *runner) post(f func()) <-chan struct{} {
	c := command{f, make(chan struct{})}
	r.commands <- c
	return c.done
}

func wait(done []<-chan struct{}) {
	for _, d := range done {
		<-d
	}
}

// runs tells whether the runner's members are exactly those with the given IDs.
func (r *runner) runs(ids []vrrp.ID) bool {
	return len(ids) == len(r.members) && !slices.ContainsFunc(r.members, func(m *member) bool { return !slices.Contains(ids, m.id) })
}

// dissolve ends the runner without ending the protocol. Its members, which keep their
// states, are then the caller's. Each carries those of its reports that nobody has read
// yet, so that they come before what it reports in another runner.
func (r *runner) dissolve() {
	<-r.post(func() { r.dissolved = true })
	<-r.done
	for _, p := range r.pending {
		p.by.carried = append(p.by.carried, p.Report)
	}
}

// run runs the group. It is told its settings at once.
func (r *runner) run() {
	changes, unwatch := r.opts.Links.Watch(r.linkNames()...)
	defer unwatch()
	for {
		r.arm()
		r.publish()
		var reports chan<- vrrp.Report
		var report vrrp.Report
		if len(r.pending) > 0 {
			reports, report = r.opts.Reports, r.pending[0].Report
		}
		select {
		case <-r.ctx.Done():
			r.end()
			return
		case c := <-r.commands:
			c.f()
			r.publish()
			close(c.done)
			if r.dissolved {
				r.timer.Stop()
				close(r.done)
				return
			}
		case links := <-changes:
			r.linksChanged(links)
		case rx := <-r.inbox:
			r.received(rx)
		case <-r.timer.C:
			r.expired()
		case reports <- report:
			r.pending = slices.Delete(r.pending, 0, 1)
		}
	}
}

func (r *runner) linksChanged(links map[string]Link) {
	now := time.Now()
	for _, m := range r.members {
		m.links, m.linked = links, true
		m.reconcile(now)
	}
}

// linkNames are the links that the members depend on.
func (r *runner) linkNames() []string {
	var names []string
	for _, m := range r.members {
		names = append(names, m.id.Interface, m.in.Link())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// tell gives the members their settings.
func (r *runner) tell(wanted map[vrrp.ID]settings) {
	now := time.Now()
	for _, m := range r.members {
		old := m.in
		m.settings = wanted[m.id]
		if old.Name != m.in.Name {
			r.group.Rename(m.number, m.in.Name)
			m.setLogger()
		}
		m.told(now, old)
	}
}

// order carries out what an operator asks for.
func (r *runner) order(m *member, ev vrrp.Event) { r.handle(time.Now(), m.number, ev) }

// arm sets the one timer to whatever comes first.
func (r *runner) arm() {
	next, armed := r.group.Deadline()
	for _, m := range r.members {
		if !m.retryAt.IsZero() && (!armed || m.retryAt.Before(next)) {
			next, armed = m.retryAt, true
		}
	}
	if !armed {
		r.timer.Stop()
		return
	}
	r.timer.Reset(time.Until(next))
}

// expired handles what was received before it lets a timer run out: after a stall
// of the process the Master's advertisements are waiting beside the expired timer,
// and they say that it is not down.
func (r *runner) expired() {
	for range maxWaiting * len(r.members) {
		select {
		case rx := <-r.inbox:
			r.received(rx)
			continue
		default:
		}
		break
	}
	now := time.Now()
	for _, m := range r.members {
		m.measure(now)
		if !m.retryAt.IsZero() && !now.Before(m.retryAt) {
			m.retry(now)
		}
	}
	r.handle(now, 0, vrrp.Timeout{})
}

func (r *runner) received(rx Received) {
	i := slices.IndexFunc(r.members, func(m *member) bool { return m.id == rx.ID })
	if i < 0 {
		return // for a member of the group that was here before
	}
	r.members[i].received(rx)
}

// handle gives an event to the group and carries out what follows.
func (r *runner) handle(now time.Time, number int, ev vrrp.Event) {
	for _, a := range r.group.Handle(now, number, ev) {
		r.members[a.Member].act(now, a.Action)
	}
}

func (r *runner) publish() {
	for _, m := range r.members {
		if m.dirty {
			m.publish()
		}
	}
}

// report reports a change of state. Saying it is the reader's work, who knows the
// directors' names.
func (r *runner) report(by *member, rep vrrp.Report) {
	if len(r.pending) == maxPending {
		r.pending = slices.Delete(r.pending, 0, 1)
	}
	r.pending = append(r.pending, reported{rep, by})
}

// end ends the protocol. The caller's loop has ended, or has never run, so what is
// still to be done is done here.
func (r *runner) end() {
	defer close(r.done)
	defer r.timer.Stop()
	r.handOver()
	now := time.Now()
	for _, m := range r.members {
		r.handle(now, m.number, vrrp.Shutdown{})
	}
	for _, m := range r.members {
		m.end(now)
	}
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	for _, report := range r.pending {
		select {
		case r.opts.Reports <- report.Report:
		case <-patience.C:
			r.opts.Logger.Warn("transitions were not reported, nobody reads them", "count", len(r.pending))
			return
		}
	}
}

// handOver lets another director take over before the addresses go, if there is one.
func (r *runner) handOver() {
	if !slices.ContainsFunc(r.members, func(m *member) bool { return len(m.in.Peers) > 0 && m.state == vrrp.Master }) {
		return
	}
	r.handle(time.Now(), 0, vrrp.HandOver{})
	for {
		next, lingering, handing := r.handOverEnd()
		if !handing {
			return
		}
		r.timer.Reset(time.Until(next))
		select {
		case rx := <-r.inbox:
			r.received(rx)
		case <-r.timer.C:
			if !lingering {
				return // nobody has taken over
			}
			r.handle(time.Now(), 0, vrrp.Timeout{})
		}
	}
}

// handOverEnd is when the next member that another director has taken over from gives
// up its addresses, or else when the last one that is handing over stops waiting.
func (r *runner) handOverEnd() (end time.Time, lingering, handing bool) {
	for _, m := range r.members {
		t, _ := m.vr.Deadline()
		switch snap := m.vr.Snapshot(); {
		case snap.HandedOver:
			if !lingering || t.Before(end) {
				end = t
			}
			lingering, handing = true, true
		case snap.HandingOver:
			if !lingering && t.After(end) {
				end = t
			}
			handing = true
		}
	}
	return end, lingering, handing
}
