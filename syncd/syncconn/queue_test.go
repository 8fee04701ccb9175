package syncconn

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// answer is what the kernel says of a socket.
func answer(attributes ...[]byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+diagMessage)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint32(b[unix.NLMSG_HDRLEN+diagRQueue:], 2304)
	for _, a := range attributes {
		b = append(b, a...)
	}
	return b
}

func attribute(typ uint16, values ...uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+4*len(values)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

func refusal(errno unix.Errno) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+4)
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_ERROR)
	return binary.NativeEndian.AppendUint32(b, uint32(-int32(errno)))
}

func TestParseQueue(t *testing.T) {
	meminfo := attribute(diagMemInfo, 4608, 212992, 0, 0, 0, 0, 0, 0, 3)
	for _, tt := range []struct {
		name string
		b    []byte
		want queue
		err  error
	}{
		{"a queue", answer(meminfo), queue{waiting: 2304, used: 4608, capacity: 212992, drops: 3}, nil},
		{"after another attribute", answer(attribute(1, 0), meminfo), queue{waiting: 2304, used: 4608, capacity: 212992, drops: 3}, nil},
		{"no daemon", refusal(unix.ENOENT), queue{}, ErrNoDaemon},
		{"refused", refusal(unix.EPERM), queue{}, unix.EPERM},
		{"without the queue", answer(), queue{}, errShort},
		{"of an old kernel, without drops", answer(attribute(diagMemInfo, 1, 2, 3)), queue{}, errShort},
		{"an attribute too long", answer(meminfo[:8]), queue{}, errShort},
		{"nothing", nil, queue{}, errShort},
	} {
		if got, err := parseQueue(tt.b); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	if q := (queue{used: 300, capacity: 200}); q.room() != 0 {
		t.Errorf("room %d in a queue that is more than full", q.room())
	}
}

func FuzzParseQueue(f *testing.F) {
	f.Add(answer(attribute(diagMemInfo, 4608, 212992, 0, 0, 0, 0, 0, 0, 3)))
	f.Add(refusal(unix.ENOENT))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := parseQueue(b); err != nil && q != (queue{}) {
			t.Errorf("%+v with %v", q, err)
		}
	})
}
