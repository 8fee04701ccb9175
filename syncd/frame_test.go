package syncd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var ourFrames = []struct {
	frame Frame
	wire  string // with the length
}{
	{Hello{Major: 1, From: "lb-a", To: "lb-b", Run: 2, SeenRun: 3, Seen: 4, Last: 5, Window: 6},
		"00000033 01 0001 0000 0000000000000002 0000000000000003 0000000000000004 0000000000000005 00000006 04 6c622d61 04 6c622d62"},
	{Hello{Major: 2, Minor: 1}, "00000005 01 0002 0001"},
	{Records{Place{7, time.Second}, 1, []byte("abc")}, "00000018 02 0000000000000007 000000003b9aca00 00000001 616263"},
	{SnapshotBegin{Place{8, 0}}, "00000011 03 0000000000000008 0000000000000000"},
	{SnapshotChunk{Place{9, 1}, 2, []byte("xy")}, "00000017 04 0000000000000009 0000000000000001 00000002 7879"},
	{SnapshotEnd{Place{10, 1}, 2, []byte{0xff}}, "0000001b 05 000000000000000a 0000000000000001 0000000000000002 01 ff"},
	{SnapshotEnd{Place: Place{10, 1}}, "0000001a 05 000000000000000a 0000000000000001 0000000000000000 00"},
	{Ack{10, 1}, "00000011 06 000000000000000a 0000000000000001"},
	{Resync{1}, "00000009 07 0000000000000001"},
	{Note{3, 1, []byte("n")}, "0000000b 08 03 0000000000000001 6e"},
	{Ping{2}, "00000009 09 0000000000000002"},
	{Pong{2}, "00000009 0a 0000000000000002"},
	{Bye{"no"}, "00000004 0b 02 6e6f"},
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestFramesOnTheWire(t *testing.T) {
	for _, tt := range ourFrames {
		if got := AppendFrame(nil, tt.frame); !bytes.Equal(got, unhex(tt.wire)) {
			t.Errorf("%T %+v\nsent %x\nwant %s", tt.frame, tt.frame, got, tt.wire)
		}
		got, err := ReadFrame(bytes.NewReader(unhex(tt.wire)), MaxFrame)
		if err != nil {
			t.Errorf("%T: %v", tt.frame, err)
		} else if d := cmp.Diff(tt.frame, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("read another frame than was sent:\n%s", d)
		}
	}
}

func TestFramesThatAreRefused(t *testing.T) {
	long := strings.Repeat("00", MaxPayload+1)
	for _, tt := range []struct{ name, wire, want string }{
		{"4 GB announced", "ffffffff 02", "frame of 4294967295 bytes announced, want 1 to 65536"},
		{"one more than the limit", "00010001 02", "frame of 65537 bytes announced, want 1 to 65536"},
		{"nothing announced", "00000000", "frame of 0 bytes announced, want 1 to 65536"},
		{"hello without version", "00000003 01 0001", "frame of type 1: ends too early"},
		{"hello that ends in a name", "00000030 01 0001 0000 0000000000000002 0000000000000003 0000000000000004 0000000000000005 00000006 04 6c622d61 04 6c", "frame of type 1: ends too early"},
		{"hello of run 0", "0000002b 01 0001 0000 0000000000000000 0000000000000003 0000000000000004 0000000000000005 00000006 00 00", "frame of type 1: run 0"},
		{"sequence number 0", "00000018 02 0000000000000000 0000000000000001 00000001 616263", "frame of type 2: sequence number 0"},
		{"no records", "00000015 02 0000000000000001 0000000000000001 00000001", "frame of type 2: records of 0 bytes, want 1 to 61440"},
		{"0 records", "00000016 02 0000000000000001 0000000000000001 00000000 61", "frame of type 2: count of 0 records"},
		{"records too long", "0000f016 02 0000000000000001 0000000000000001 00000001" + long, "frame of type 2: records of 61441 bytes, want 1 to 61440"},
		{"begin with more", "00000012 03 0000000000000001 0000000000000001 00", "frame of type 3: 1 bytes too many"},
		{"end without its digest", "0000001a 05 0000000000000001 0000000000000001 0000000000000001 01", "frame of type 5: ends too early"},
		{"acknowledgement cut short", "00000009 06 0000000000000001", "frame of type 6: ends too early"},
		{"note without version", "00000002 08 01", "frame of type 8: ends too early"},
		{"end of the stream within the length", "0000", "unexpected EOF"},
		{"end of the stream within a frame", "00000009 09 00", "unexpected EOF"},
		{"end of the stream", "", "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ReadFrame(bytes.NewReader(unhex(tt.wire)), MaxFrame)
			if err == nil || err.Error() != tt.want {
				t.Errorf("read %+v, error %v, want %s", f, err, tt.want)
			}
		})
	}
}

func TestFramesOfLaterVersions(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		want       Frame
	}{
		{"a type that is not known", "00000003 2a 0102", UnknownFrame{42}},
		{"a hello with more", "0000002c 01 0001 0009 0000000000000002 0000000000000003 0000000000000004 0000000000000005 00000006 00 00 77",
			Hello{Major: 1, Minor: 9, Run: 2, SeenRun: 3, Seen: 4, Last: 5, Window: 6}},
		{"a hello of another version", "00000008 01 0002 0003 010203", Hello{Major: 2, Minor: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ReadFrame(bytes.NewReader(unhex(tt.wire)), MaxFrame)
			if err != nil || !cmp.Equal(f, tt.want) {
				t.Errorf("read %+v, error %v, want %+v", f, err, tt.want)
			}
		})
	}
}

// A reader that counts what it is asked for.
type countingReader struct {
	io.Reader
	asked int
}

func (r *countingReader) Read(b []byte) (int, error) {
	r.asked += len(b)
	return r.Reader.Read(b)
}

func TestAnAnnouncedLengthAllocatesNoMoreThanTheLimit(t *testing.T) {
	r := &countingReader{Reader: bytes.NewReader(unhex("fffffff0 01"))}
	var refused *FrameError
	if _, err := ReadFrame(r, 512); !errors.As(err, &refused) || refused.Token != "length" || r.asked != 4 {
		t.Errorf("error %v, %d bytes asked for; want the token length, 4 bytes", err, r.asked)
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, s := range ourFrames {
		f.Add(unhex(s.wire)[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := ParseFrame(b)
		if err != nil {
			if frame != nil {
				t.Fatalf("%x: an error and a frame %+v", b, frame)
			}
			return
		}
		switch f := frame.(type) {
		case UnknownFrame:
			if f.Type >= uint8(kindHello) && f.Type <= uint8(kindBye) {
				t.Fatalf("%x: type %d is known", b, f.Type)
			}
			return
		case Records:
			if f.Seq == 0 || f.Count == 0 || len(f.Payload) == 0 || len(f.Payload) > MaxPayload {
				t.Fatalf("%x: %+v", b, f)
			}
		}
		again := AppendFrame(nil, frame)
		if len(again)-4 > MaxFrame {
			t.Fatalf("%x: sent with %d bytes", b, len(again))
		}
		// A hello may have an end that is not ours.
		if _, hello := frame.(Hello); !hello && !bytes.Equal(again[4:], b) {
			t.Fatalf("%x is sent as %x", b, again[4:])
		}
		if got, err := ParseFrame(again[4:]); err != nil || !cmp.Equal(got, frame) {
			t.Fatalf("%x: %+v is read again as %+v, %v", b, frame, got, err)
		}
	})
}
