package vrrpconn

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

// ReasonOverflow is the token under which advertisements are counted that were lost
// because the virtual router did not read. All other tokens are those of
// vrrp.DiscardReason.
const ReasonOverflow = "overflow"

// conn is one virtual router's end of a segment.
type conn struct {
	hub *Hub
	in  *segment // where it receives
	out *segment // where it sends: mostly the same
	id  vrrp.ID
	// source and known are without zones.
	source   netip.Addr
	known    []netip.Addr // senders that are accepted; nil: any
	dsts     []netip.Addr // the group, or the peers
	unicast  bool
	checksum vrrp.ChecksumForm
	ttl      int
	minTTL   int
	hmac     *vrrp.HMAC
	stamps   *stamps
	inbox    router.Inbox
	closing  sync.Once
	closeErr error

	discarded map[string]uint64 // guarded by in's mutex
}

var _ router.Conn = (*conn)(nil)

// stamps are those that one virtual router has sent and heard.
type stamps struct {
	mu       sync.Mutex
	stamper  vrrp.Stamper
	verifier vrrp.Verifier
}

// Send sends to every destination, whatever happened to those before it.
func (c *conn) Send(a vrrp.Advert) error {
	var stamp vrrp.Stamp
	if c.hmac.Signs() {
		c.stamps.mu.Lock()
		stamp = c.stamps.stamper.Next(time.Now(), c.hmac, a.Interval)
		c.stamps.mu.Unlock()
	}
	var errs []error
	for _, dst := range c.dsts {
		if err := c.sendTo(a, stamp, dst); err != nil {
			errs = append(errs, fmt.Errorf("send advertisement from %v to %v: %w", c.source, dst, err))
		}
	}
	return errors.Join(errs...)
}

func (c *conn) sendTo(a vrrp.Advert, stamp vrrp.Stamp, dst netip.Addr) error {
	// The checksum covers the destination.
	b := a.AppendTo(nil, c.source, dst, c.checksum)
	if c.hmac.Signs() {
		var err error
		if b, err = c.hmac.Sign(b, c.source, dst, stamp); err != nil {
			return err
		}
	}
	return c.out.sock.send(b, c.source, dst, c.ttl)
}

func (c *conn) Discarded() map[string]uint64 {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
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
	// The kernel delivers no other group to this socket, unless it is too old to be
	// told so.
	if !c.unicast && d.dst != c.dsts[0] {
		return router.Received{}, fmt.Errorf("%w: %v", vrrp.ErrDestination, d.dst)
	}
	h := vrrp.Header{Src: d.src, Dst: d.dst, TTL: d.ttl, Unicast: c.unicast, MinTTL: c.minTTL, Known: c.known}
	c.stamps.mu.Lock()
	defer c.stamps.mu.Unlock()
	a, err := c.stamps.verifier.Parse(time.Now(), d.payload, h, c.hmac)
	if err != nil {
		return router.Received{}, err
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
