package syncd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// What is wrong with a sync message, for errors.Is.
var (
	// ErrMalformed is of a message that the kernel drops from there on.
	ErrMalformed = errors.New("malformed sync message")
	// ErrNotTaken is of a single connection that the kernel drops; the others of the
	// same message stand.
	ErrNotTaken = errors.New("not taken by the kernel")
)

// The record of a connection, struct ip_vs_sync_v4 and ip_vs_sync_v6 in
// net/netfilter/ipvs/ip_vs_sync.c, everything in network byte order:
//
//	0 type         8 state   14 destination port   24 client,
//	1 protocol    10 client  16 firewall mark         virtual and real
//	2 version,       port    20 timeout in seconds    server's address
//	  size        12 virtual
//	4 flags          port
//
// and behind it parameters of a type, a length, and as many bytes. The size counts
// them.
const (
	fixedLen   = 24
	recordLen4 = fixedLen + 3*4
	recordLen6 = fixedLen + 3*16

	typeInet6 = 1 // a bit of the type

	versionShift = 12 // the version of the record, 0, is above the size
	sizeMask     = 1<<versionShift - 1

	paramSequences  = 1
	paramEngineData = 2
	paramEngine     = 3
	paramOptional   = 0x40 // a bit of a parameter's type: may be ignored
	paramHeader     = 2
	sequencesLen    = 24
)

// maxRecord is the longest record that [AppendConn] makes.
const maxRecord = recordLen6 + paramHeader + sequencesLen + paramHeader + maxEngineData + paramHeader + maxEngine

// AppendConn appends the record of a connection to b, without padding: [ParseConn]
// finds its end. An error says why a kernel would not take it, and leaves b as it was.
//
// A part of a second counts as a whole one: a connection must not end before its time,
// and 0 has another meaning.
func AppendConn(b []byte, c Conn) ([]byte, error) {
	if err := c.check(); err != nil {
		return b, fmt.Errorf("record of %s %s to %s: %w", c.Protocol, c.Client, c.Virtual, err)
	}
	start := len(b)
	typ := byte(0)
	if !c.Client.Addr().Is4() {
		typ = typeInet6
	}
	b = append(b, typ, byte(c.Protocol), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Flags))
	b = binary.BigEndian.AppendUint16(b, uint16(c.State))
	b = binary.BigEndian.AppendUint16(b, c.Client.Port())
	b = binary.BigEndian.AppendUint16(b, c.Virtual.Port())
	b = binary.BigEndian.AppendUint16(b, c.Real.Port())
	b = binary.BigEndian.AppendUint32(b, c.FWMark)
	b = binary.BigEndian.AppendUint32(b, wireSeconds(c.Timeout))
	for _, a := range []netip.Addr{c.Client.Addr(), c.Virtual.Addr(), c.Real.Addr()} {
		if typ == typeInet6 {
			a16 := a.As16()
			b = append(b, a16[:]...)
		} else {
			a4 := a.As4()
			b = append(b, a4[:]...)
		}
	}
	if s := c.Sequences; s.Present {
		b = append(b, paramSequences, sequencesLen)
		for _, v := range []uint32{s.In.Init, s.In.Delta, s.In.Previous, s.Out.Init, s.Out.Delta, s.Out.Previous} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	}
	if c.Engine != "" {
		b = append(append(b, paramEngineData, byte(len(c.EngineData))), c.EngineData...)
		b = append(append(b, paramEngine, byte(len(c.Engine))), c.Engine...)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b, nil
}

// wireSeconds rounds up. The most that is a duration is more than fits.
func wireSeconds(d time.Duration) uint32 {
	const most = 1<<32 - 1
	s := d / time.Second
	if d%time.Second > 0 {
		s++
	}
	return uint32(min(s, most))
}

