package vrrpconn

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

// Hub opens Conns and shares sockets between them. It may be used by any goroutine.
type Hub struct {
	logger *slog.Logger
	// open is openSocket, except in tests.
	open func(ifi *net.Interface, f vrrp.Family, only vrrp.VRID) (socket, error)

	mu       sync.Mutex // guards what follows, and is taken before a segment's
	segments map[segmentKey]*segment
	// stamps outlive the Conns, so that opening one anew forgets nothing.
	stamps map[vrrp.ID]*stamps
}

// segmentKey identifies a socket. An interface that was deleted and made again has
// another index: virtual routers move to the new socket one by one.
type segmentKey struct {
	index  int
	family vrrp.Family
}

// NewHub returns a Hub without sockets. The logger gets a warning about datagrams
// that are discarded, for each virtual router, reason and sender at most once a
// minute, and about senders that are no known directors once an hour. Advertisements
// of unknown virtual routers are another cluster's and come at debug level.
func NewHub(logger *slog.Logger) *Hub {
	return &Hub{logger: logger, open: openSocket, segments: map[segmentKey]*segment{}, stamps: map[vrrp.ID]*stamps{}}
}

// Open starts sending and receiving for one virtual router. Advertisements leave
// with the given source address, which must be on the interface when they do, to
// the group or, with in.Unicast, to in.Peers. What arrives from [vrrp.Instance.Known]
// addresses goes to the inbox. A second Conn of the same virtual router is an error.
//
// A virtual router with a link of its own receives there, because frames from the
// virtual MAC address arrive nowhere else, and sends from there unless in.VMAC says
// otherwise. Unicast stays on the interface: what is sent to its address arrives
// there, and neighbours must not learn that address with the virtual MAC address.
//
// The Conn is bound to the interfaces that have the names now. It must be opened anew
// when one is deleted and made again.
func (h *Hub) Open(in vrrp.Instance, source netip.Addr, inbox router.Inbox) (router.Conn, error) {
	c, err := h.newConn(in, source.WithZone(""), inbox)
	if err != nil {
		return nil, fmt.Errorf("open %v: %w", in.ID, err)
	}
	return c, nil
}

func (h *Hub) newConn(in vrrp.Instance, source netip.Addr, inbox router.Inbox) (*conn, error) {
	if in.Unicast && len(in.Peers) == 0 {
		return nil, errors.New("unicast without peers")
	}
	if vrrp.FamilyOf(source) != in.ID.Family {
		return nil, fmt.Errorf("source address %v is of another family", source)
	}
	if in.HMAC.Signs() {
		if _, ok := in.HMAC.Key(in.HMAC.ActiveKey); !ok {
			return nil, fmt.Errorf("there is no key %d to sign with", in.HMAC.ActiveKey)
		}
	}
	receiveOn, sendOn := in.Link(), in.Link()
	switch {
	case in.Unicast:
		receiveOn, sendOn = in.ID.Interface, in.ID.Interface
	case in.VMAC != nil && in.VMAC.TransmitBase:
		sendOn = in.ID.Interface
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &conn{
		hub: h, id: in.ID, source: source, known: in.Known(), unicast: in.Unicast, checksum: in.Checksum,
		ttl: vrrp.TTL, minTTL: in.MinTTL, hmac: in.HMAC, stamps: h.stamps[in.ID],
		inbox:     inbox,
		discarded: map[string]uint64{},
		dsts:      []netip.Addr{vrrp.Group(in.ID.Family)},
	}
	if c.known != nil {
		// So that it is the virtual router that sees that our own came back.
		c.known = append(c.known, source)
	}
	if c.stamps == nil {
		c.stamps = &stamps{}
		h.stamps[in.ID] = c.stamps
	}
	if in.Unicast {
		c.dsts = nil
		for _, p := range in.Peers {
			c.dsts = append(c.dsts, p.WithZone(""))
		}
		if in.TTL != 0 {
			c.ttl = in.TTL
		}
	}
	var err error
	if c.out, err = h.use(sendOn, in); err != nil {
		return nil, err
	}
	if c.in, err = h.use(receiveOn, in); err != nil {
		return nil, errors.Join(err, h.release(c.out))
	}
	if err := c.in.add(c); err != nil {
		return nil, errors.Join(err, h.release(c.in), h.release(c.out))
	}
	return c, nil
}

// use returns the segment of a link, for one more user. The Hub's mutex is held.
func (h *Hub) use(link string, in vrrp.Instance) (*segment, error) {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", link, err)
	}
	key := segmentKey{ifi.Index, in.ID.Family}
	seg, ok := h.segments[key]
	if !ok {
		var only vrrp.VRID
		if link != in.ID.Interface {
			only = in.ID.VRID
		}
		sock, err := h.open(ifi, in.ID.Family, only)
		if err != nil {
			return nil, err
		}
		seg = newSegment(sock, key, h.logger.With("interface", ifi.Name, "family", in.ID.Family.String()))
		h.segments[key] = seg
		go seg.receive()
	}
	seg.users++
	return seg, nil
}

// release takes a user off a segment and closes its socket after the last. The Hub's
// mutex is held.
func (h *Hub) release(seg *segment) error {
	if seg.users--; seg.users > 0 {
		return nil
	}
	delete(h.segments, seg.key)
	return seg.close()
}

// leave takes a Conn off its sockets.
func (h *Hub) leave(c *conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(c.in.remove(c), h.release(c.in), h.release(c.out))
}
