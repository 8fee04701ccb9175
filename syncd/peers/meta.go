package peers

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// MaxMeta is the room that memberlist gives to a director's metadata, in bytes. It
// panics when the metadata is larger.
const MaxMeta = 512

// metaVersion is the first byte of encoded metadata. A later version that only appends
// fields keeps it: the decoder ignores what follows the fields it knows.
const metaVersion = 1

// Fingerprint identifies an effective configuration: the first 16 bytes of the SHA-256
// of its text. The zero value means that there is none.
type Fingerprint [16]byte

// FingerprintOf returns the fingerprint of a configuration's text.
func FingerprintOf(text string) Fingerprint {
	sum := sha256.Sum256([]byte(text))
	return Fingerprint(sum[:16])
}

// String is the fingerprint in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// State is a virtual router's state as peers tell it. The numbers travel, and are those
// of vrrp.State; a number that this program does not know is one of a later version.
type State uint8

// The states.
const (
	Initialize State = iota
	Backup
	Master
	Fault
)

func (s State) String() string {
	switch s {
	case Initialize:
		return "stopped"
	case Backup:
		return "backup"
	case Master:
		return "master"
	case Fault:
		return "fault"
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Role is a director's state in one virtual router.
type Role struct {
	VirtualRouter string // its name in the configuration
	State         State
}

// Meta is what a director tells all the others about itself, all the time.
type Meta struct {
	Version string      // of the program, at most 32 bytes of it
	Started time.Time   // when the process started, to the second
	Config  Fingerprint // of the effective configuration
	// ConfigTooLong says that the configuration's text is too long to be exchanged.
	ConfigTooLong bool
	// Leaving says that the director is shutting down and will say goodbye.
	Leaving bool
	// Roles are the director's virtual routers, Masters first, then those in
	// Fault, each by name. What does not fit into the metadata is left out, which
	// Omitted counts; Masters is complete all the same.
	Roles   []Role
	Omitted int
	Masters int // number of virtual routers in which it is Master
	// Sources are the addresses that its VRRP advertisements come from; empty if they
	// are more than MaxSources.
	Sources []netip.Addr
	// Shared identifies what the directors share, as this one has it; zero if its program
	// shares nothing.
	Shared Fingerprint
	// Sight is what the director sees of what it watches.
	Sight Sight
	// Keys are those that the director accepts; nil if its program does not tell.
	Keys []KeyID
}

// Sight is what a director sees of what it watches: its real servers.
type Sight uint8

// The sights. Unknown is also that of a program that does not tell.
const (
	SightUnknown Sight = iota
	SightSome          // some of it is well
	SightNone          // nothing is
)

// MaxSources is how many Sources are told.
const MaxSources = 8

const (
	flagTooLong = 1 << iota
	flagLeaving
	flagSightSome
	flagSightNone
)

// metaHeader is the length of the fields before the roles, the version's text apart.
const metaHeader = 1 + 1 + 8 + len(Fingerprint{}) + 1 + 2 + 2 + 2

// urgency sorts roles by what is missed most when it does not fit.
func urgency(s State) int {
	switch s {
	case Master:
		return 0
	case Fault:
		return 1
	case Backup:
		return 2
	}
	return 3
}

// newMeta puts a director's own metadata in order: roles sorted, as many as fit.
func newMeta(l Local, keys ...KeyID) Meta {
	m := Meta{
		Version:       l.Version[:min(len(l.Version), 32)],
		Config:        FingerprintOf(l.Config),
		ConfigTooLong: len(l.Config) > MaxConfig,
		Sight:         l.Sight,
		Keys:          keys,
	}
	if l.Shared != "" {
		m.Shared = FingerprintOf(l.Shared)
	}
	if !l.Started.IsZero() {
		m.Started = time.Unix(l.Started.Unix(), 0)
	}
	roles := slices.SortedFunc(slices.Values(l.Roles), func(a, b Role) int {
		return cmp.Or(cmp.Compare(urgency(a.State), urgency(b.State)), cmp.Compare(a.VirtualRouter, b.VirtualRouter))
	})
	if len(l.Sources) <= MaxSources {
		for _, a := range l.Sources {
			m.Sources = append(m.Sources, a.WithZone(""))
		}
	}
	size := metaHeader + len(m.Version) + len(m.appendTail(nil))
	for _, r := range roles {
		if r.State == Master {
			m.Masters++
		}
		size += 2 + len(r.VirtualRouter)
		// Once one did not fit, the rest is omitted too: a list with a hole in its
		// order would be taken for complete up to its end.
		if m.Omitted > 0 || size > MaxMeta || len(r.VirtualRouter) > 255 {
			m.Omitted++
			continue
		}
		m.Roles = append(m.Roles, r)
	}
	m.Masters, m.Omitted = min(m.Masters, 1<<16-1), min(m.Omitted, 1<<16-1)
	return m
}

// appendTo appends the encoded form, big endian: version, flags, start in seconds since
// 1970, fingerprint, program version with a length byte, then the numbers of Masters,
// of omitted roles and of roles, each role's state and its name with a length byte, then the sources and what is shared.
func (m Meta) appendTo(b []byte) []byte {
	var flags, started = byte(0), int64(0)
	if m.ConfigTooLong {
		flags |= flagTooLong
	}
	if m.Leaving {
		flags |= flagLeaving
	}
	switch m.Sight {
	case SightSome:
		flags |= flagSightSome
	case SightNone:
		flags |= flagSightNone
	}
	if !m.Started.IsZero() {
		started = m.Started.Unix()
	}
	b = append(b, metaVersion, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(started))
	b = append(b, m.Config[:]...)
	b = append(b, byte(len(m.Version)))
	b = append(b, m.Version...)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Masters))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Omitted))
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Roles)))
	for _, r := range m.Roles {
		b = append(b, byte(r.State), byte(len(r.VirtualRouter)))
		b = append(b, r.VirtualRouter...)
	}
	return m.appendTail(b)
}

