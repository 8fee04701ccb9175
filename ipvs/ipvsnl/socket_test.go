package ipvsnl

import (
	"errors"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// message is a netlink message of the kernel with a genetlink header.
func message(typ, flags uint16, seq uint32, payload string) []byte {
	b := native.AppendUint32(nil, uint32(nlHeader+len(payload)))
	b = native.AppendUint16(native.AppendUint16(b, typ), flags)
	b = append(native.AppendUint32(native.AppendUint32(b, seq), 0), payload...)
	for len(b)%attrAlign != 0 {
		b = append(b, 0)
	}
	return b
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func errnoText(e int32) string { return string(native.AppendUint32(nil, uint32(-e))) }

func TestAnswer(t *testing.T) {
	const family, multi = 30, unix.NLM_F_MULTI
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
		want      answer
		err       error
	}{
		{"a listing in two datagrams", [][]byte{
			join(message(family, multi, 7, "hdr1one"), message(family, multi, 7, "hdr1three")), message(unix.NLMSG_DONE, multi, 7, errnoText(0)),
		}, answer{msgs: [][]byte{[]byte("one"), []byte("three")}, whole: true}, nil},
		{"an empty listing", [][]byte{message(unix.NLMSG_DONE, multi, 7, "")}, answer{whole: true}, nil},
		{"a listing that is not whole yet", [][]byte{message(family, multi, 7, "hdr1one")}, answer{msgs: [][]byte{[]byte("one")}}, nil},
		{"a listing that was disturbed", [][]byte{message(family, multi|unix.NLM_F_DUMP_INTR, 7, "hdr1one"), message(unix.NLMSG_DONE, multi, 7, "")},
			answer{msgs: [][]byte{[]byte("one")}, whole: true, interrupted: true}, nil},
		{"one object", [][]byte{message(family, 0, 7, "hdr1one")}, answer{msgs: [][]byte{[]byte("one")}, whole: true}, nil},
		{"an acknowledgement", [][]byte{message(unix.NLMSG_ERROR, 0, 7, errnoText(0))}, answer{whole: true}, nil},
		{"a refusal", [][]byte{message(unix.NLMSG_ERROR, 0, 7, errnoText(int32(unix.EEXIST)))}, answer{whole: true, err: unix.EEXIST}, nil},
		{"what answers an earlier request", [][]byte{join(message(unix.NLMSG_ERROR, 0, 6, errnoText(1)), message(unix.NLMSG_ERROR, 0, 7, errnoText(0)))}, answer{whole: true}, nil},
		{"half a header", [][]byte{message(family, 0, 7, "")[:10]}, answer{}, errShort},
		{"longer than the datagram", [][]byte{message(family, 0, 7, "hdr1one!")[:20]}, answer{}, errShort},
		{"without a genetlink header", [][]byte{message(family, 0, 7, "")}, answer{}, errShort},
		{"without an errno", [][]byte{message(unix.NLMSG_ERROR, 0, 7, "x")}, answer{}, errShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got answer
			var err error
			for _, d := range tt.datagrams {
				if err = got.take(d, 7); err != nil {
					break
				}
			}
			if !reflect.DeepEqual(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v, want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(join(message(30, unix.NLM_F_MULTI, 7, "hdr1one"), message(unix.NLMSG_DONE, unix.NLM_F_MULTI, 7, "")))
	f.Add(message(unix.NLMSG_ERROR, 0, 7, errnoText(2)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var a answer
		_ = a.take(b, 7)
	})
}
