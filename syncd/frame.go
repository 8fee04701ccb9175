package syncd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The version of the stream between two directors. A director refuses one with
// another major version. A later minor version may add frames, which others skip, and
// fields at the end of Hello.
const (
	StreamMajor = 1
	StreamMinor = 0
)

// Limits of the stream, in bytes.
const (
	// MaxFrame is the longest frame, without its length field. Whoever announces more
	// is refused before anything is read.
	MaxFrame = 64 << 10
	// MaxPayload is the most that one frame carries of what others have made.
	MaxPayload = 60 << 10
	// MaxDigest is the longest digest of a snapshot.
	MaxDigest = 255
	maxText   = 255
)

// Frame is one message of the stream between two directors: [Hello], [Records],
// [SnapshotBegin], [SnapshotChunk], [SnapshotEnd], [Ack], [Resync], [Note], [Ping],
// [Pong], [Bye] or [UnknownFrame]. On the wire it is a length of four bytes, which
// counts what follows it, the type, one byte, and the body. Numbers are big-endian.
type Frame interface {
	kind() frameKind
	appendBody(b []byte) []byte
}

// Place is where a frame stands in what its sender has sent. Only such frames are
// numbered, acknowledged and sent again.
type Place struct {
	Seq uint64 // from 1, in one run of the sender
	// Stamp is the sender's running time when the frame was queued. An acknowledgement
	// brings it back, so it means nothing to anybody else's clock.
	Stamp time.Duration
}

type (
	// Hello is the first frame of each side of a connection.
	Hello struct {
		Major, Minor uint16
		From, To     string // the directors' names: the sender's, and whom it takes the other for
		Run          uint64 // the sender's run, not 0: a number that no other run of it has
		// Seen is the highest sequence number that the sender has received of the run
		// SeenRun of the other; SeenRun 0: none that could be gone on from.
		SeenRun, Seen uint64
		Last          uint64 // the highest sequence number that the sender has given
		Window        uint32 // how many bytes it takes in before it has dealt with them
	}
	// Records are connections that have changed, in the kernel's format.
	Records struct {
		Place
		Count   uint32 // of the records in Payload
		Payload []byte
	}
	// SnapshotBegin opens a full resync. It may leave out sequence numbers: what they
	// said is in the snapshot. Records that come before its end are newer than what
	// the snapshot has said until then, and older than what it says afterwards.
	SnapshotBegin struct{ Place }
	// SnapshotChunk is a part of a snapshot.
	SnapshotChunk struct {
		Place
		Count   uint32 // of the records in Payload
		Payload []byte
	}
	// SnapshotEnd closes a full resync.
	SnapshotEnd struct {
		Place
		Count  uint64 // of the records in all chunks
		Digest []byte // of the sender's table, in a form of the caller's
	}
	// Ack says that everything up to Seq has been dealt with. Echo is the stamp of the
	// frame with this number.
	Ack struct {
		Seq  uint64
		Echo time.Duration
	}
	// Resync asks for a full resync. Several with the same ID ask once.
	Resync struct{ ID uint64 }
	// Note is small state. Of one kind the newest version counts.
	Note struct {
		Kind    uint8
		Version uint64 // from 1, in one run of the sender
		Payload []byte
	}
	// Ping asks for a Pong with the same stamp.
	Ping struct{ Stamp time.Duration }
	// Pong answers a Ping.
	Pong struct{ Echo time.Duration }
	// Bye says why the sender closes the connection.
	Bye struct{ Text string }
	// UnknownFrame is a frame of a type that this version does not know.
	UnknownFrame struct{ Type uint8 }
)

type frameKind uint8

const (
	kindHello frameKind = 1 + iota
	kindRecords
	kindSnapshotBegin
	kindSnapshotChunk
	kindSnapshotEnd
	kindAck
	kindResync
	kindNote
	kindPing
	kindPong
	kindBye
)

func (Hello) kind() frameKind          { return kindHello }
func (Records) kind() frameKind        { return kindRecords }
func (SnapshotBegin) kind() frameKind  { return kindSnapshotBegin }
func (SnapshotChunk) kind() frameKind  { return kindSnapshotChunk }
func (SnapshotEnd) kind() frameKind    { return kindSnapshotEnd }
func (Ack) kind() frameKind            { return kindAck }
func (Resync) kind() frameKind         { return kindResync }
func (Note) kind() frameKind           { return kindNote }
func (Ping) kind() frameKind           { return kindPing }
func (Pong) kind() frameKind           { return kindPong }
func (Bye) kind() frameKind            { return kindBye }
func (f UnknownFrame) kind() frameKind { return frameKind(f.Type) }

// A FrameError is a reason why a frame is refused, with the token under which it is
// counted.
type FrameError struct {
	Token string // "length", "short", "value", "trailing"
	Text  string
}

func (e *FrameError) Error() string { return e.Text }

func frameErrorf(token, format string, args ...any) error {
	return &FrameError{token, fmt.Sprintf(format, args...)}
}

// AppendFrame appends a frame with its length. What is longer than its limit is the
// caller's mistake: the other side will refuse it.
func AppendFrame(b []byte, f Frame) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, byte(f.kind()))
	b = f.appendBody(b)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// ReadFrame reads one frame. Its payload is in memory of its own, and no more than max
// bytes are ever allocated for it, whatever length is announced. An end between two
// frames is io.EOF, one within a frame io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, max int) (Frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(max) {
		return nil, frameErrorf("length", "frame of %d bytes announced, want 1 to %d", n, max)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return ParseFrame(b)
}

// ParseFrame reads a frame without its length: type and body. Payloads are parts of b.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) == 0 || len(b) > MaxFrame {
		return nil, frameErrorf("length", "frame of %d bytes, want 1 to %d", len(b), MaxFrame)
	}
	r := frameReader{b: b[1:]}
	var f Frame
	switch kind := frameKind(b[0]); kind {
	case kindHello:
		// A later version may say more after this.
		h := r.hello()
		r.b = nil
		f = h
	case kindRecords:
		f = Records{r.place(), r.count(), r.payload("records")}
	case kindSnapshotBegin:
		f = SnapshotBegin{r.place()}
	case kindSnapshotChunk:
		f = SnapshotChunk{r.place(), r.count(), r.payload("snapshot")}
	case kindSnapshotEnd:
		f = SnapshotEnd{r.place(), r.uint64(), r.take(int(r.uint8()))}
	case kindAck:
		f = Ack{r.uint64(), r.stamp()}
	case kindResync:
		f = Resync{r.uint64()}
	case kindNote:
		f = Note{r.uint8(), r.uint64(), r.rest(0, "note")}
	case kindPing:
		f = Ping{r.stamp()}
	case kindPong:
		f = Pong{r.stamp()}
	case kindBye:
		f = Bye{r.text()}
	default:
		return UnknownFrame{b[0]}, nil
	}
	if r.err != nil {
		return nil, fmt.Errorf("frame of type %d: %w", b[0], r.err)
	}
	if len(r.b) > 0 {
		return nil, frameErrorf("trailing", "frame of type %d: %d bytes too many", b[0], len(r.b))
	}
	return f, nil
}