// appendTail appends what earlier versions did not send: the number of sources and each
// with a length byte, the fingerprint of what is shared, the number of accepted keys and
// their names. It ends with the last one that there is.
func (m Meta) appendTail(b []byte) []byte {
	if len(m.Sources) == 0 && m.Shared == (Fingerprint{}) && len(m.Keys) == 0 {
		return b
	}
	b = append(b, byte(len(m.Sources)))
	for _, a := range m.Sources {
		b = append(b, byte(a.BitLen()/8))
		b = append(b, a.AsSlice()...)
	}
	if m.Shared == (Fingerprint{}) && len(m.Keys) == 0 {
		return b
	}
	b = append(b, m.Shared[:]...)
	if len(m.Keys) == 0 {
		return b
	}
	b = append(b, byte(len(m.Keys)))
	for _, id := range m.Keys {
		b = append(b, id[:]...)
	}
	return b
}

var errMetaShort = errors.New("metadata ends too early")

// parseMeta decodes what appendTo wrote. The bytes come from a holder of the cluster
// key, who may run another version of the program.
func parseMeta(b []byte) (Meta, error) {
	if len(b) == 0 {
		return Meta{}, errMetaShort
	}
	if b[0] != metaVersion {
		return Meta{}, fmt.Errorf("metadata version %d, want %d", b[0], metaVersion)
	}
	if len(b) > MaxMeta {
		return Meta{}, fmt.Errorf("metadata of %d bytes, want at most %d", len(b), MaxMeta)
	}
	r := reader{b: b[1:]}
	flags := r.take(1)[0]
	m := Meta{ConfigTooLong: flags&flagTooLong != 0, Leaving: flags&flagLeaving != 0}
	switch flags & (flagSightSome | flagSightNone) {
	case flagSightSome:
		m.Sight = SightSome
	case flagSightNone:
		m.Sight = SightNone
	}
	if started := int64(r.uint64()); started != 0 {
		m.Started = time.Unix(started, 0)
	}
	m.Config = Fingerprint(r.take(len(m.Config)))
	m.Version = r.text()
	m.Masters = int(r.uint16())
	m.Omitted = int(r.uint16())
	for range r.uint16() {
		state := State(r.take(1)[0])
		name := r.text()
		if r.short {
			return Meta{}, errMetaShort
		}
		m.Roles = append(m.Roles, Role{name, state})
	}
	if len(r.b) > 0 { // earlier versions end here
		for range r.take(1)[0] {
			a, ok := netip.AddrFromSlice([]byte(r.text()))
			if r.short || !ok {
				return Meta{}, errMetaShort
			}
			m.Sources = append(m.Sources, a)
		}
	}
	if len(r.b) >= len(m.Shared) { // likewise
		m.Shared = Fingerprint(r.take(len(m.Shared)))
		if len(r.b) > 0 { // likewise
			for range r.take(1)[0] {
				m.Keys = append(m.Keys, KeyID(r.take(len(KeyID{}))))
				if r.short {
					return Meta{}, errMetaShort
				}
			}
		}
	}
	if r.short {
		return Meta{}, errMetaShort
	}
	return m, nil
}

// reader takes fields off the front of a message. Past the end it gives zeros and
// remembers that it did.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return make([]byte, n)
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

// text takes a length byte and as many bytes of text.
func (r *reader) text() string { return string(r.take(int(r.take(1)[0]))) }
