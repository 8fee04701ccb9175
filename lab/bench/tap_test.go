package bench

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// attribute is one netlink attribute.
func attribute(typ uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestParseRequest(t *testing.T) {
	native := func(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
	of := func(cmd byte, family uint16) []byte {
		service := append(attribute(1, native(family)...), append(attribute(3, 10, 1, 0, 7), attribute(4, 0, 80)...)...)
		return append(append(make([]byte, 16), cmd, 1, 0, 0), attribute(1, service...)...)
	}
	for _, tt := range []struct {
		name   string
		b      []byte
		change bool
	}{
		{"a new service", of(1, 2), true},
		{"a destination that goes", of(7, 2), true},
		{"a listing of services", of(4, 2), false},
		{"a listing of destinations", of(8, 2), false},
		{"a question for a scheduler", of(1, 10), false},
		{"nothing", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			service, change := parseRequest(tt.b)
			if change != tt.change || change && service != netip.MustParseAddrPort("10.1.0.7:80") {
				t.Errorf("%v, %v", service, change)
			}
		})
	}
}