// ParseConn decodes the record at the beginning of b and returns it with what is
// behind it. The checks are the kernel's (ip_vs_process_message and
// ip_vs_proc_sync_conn): after an error that is ErrNotTaken what is behind the record can be
// read on, after any other, ErrMalformed, nothing can.
//
// The kernel also drops what its configuration has no protocol for, and persistence
// engines that are not loaded; these are not known here.
func ParseConn(b []byte) (c Conn, rest []byte, err error) {
	if len(b) < recordLen4 {
		return Conn{}, nil, fmt.Errorf("%w: record of %d bytes, want at least %d", ErrMalformed, len(b), recordLen4)
	}
	versionSize := binary.BigEndian.Uint16(b[2:])
	size := int(versionSize & sizeMask)
	if size > len(b) {
		return Conn{}, nil, fmt.Errorf("%w: record of %d bytes, %d are left", ErrMalformed, size, len(b))
	}
	if v := versionSize >> versionShift; v != 0 {
		return Conn{}, nil, fmt.Errorf("%w: record of version %d", ErrMalformed, v)
	}
	c, err = parseRecord(b[:size:size], b[0])
	if err != nil && !errors.Is(err, ErrNotTaken) {
		return Conn{}, nil, err
	}
	return c, b[size:], err
}

// parseRecord decodes a record of the right size. It starts with typ: a size may be
// less than that.
func parseRecord(b []byte, typ byte) (Conn, error) {
	want, addrLen := recordLen4, 4
	switch {
	case typ&typeInet6 != 0: // the kernel looks at this bit alone
		want, addrLen = recordLen6, 16
	case typ != 0:
		return Conn{}, fmt.Errorf("%w: record of type %d", ErrMalformed, typ)
	}
	if len(b) < want {
		return Conn{}, fmt.Errorf("%w: record of type %d with %d bytes, want at least %d", ErrMalformed, typ, len(b), want)
	}
	c := Conn{
		Protocol: Protocol(b[1]),
		Flags:    Flags(binary.BigEndian.Uint32(b[4:])),
		State:    State(binary.BigEndian.Uint16(b[8:])),
		FWMark:   binary.BigEndian.Uint32(b[16:]),
		Timeout:  time.Duration(binary.BigEndian.Uint32(b[20:])) * time.Second,
	}
	for i, side := range []*netip.AddrPort{&c.Client, &c.Virtual, &c.Real} {
		a, _ := netip.AddrFromSlice(b[fixedLen+i*addrLen:][:addrLen])
		*side = netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[10+2*i:]))
	}
	if err := c.parseParams(b[want:]); err != nil {
		return Conn{}, err
	}
	if err := c.checkState(); err != nil {
		return Conn{}, err
	}
	return c, nil
}

// parseParams decodes the parameters.
func (c *Conn) parseParams(b []byte) error {
	var seen [4]bool
	for len(b) > 0 {
		if len(b) < paramHeader {
			return fmt.Errorf("%w: half a parameter", ErrMalformed)
		}
		typ, n := b[0]&^paramOptional, int(b[1])
		optional := b[0]&paramOptional != 0
		b = b[paramHeader:]
		if n == 0 || n > len(b) {
			return fmt.Errorf("%w: parameter %d of %d bytes, %d are left", ErrMalformed, typ, n, len(b))
		}
		v := b[:n]
		b = b[n:]
		switch typ {
		case paramSequences, paramEngineData, paramEngine:
			if seen[typ] {
				return fmt.Errorf("%w: parameter %d twice", ErrMalformed, typ)
			}
			seen[typ] = true
		}
		switch {
		case typ == paramSequences:
			if n != sequencesLen {
				return fmt.Errorf("%w: sequence numbers of %d bytes, want %d", ErrMalformed, n, sequencesLen)
			}
			c.Sequences = Sequences{Present: true, In: parseSequence(v), Out: parseSequence(v[sequencesLen/2:])}
		case typ == paramEngineData:
			c.EngineData = string(v)
		case typ == paramEngine:
			if n > maxEngine {
				return fmt.Errorf("%w: persistence engine of %d bytes, at most %d", ErrMalformed, n, maxEngine)
			}
			c.Engine, _, _ = strings.Cut(string(v), "\x00") // a string of C
		case !optional:
			return fmt.Errorf("%w: unknown parameter %d", ErrNotTaken, typ)
		}
	}
	switch {
	case c.EngineData == "":
		c.Engine = "" // the kernel does not look at it
	case c.Engine == "":
		return fmt.Errorf("%w: data of a persistence engine without its name", ErrNotTaken)
	}
	return nil
}

func parseSequence(b []byte) Sequence {
	return Sequence{Init: binary.BigEndian.Uint32(b), Delta: binary.BigEndian.Uint32(b[4:]), Previous: binary.BigEndian.Uint32(b[8:])}
}
