package syncd

import (
	"encoding/binary"
	"time"
)

func (f Hello) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, f.Major)
	b = binary.BigEndian.AppendUint16(b, f.Minor)
	if f.Major != StreamMajor {
		return b
	}
	for _, n := range []uint64{f.Run, f.SeenRun, f.Seen, f.Last} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, f.Window)
	return appendText(appendText(b, f.From), f.To)
}

func (f Records) appendBody(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(f.appendTo(b), f.Count), f.Payload...)
}

func (f SnapshotBegin) appendBody(b []byte) []byte { return f.appendTo(b) }

func (f SnapshotChunk) appendBody(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(f.appendTo(b), f.Count), f.Payload...)
}

func (f SnapshotEnd) appendBody(b []byte) []byte {
	return appendText(binary.BigEndian.AppendUint64(f.appendTo(b), f.Count), string(f.Digest))
}

func (f Ack) appendBody(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, f.Seq), uint64(f.Echo))
}

func (f Resync) appendBody(b []byte) []byte { return binary.BigEndian.AppendUint64(b, f.ID) }

func (f Note) appendBody(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(append(b, f.Kind), f.Version), f.Payload...)
}

func (f Ping) appendBody(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(f.Stamp)) }
func (f Pong) appendBody(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(f.Echo)) }
func (f Bye) appendBody(b []byte) []byte  { return appendText(b, f.Text) }

func (UnknownFrame) appendBody(b []byte) []byte { return b }

func (p Place) appendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, p.Seq), uint64(p.Stamp))
}

// appendText appends a length byte and as much of the text as that can count.
func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxText)]
	return append(append(b, byte(len(s))), s...)
}

// frameReader takes a frame's body apart. After the first error everything is zero.
type frameReader struct {
	b   []byte
	err error
}

// take returns the next n bytes, or nil if there are fewer.
func (r *frameReader) take(n int) []byte {
	if r.err == nil && len(r.b) < n {
		r.err = frameErrorf("short", "ends too early")
	}
	if r.err != nil {
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *frameReader) uint8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *frameReader) uint16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *frameReader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *frameReader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *frameReader) stamp() time.Duration { return time.Duration(r.uint64()) }

func (r *frameReader) text() string { return string(r.take(int(r.uint8()))) }

func (r *frameReader) place() Place {
	p := Place{r.uint64(), r.stamp()}
	if r.err == nil && p.Seq == 0 {
		r.err = frameErrorf("value", "sequence number 0")
	}
	return p
}

func (r *frameReader) count() uint32 {
	n := r.uint32()
	if r.err == nil && n == 0 {
		r.err = frameErrorf("value", "count of 0 records")
	}
	return n
}

// payload is all that is left, at least one byte.
func (r *frameReader) payload(what string) []byte { return r.rest(1, what) }

func (r *frameReader) rest(atLeast int, what string) []byte {
	if n := len(r.b); r.err == nil && (n < atLeast || n > MaxPayload) {
		r.err = frameErrorf("length", "%s of %d bytes, want %d to %d", what, n, atLeast, MaxPayload)
	}
	if r.err != nil {
		return nil
	}
	return r.take(len(r.b))
}

// hello reads no further than the version if that is another one.
func (r *frameReader) hello() Hello {
	f := Hello{Major: r.uint16(), Minor: r.uint16()}
	if f.Major != StreamMajor {
		return f
	}
	f.Run, f.SeenRun, f.Seen, f.Last = r.uint64(), r.uint64(), r.uint64(), r.uint64()
	f.Window = r.uint32()
	f.From, f.To = r.text(), r.text()
	if r.err == nil && f.Run == 0 {
		r.err = frameErrorf("value", "run 0")
	}
	return f
}
