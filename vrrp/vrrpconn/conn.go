package vrrpconn

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

// queueLength is how many advertisements wait for a virtual router. One that is
// behind by more gains nothing from the oldest.
const queueLength = 16

// ReasonOverflow is the token under which advertisements are counted that were lost
// because the virtual router did not read. All other tokens are those of
// vrrp.DiscardReason.
const ReasonOverflow = "overflow"

// conn is one virtual router's end of a segment.
type conn struct {
	hub      *Hub
	key      segmentKey
	seg      *segment
	vrid     vrrp.VRID
	source   netip.Addr
	dsts     []netip.Addr // the group, or the peers
	unicast  bool
	checksum vrrp.ChecksumForm
	adverts  chan router.Received
	closing  sync.Once
	closeErr error

	discarded map[string]uint64 // guarded by the segment's mutex
}

var _ router.Conn = (*conn)(nil)

func (c *conn) Adverts() <-chan router.Received { return c.adverts }

// Send sends to every destination, whatever happened to those before it.
func (c *conn) Send(a vrrp.Advert) error {
	var errs []error
	for _, dst := range c.dsts {
		// The checksum covers the destination.
		b := a.AppendTo(nil, c.source, dst, c.checksum)
		if err := c.seg.sock.send(b, c.source, dst); err != nil {
			errs = append(errs, fmt.Errorf("send advertisement from %v to %v: %w", c.source, dst, err))
		}
	}
	return errors.Join(errs...)
}

func (c *conn) Discarded() map[string]uint64 {
	c.seg.mu.Lock()
	defer c.seg.mu.Unlock()
	return maps.Clone(c.discarded)
}

// Close ends receiving and closes the channel of Adverts. It may be called more
// than once.
func (c *conn) Close() error {
	c.closing.Do(func() { c.closeErr = c.hub.leave(c) })
	return c.closeErr
}

// accept decides on a datagram with this virtual router's VRID.
func (c *conn) accept(d datagram) (router.Received, error) {
	a, err := vrrp.ParseAdvert(d.payload, vrrp.Header{Src: d.src, Dst: d.dst, TTL: d.ttl, Unicast: c.unicast})
	if err != nil {
		return router.Received{}, err
	}
	// The kernel delivers no other group to this socket, unless it is too old to be
	// told so.
	if !c.unicast && d.dst != c.dsts[0] {
		return router.Received{}, fmt.Errorf("%w: %v", vrrp.ErrDestination, d.dst)
	}
	if c.unicast && !slices.Contains(c.dsts, d.src) {
		return router.Received{}, fmt.Errorf("%w: %v", vrrp.ErrPeer, d.src)
	}
	return router.Received{From: d.src, Advert: a}, nil
}

// queue is called by the one goroutine that receives, so there is room after one
// advertisement has been taken out. It returns that one.
func (c *conn) queue(r router.Received) (lost router.Received, ok bool) {
	select {
	case c.adverts <- r:
		return lost, false
	default:
	}
	select {
	case lost = <-c.adverts:
		ok = true
		c.discarded[ReasonOverflow]++
	default: // read meanwhile
	}
	c.adverts <- r
	return lost, ok
}
