package peers

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxInbox bounds what memberlist may put into the inbox before Run looks. What comes
// from configured peers is a few messages a second.
const maxInbox = 1024

// inbox takes messages from memberlist's callbacks to Run. put never blocks, because
// callbacks run under memberlist's locks, which Run's own calls need as well.
type inbox struct {
	wake chan struct{} // has one element when there are messages

	mu       sync.Mutex // guards messages: many goroutines put
	messages []any
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (i *inbox) put(m any) {
	i.mu.Lock()
	if len(i.messages) < maxInbox {
		i.messages = append(i.messages, m)
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
	m := i.messages
	i.messages = nil
	return m
}

// The messages.
type (
	// heardMsg: a peer is alive, with this metadata.
	heardMsg struct {
		at   time.Time
		name string
		meta []byte
	}
	// goneMsg: a peer is dead, or left.
	goneMsg struct {
		at   time.Time
		name string
	}
	// answeredMsg: a peer answered a probe, with its metadata if its program sends it.
	answeredMsg struct {
		at   time.Time
		name string
		rtt  time.Duration
		meta []byte
	}
	// exchangedMsg: a director sent its state.
	exchangedMsg struct {
		at    time.Time
		state []byte
	}
	// sharedMsg: a director sent what it shares.
	sharedMsg struct {
		at      time.Time
		message []byte
	}
	// sentMsg: ours has been sent to a peer, or could not be.
	sentMsg struct {
		at   time.Time
		name string
		err  error
	}
	// refusedMsg: somebody who is not configured was not let in.
	refusedMsg struct {
		name string // empty: it did not come that far
		addr netip.Addr
	}
	// calledMsg: a call has ended.
	calledMsg struct {
		at   time.Time
		name string
		err  error
	}
)

// outgoing is what memberlist sends of us, encoded.
type outgoing struct {
	local Local
	meta  []byte
	state []byte
	// shared identifies local.Shared; zero if that is empty.
	shared Fingerprint
}

// delegate is what memberlist calls.
type delegate struct {
	inbox *inbox
	peers map[string]netip.Addr
	self  string
	keys  []KeyID // set's, like its arguments
	out   atomic.Pointer[outgoing]
}

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
	_ memberlist.PingDelegate  = (*delegate)(nil)
)

// set encodes what is sent of us from now on.
func (d *delegate) set(l Local, leaving bool) {
	meta := newMeta(l, d.keys...)
	meta.Leaving = leaving
	x := exchange{Name: d.self}
	if !meta.ConfigTooLong {
		x.Config = l.Config
	}
	d.out.Store(&outgoing{l, meta.appendTo(nil), x.appendTo(nil), meta.Shared})
}

func (d *delegate) NodeMeta(int) []byte    { return d.out.Load().meta }
func (d *delegate) LocalState(bool) []byte { return d.out.Load().state }

func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	d.inbox.put(exchangedMsg{time.Now(), b}) // memberlist makes a new buffer for each
}

func (d *delegate) NotifyJoin(n *memberlist.Node)   { d.heard(n) }
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.heard(n) }

func (d *delegate) heard(n *memberlist.Node) {
	if n.Name != d.self {
		d.inbox.put(heardMsg{time.Now(), n.Name, n.Meta}) // replaced, never changed in place
	}
}

func (d *delegate) NotifyLeave(n *memberlist.Node) {
	if n.Name != d.self {
		d.inbox.put(goneMsg{time.Now(), n.Name})
	}
}

// NotifyAlive lets only the configured directors in, each at its address.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	addr, _ := netip.AddrFromSlice(n.Addr)
	addr = addr.Unmap()
	if n.Name == d.self {
		// Our own start, and what others say of us. With another address it is
		// somebody with our name, whom memberlist refuses itself.
		return nil
	}
	if want, ok := d.peers[n.Name]; ok && want == addr {
		return nil
	}
	d.inbox.put(refusedMsg{n.Name, addr})
	return fmt.Errorf("%s at %s is not configured", n.Name, addr)
}

func (d *delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, meta []byte) {
	d.inbox.put(answeredMsg{time.Now(), n.Name, rtt, meta}) // memberlist makes a new buffer for each
}

// AckPayload sends the metadata with every answer to a probe. An update that two
// directors gossip at the same moment can be lost: memberlist's queue may take the
// messages about two of them for one, and would tell the next time when state is
// exchanged, half a minute later. Who is Master must not be wrong for so long.
func (d *delegate) AckPayload() []byte { return d.out.Load().meta }

// NotifyMsg takes a message of our own kind: what a director shares.
func (d *delegate) NotifyMsg(b []byte) {
	d.inbox.put(sharedMsg{time.Now(), bytes.Clone(b)}) // memberlist may write to it
}

func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }
