package ipvsnl

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Commands of the genetlink family IPVS (IPVS_CMD_*, linux/ip_vs.h).
const (
	cmdNewService = 1
	cmdGetService = 4
	cmdNewDest    = 5
	cmdSetDest    = 6
	cmdDelDest    = 7
	cmdGetDest    = 8
	cmdNewDaemon  = 9
	cmdDelDaemon  = 10
	cmdGetDaemon  = 11
	cmdGetInfo    = 15
	cmdZero       = 16
)

// Attributes of the first level (IPVS_CMD_ATTR_*).
const (
	attrService = 1
	attrDest    = 2
	attrDaemon  = 3
)

// native is the byte order of the kernel's numbers. Ports, IPv4 client masks and
// addresses are in network order whatever the machine.
var native = binary.NativeEndian

// A netlink attribute: length with this header, type, value, padding to four bytes
// (struct nlattr, linux/netlink.h).
const (
	attrHeader   = 4
	attrAlign    = 4
	attrTypeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

// appendAttr appends an attribute.
func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = native.AppendUint16(b, uint16(attrHeader+len(value)))
	b = native.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%attrAlign != 0 {
		b = append(b, 0)
	}
	return b
}

func appendUint8(b []byte, typ uint16, v uint8) []byte { return appendAttr(b, typ, []byte{v}) }

func appendUint16(b []byte, typ, v uint16) []byte {
	return appendAttr(b, typ, native.AppendUint16(nil, v))
}

func appendUint32(b []byte, typ uint16, v uint32) []byte {
	return appendAttr(b, typ, native.AppendUint32(nil, v))
}

// appendPort appends a number in network order.
func appendPort(b []byte, typ, v uint16) []byte {
	return appendAttr(b, typ, binary.BigEndian.AppendUint16(nil, v))
}

// appendString appends a string with its final zero byte.
func appendString(b []byte, typ uint16, v string) []byte {
	return appendAttr(b, typ, append([]byte(v), 0))
}

var errShort = errors.New("truncated netlink attribute")

// attrs holds the values of one level of attributes by type.
type attrs map[uint16][]byte

// parseAttrs reads one level of attributes. Of a type that repeats the last counts.
func parseAttrs(b []byte) (attrs, error) {
	as := attrs{}
	for len(b) > 0 {
		if len(b) < attrHeader {
			return nil, errShort
		}
		n := int(native.Uint16(b))
		if n < attrHeader || n > len(b) {
			return nil, errShort
		}
		as[native.Uint16(b[2:])&attrTypeMask] = b[attrHeader:n]
		b = b[min((n+attrAlign-1)&^(attrAlign-1), len(b)):]
	}
	return as, nil
}

// nested reads the level inside an attribute, which must be there.
func (as attrs) nested(typ uint16) (attrs, error) {
	b, ok := as[typ]
	if !ok {
		return nil, fmt.Errorf("netlink attribute %d is missing", typ)
	}
	return parseAttrs(b)
}

// The getters return zero for an attribute that is missing or too short: older
// kernels do not know the newer attributes.

func (as attrs) uint8(typ uint16) uint8 {
	if b := as[typ]; len(b) >= 1 {
		return b[0]
	}
	return 0
}

func (as attrs) uint16(typ uint16) uint16 {
	if b := as[typ]; len(b) >= 2 {
		return native.Uint16(b)
	}
	return 0
}

func (as attrs) uint32(typ uint16) uint32 {
	if b := as[typ]; len(b) >= 4 {
		return native.Uint32(b)
	}
	return 0
}

func (as attrs) uint64(typ uint16) uint64 {
	if b := as[typ]; len(b) >= 8 {
		return native.Uint64(b)
	}
	return 0
}

func (as attrs) port(typ uint16) uint16 {
	if b := as[typ]; len(b) >= 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// string returns a string without its final zero byte.
func (as attrs) string(typ uint16) string {
	b := as[typ]
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
