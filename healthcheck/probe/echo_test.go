package probe

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/icmp"
)

// An echo request with identifier 0x1234, sequence number 0x0005 and data "abcd", and
// its replies, worked out by hand from RFC 792 and RFC 4443.
var (
	echo = icmp.Echo{ID: 0x1234, Seq: 5, Data: []byte("abcd")}
	// 0x0800+0x1234+0x0005+0x6162+0x6364 = 0xdeff; its complement is 0x2100.
	request4 = []byte{8, 0, 0x21, 0x00, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'}
	reply4   = []byte{0, 0, 0x29, 0x00, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'}
	request6 = []byte{128, 0, 0, 0, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'} // the kernel adds the checksum
	reply6   = []byte{129, 0, 0xaa, 0xaa, 0x12, 0x34, 0, 5, 'a', 'b', 'c', 'd'}
)

func TestEncodeEcho(t *testing.T) {
	for six, want := range map[bool][]byte{false: request4, true: request6} {
		got, err := encodeEcho(six, &echo)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("IPv6 %t (-want +got):\n%s", six, diff)
		}
	}
}

func TestParseEcho(t *testing.T) {
	changed := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	const reply, request = "reply", "request"
	tests := []struct {
		name    string
		message []byte
		six     bool
		want    string // "reply" or "request", and the data
	}{
		{"a reply", reply4, false, "reply abcd"},
		{"a reply over IPv6", reply6, true, "reply abcd"},
		{"a request", request4, false, "request abcd"},
		{"a request over IPv6", request6, true, "request abcd"},
		{"the beginning of a request", request4[:8], false, "request "},
		{"the beginning of a request over IPv6", request6[:8], true, "request "},
		{"no data", reply4[:8], false, "reply "},
		{"the other family's reply", reply6, false, ""},
		{"the other family's reply over IPv6", reply4, true, ""},
		{"another type", changed(reply4, 0, 3), false, ""},
		{"another type over IPv6", changed(reply6, 0, 1), true, ""},
		{"another code", changed(reply4, 1, 1), false, ""},
		{"half a header", reply4[:6], false, ""},
		{"nothing", nil, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if e, ok := parseReply(tt.message, tt.six); ok {
				got = fmt.Sprintf("%s %s", reply, e.Data)
			}
			if e, ok := parseRequest(tt.message, tt.six); ok {
				got += fmt.Sprintf("%s %s", request, e.Data)
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestWithoutIPv4(t *testing.T) {
	packet := func(first byte, length int) []byte { return append([]byte{first}, make([]byte, length-1)...) }
	for _, tt := range []struct {
		name   string
		packet []byte
		want   int // bytes that are left; -1: it is none
	}{
		{"an ordinary header", packet(0x45, 28), 8},
		{"a header with options", packet(0x4f, 68), 8},
		{"a header alone", packet(0x45, 20), 0},
		{"half a header", packet(0x45, 19), -1},
		{"nothing", nil, -1},
	} {
		got := -1
		if rest, ok := withoutIPv4(tt.packet); ok {
			got = len(rest)
		}
		if got != tt.want {
			t.Errorf("%s: %d bytes are left, want %d", tt.name, got, tt.want)
		}
	}
}

// What arrives never makes the probe panic, and is a reply only if it begins like one.
func FuzzParseReply(f *testing.F) {
	header := append([]byte{0x45}, make([]byte, 19)...)
	f.Add(append(bytes.Clone(header), reply4...), false)
	f.Add(reply6, true)
	f.Add(append(bytes.Clone(header), request4...), false)
	f.Fuzz(func(t *testing.T, packet []byte, six bool) {
		message, kind, ok := packet, byte(129), true
		if !six {
			kind = 0
			message, ok = withoutIPv4(packet)
		}
		if !ok {
			return
		}
		if e, ok := parseReply(message, six); ok {
			if message[0] != kind || message[1] != 0 || !bytes.Equal(e.Data, message[8:]) ||
				e.ID != int(message[4])<<8|int(message[5]) || e.Seq != int(message[6])<<8|int(message[7]) {
				t.Errorf("%x is the reply %+v", message, e)
			}
		}
		if e, ok := parseRequest(message, six); ok && e == nil {
			t.Errorf("%x is a request without anything", message)
		}
	})
}

func TestNewEchoIsLikeNoOther(t *testing.T) {
	a, b := newEcho(), newEcho()
	if bytes.Equal(a.Data, b.Data) || len(a.Data) != payloadLength {
		t.Errorf("data %x and then %x", a.Data, b.Data)
	}
}
