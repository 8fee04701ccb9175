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
	open func(ifi *net.Interface, f vrrp.Family) (socket, error)

	mu       sync.Mutex // guards segments, and is taken before a segment's
	segments map[segmentKey]*segment
}

// segmentKey identifies a socket. An interface that was deleted and made again has
// another index: virtual routers move to the new socket one by one.
type segmentKey struct {
	index  int
	family vrrp.Family
}

// NewHub returns a Hub without sockets. The logger gets a warning about datagrams
// that are discarded, for each virtual router, reason and sender at most once a
// minute. Advertisements of unknown virtual routers are another cluster's and come at
// debug level.
func NewHub(logger *slog.Logger) *Hub {
	return &Hub{logger: logger, open: openSocket, segments: map[segmentKey]*segment{}}
}

// Open starts sending and receiving for one virtual router. Advertisements leave
// with the given source address, which must be on the interface when they do, to
// the group or, with in.Unicast, to in.Peers; unicast advertisements are accepted
// from in.Peers alone. A second Conn of the same virtual router is an error.
//
// The Conn is bound to the interface that has the name now. It must be opened anew
// when the interface is deleted and made again.
func (h *Hub) Open(in vrrp.Instance, source netip.Addr, inbox router.Inbox) (router.Conn, error) {
	if in.Unicast && len(in.Peers) == 0 {
		return nil, fmt.Errorf("open %v: unicast without peers", in.ID)
	}
	if vrrp.FamilyOf(source) != in.ID.Family {
		return nil, fmt.Errorf("open %v: source address %v is of another family", in.ID, source)
	}
	ifi, err := net.InterfaceByName(in.ID.Interface)
	if err != nil {
		return nil, fmt.Errorf("open %v: %w", in.ID, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := segmentKey{ifi.Index, in.ID.Family}
	seg, ok := h.segments[key]
	if !ok {
		sock, err := h.open(ifi, in.ID.Family)
		if err != nil {
			return nil, fmt.Errorf("open %v: %w", in.ID, err)
		}
		seg = newSegment(sock, ifi.Index, in.ID.Family, h.logger.With("interface", ifi.Name, "family", in.ID.Family.String()))
		h.segments[key] = seg
		go seg.receive()
	}
	c := &conn{
		hub: h, key: key, seg: seg,
		id: in.ID, vrid: in.ID.VRID, source: source.WithZone(""), unicast: in.Unicast, checksum: in.Checksum,
		inbox:     inbox,
		discarded: map[string]uint64{},
		dsts:      []netip.Addr{vrrp.Group(in.ID.Family)},
	}
	if in.Unicast {
		c.dsts = nil
		for _, p := range in.Peers {
			c.dsts = append(c.dsts, p.WithZone(""))
		}
	}
	if err := seg.add(c); err != nil {
		h.closeIfUnused(key, seg)
		return nil, fmt.Errorf("open %v: %w", in.ID, err)
	}
	return c, nil
}

// leave takes a Conn off its socket and closes the socket after the last.
func (h *Hub) leave(c *conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(c.seg.remove(c), h.closeIfUnused(c.key, c.seg))
}

// closeIfUnused is called with the Hub's mutex held, so that no Conn joins in
// between.
func (h *Hub) closeIfUnused(key segmentKey, seg *segment) error {
	if !seg.unused() {
		return nil
	}
	delete(h.segments, key)
	return seg.close()
}
