package relay

import (
	"context"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// The kernel's list of its connections takes time that grows with the square of their
// number. It is read when it must be, and a small one now and then.
const (
	listEvery  = 10 * time.Second
	listShare  = 50   // of the time at most
	smallTable = 4096 // connections
	listRetry  = 2 * time.Second
)

// listing is the reading of the kernel's list.
type listing struct {
	place
	wanted bool // something may have been missed
	next   time.Time
	lacked seldom // connections that the kernel should have
}

// listedMsg is the kernel's list, or why there is none.
type listedMsg struct {
	w     *worker
	conns []syncd.Living
	err   error
	began time.Time
	took  time.Duration
}

// list reads the list if it is time.
func (k *kernelSide) list(now time.Time) {
	l := &k.listing
	if l.worker != nil || !k.r.now.Ready || now.Before(l.next) {
		return
	}
	if counts, _ := k.r.x.Counts(); !l.wanted && k.r.seeded && counts.Conns+counts.Templates > smallTable {
		return
	}
	l.wanted = false
	k.start(&l.place, func(ctx context.Context, w *worker) error {
		began := time.Now()
		conns, err := k.r.o.Kernel.Connections(ctx)
		k.messages <- listedMsg{w, conns, err, began, time.Since(began)}
		return nil
	})
}

// listed takes the list in.
func (k *kernelSide) listed(m listedMsg) {
	l, r, now := &k.listing, k.r, time.Now()
	if m.w != l.worker {
		return
	}
	l.worker = nil
	k.says(&l.place, m.err)
	first := !r.seeded
	r.seeded = true // or it would wait for ever
	if m.err != nil {
		l.wanted, l.next = true, now.Add(listRetry)
		return
	}
	l.next = now.Add(max(listEvery, listShare*m.took))
	known := func(c syncd.Conn) bool { return r.x.Knows(now, c) }
	var news []syncd.Living
	for _, c := range m.conns {
		// A Backup's kernel has what others have told it, and forgets it a little later
		// than the table does: that is no news. At the start it is all there is.
		if (first || r.now.Serves(c.Conn)) && !c.HalfOpen() && r.now.Scopes.Passes(c.Conn, known) {
			news = append(news, c)
		}
	}
	// One list may fail until what is old is looked at again.
	tells := r.x.Learned(now, syncd.KernelList{Conns: news, Asked: m.began, Due: l.next.Add(listEvery)})
	if first {
		// No peer has been told anything yet but what the kernel has told since. They are
		// read the table, and take from that only what they do not know better.
		return
	}
	r.tell(tells)
	if k.injection.upToDate() {
		l.lacked.add(uint64(r.x.Compare(now, m.conns)))
	}
}
