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

// ReasonOverflow is the token under which advertisements are counted that were lost
// because the virtual router did not read. All other tokens are those of
// vrrp.DiscardReason.
const ReasonOverflow = "overflow"

// conn is one virtual router's end of a segment.
type conn struct {
	hub      *Hub
	key      segmentKey
	seg      *segment
	id       vrrp.ID
	vrid     vrrp.VRID
	source   netip.Addr
	dsts     []netip.Addr // the group, or the peers
	unicast  bool
	checksum vrrp.ChecksumForm
	inbox    router.Inbox
	closing  sync.Once
	closeErr error

	discarded map[string]uint64 // guarded by the segment's mutex
}

var _ router.Conn = (*conn)(nil)

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

// Close ends receiving: afterwards nothing is delivered. It may be called more than
// once.
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
	return router.Received{ID: c.id, From: d.src, Advert: a}, nil
}

// queue delivers an advertisement. The inbox may be that of several Conns, so somebody
// else may fill the place that was made. It returns the last one that was taken out.
func (c *conn) queue(r router.Received) (lost router.Received, ok bool) {
	for {
		select {
		case c.inbox <- r:
			return lost, ok
		default:
		}
		select {
		case lost = <-c.inbox:
			ok = true
			c.discarded[ReasonOverflow]++
		default: // read meanwhile
		}
	}
}
