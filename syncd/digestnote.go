package syncd

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
)

// What directors tell each other of their tables goes into notes of these kinds, so that
// one that changes leaves the others as they are. A virtual server's digest is always in the
// same one.
const (
	NoteDigests = 16 // the first kind
	DigestPages = 16
)

// Digests of a page, in bytes: a version and whether there are more than fit, then each
// virtual server. Numbers are big-endian.
const (
	digestVersion = 1
	digestHeader  = 2
	digestEntry4  = 1 + 1 + 4 + 4 + 2 + 4 + 4 + 8 // family, protocol, mark, address, port, counts, sum
	digestEntry6  = digestEntry4 + 12
)

// digestPage returns the number of a virtual server's page, from 0.
func digestPage(v VirtualServer) int {
	a := v.Addr.Addr().As16()
	h := mix(mix(uint64(v.FWMark), uint64(v.Protocol)<<16|uint64(v.Addr.Port())), binary.BigEndian.Uint64(a[8:]))
	return int(h % DigestPages)
}

// digestNote packs a page. What does not fit is left out, and the note says so.
func digestNote(all []ServerDigest) []byte {
	p := make([]byte, digestHeader, min(digestHeader+len(all)*digestEntry6, MaxPayload))
	p[0] = digestVersion
	for _, d := range all {
		if len(p)+digestEntry6 > MaxPayload {
			p[1] = 1
			break
		}
		p = appendDigest(p, d)
	}
	return p
}

// DigestBook has the digests that a director tells, by page, so that what does not change
// costs nothing.
type DigestBook struct {
	pages [DigestPages][]ServerDigest // in order
	stale [DigestPages]bool           // the note was not packed since
}

// NewDigestBook returns a book without digests, of which nothing was told yet.
func NewDigestBook() *DigestBook {
	b := new(DigestBook)
	for i := range b.stale {
		b.stale[i] = true
	}
	return b
}

// Set enters digests. A zero one takes its virtual server out.
func (b *DigestBook) Set(changed []ServerDigest) {
	for _, d := range changed {
		n := digestPage(d.VirtualServer)
		page := b.pages[n]
		i, known := slices.BinarySearchFunc(page, d.VirtualServer, func(d ServerDigest, v VirtualServer) int {
			return compareServers(d.VirtualServer, v)
		})
		gone := d.Digest == Digest{}
		switch {
		case known && gone:
			page = slices.Delete(page, i, i+1)
		case known && page[i] != d:
			page[i] = d
		case known || gone:
			continue
		default:
			page = slices.Insert(page, i, d)
		}
		b.pages[n], b.stale[n] = page, true
	}
}

// Notes yields the pages that have changed since the last call, each with its payload.
func (b *DigestBook) Notes() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for i := range b.pages {
			if b.stale[i] {
				b.stale[i] = false
				if !yield(i, digestNote(b.pages[i])) {
					return
				}
			}
		}
	}
}

func appendDigest(b []byte, d ServerDigest) []byte {
	// The address of one that only has a mark is invalid, and of its family here.
	addr := d.Addr.Addr()
	switch {
	case !addr.IsValid() && d.IPv6:
		addr = netip.IPv6Unspecified()
	case !addr.IsValid():
		addr = netip.IPv4Unspecified()
	}
	family := byte(4)
	if addr.Is6() {
		family = 6
	}
	b = append(b, family, byte(d.Protocol))
	b = binary.BigEndian.AppendUint32(b, d.FWMark)
	b = append(b, addr.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, d.Addr.Port())
	b = binary.BigEndian.AppendUint32(b, uint32(d.Conns))
	b = binary.BigEndian.AppendUint32(b, uint32(d.Templates))
	return binary.BigEndian.AppendUint64(b, d.Sum)
}

// ParseDigestNote reads a page. more says that the sender has others, which did not fit.
func ParseDigestNote(b []byte) (all []ServerDigest, more bool, err error) {
	if len(b) < digestHeader || len(b) > MaxPayload || b[1] > 1 {
		return nil, false, fmt.Errorf("%w: note of digests of %d bytes", ErrMalformed, len(b))
	}
	if b[0] != digestVersion {
		return nil, false, fmt.Errorf("%w: note of digests of version %d", ErrMalformed, b[0])
	}
	more = b[1] == 1
	for b = b[digestHeader:]; len(b) > 0; {
		size := digestEntry4
		if b[0] == 6 {
			size = digestEntry6
		}
		if b[0] != 4 && b[0] != 6 || len(b) < size {
			return nil, false, fmt.Errorf("%w: %d bytes of family %d where a digest begins", ErrMalformed, len(b), b[0])
		}
		all = append(all, parseDigest(b[:size]))
		b = b[size:]
	}
	return all, more, nil
}

// parseDigest reads what is as long as its family's entries are.
func parseDigest(b []byte) ServerDigest {
	n := len(b) - digestEntry4 + 4
	addr, _ := netip.AddrFromSlice(b[6 : 6+n])
	rest := b[6+n:]
	d := ServerDigest{Digest: Digest{
		Conns:     int(binary.BigEndian.Uint32(rest[2:])),
		Templates: int(binary.BigEndian.Uint32(rest[6:])),
		Sum:       binary.BigEndian.Uint64(rest[10:]),
	}}
	if d.FWMark = binary.BigEndian.Uint32(b[2:]); d.FWMark != 0 {
		d.IPv6 = n == 16
		return d
	}
	d.Protocol, d.Addr = Protocol(b[1]), netip.AddrPortFrom(addr, binary.BigEndian.Uint16(rest))
	return d
}

// isDigestNote tells whether a note is one of digests, and which page.
func isDigestNote(kind uint8) (page int, ok bool) {
	page = int(kind) - NoteDigests
	return page, page >= 0 && page < DigestPages
}
