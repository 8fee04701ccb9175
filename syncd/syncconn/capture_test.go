package syncconn

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/syncd"
)

// tickMessage is what the master daemon says of the ticker's flow.
func tickMessage() []byte {
	m := make([]byte, messageHeader+connection4)
	m[1], m[offsetCount], m[5] = 7, 1, 1
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
	binary.BigEndian.PutUint16(m[offsetVPort:], syncd.TickService.Port())
	vip := syncd.TickService.Addr().As4()
	copy(m[offsetVAddr:], vip[:])
	return m
}

func TestIsTick(t *testing.T) {
	with := func(change func([]byte)) []byte {
		m := tickMessage()
		change(m)
		return m
	}
	for _, tt := range []struct {
		name string
		m    []byte
		want bool
	}{
		{"the ticker's", tickMessage(), true},
		{"another port", with(func(m []byte) { m[offsetVPort]++ }), false},
		{"another address", with(func(m []byte) { m[offsetVAddr]++ }), false},
		{"IPv6", with(func(m []byte) { m[offsetType] = 1 }), false},
		{"with another connection", append(with(func(m []byte) { m[offsetCount] = 2 }), make([]byte, connection4)...), false},
		{"short", tickMessage()[:messageHeader+connection4-1], false},
		{"nothing", nil, false},
	} {
		if got := isTick(tt.m); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// ipPacket is an IPv4 and UDP header with the given lengths, and data.
func ipPacket(words byte, udpLength int, data string) []byte {
	b := make([]byte, int(words)*4+8, int(words)*4+8+len(data))
	b[0] = 4<<4 | words
	binary.BigEndian.PutUint16(b[int(words)*4+4:], uint16(udpLength))
	return append(b, data...)
}

func TestPayload(t *testing.T) {
	for _, tt := range []struct {
		name   string
		packet []byte
		want   []byte // nil: none
	}{
		{"plain", ipPacket(5, 12, "data"), []byte("data")},
		{"with IPv4 options", ipPacket(6, 12, "data"), []byte("data")},
		{"with padding", ipPacket(5, 12, "data....."), []byte("data")},
		{"empty", ipPacket(5, 8, ""), []byte{}},
		{"cut off", ipPacket(5, 12, "dat"), nil},
		{"a UDP length below its header", ipPacket(5, 7, ""), nil},
		{"an IPv4 length below its header", append([]byte{4<<4 | 4}, make([]byte, 40)...), nil},
		{"no header", []byte{4<<4 | 5}, nil},
	} {
		if got := payload(tt.packet); !bytes.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzPayload(f *testing.F) {
	f.Add(ipPacket(5, 12, "data"))
	f.Add(ipPacket(15, 12, "data"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if p := payload(packet); len(p) > len(packet) {
			t.Errorf("%d bytes of %d", len(p), len(packet))
		} else {
			isTick(p)
		}
	})
}

// controlMessage is a control message of socket level.
func controlMessage(typ int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	binary.NativeEndian.PutUint32(b[8:], unix.SOL_SOCKET)
	binary.NativeEndian.PutUint32(b[12:], uint32(typ))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func TestControl(t *testing.T) {
	stamp := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 1_700_000_000), 5)
	oob := append(controlMessage(unix.SO_TIMESTAMPNS, stamp),
		controlMessage(unix.SO_RXQ_OVFL, binary.NativeEndian.AppendUint32(nil, 12))...)
	if at, lost := control(oob, 3); !at.Equal(time.Unix(1_700_000_000, 5)) || lost != 12 {
		t.Errorf("at %v, %d lost", at, lost)
	}
	before := time.Now()
	if at, lost := control(nil, 3); at.Before(before) || lost != 3 {
		t.Errorf("without control messages: at %v, %d lost", at, lost)
	}
	control([]byte{1, 2, 3}, 0) // no panic
}

func TestSyncFilterAssembles(t *testing.T) {
	if _, err := syncFilter(); err != nil {
		t.Fatal(err)
	}
}

// The checksum over a segment with its pseudo header, its own included, is 0.
func TestSegmentHasAChecksum(t *testing.T) {
	b := segment(0x12345678, flagRST)
	src, dst := syncd.PrivatePrefix.Addr().As4(), syncd.TickService.Addr().As4()
	whole := append(append(append(src[:], dst[:]...), 0, unix.IPPROTO_TCP, 0, 20), b...)
	if c := checksum(whole); c != 0 {
		t.Errorf("checksum %#x", c)
	}
}
