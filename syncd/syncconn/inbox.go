package syncconn

import (
	"sync"

	"github.com/hadirector/hadirector/syncd"
)

// maxInbox bounds the changes that wait for a peer's goroutine, in bytes with what each
// of them costs beside its payload.
const maxInbox = 2 << 20

// changeOverhead is what a change costs beside its payload.
const changeOverhead = 64

// inbox takes events to a peer's goroutine. put never blocks.
type inbox struct {
	wake chan struct{} // has one element when there are events

	mu     sync.Mutex // guards the rest: capture, injector and others put
	events []any
	bytes  int
	lost   bool // changes were left out
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (i *inbox) put(ev any) {
	i.mu.Lock()
	if c, ok := ev.(syncd.Change); ok {
		size := len(c.Payload) + changeOverhead
		switch {
		case i.lost:
			ev = nil // the snapshot has it
		case i.bytes+size > maxInbox:
			i.lost = true
			ev = syncd.ChangesLost{}
		default:
			i.bytes += size
		}
	}
	if ev != nil {
		i.events = append(i.events, ev)
	}
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *inbox) take() []any {
	i.mu.Lock()
	defer i.mu.Unlock()
	events := i.events
	i.events, i.bytes, i.lost = nil, 0, false
	return events
}
