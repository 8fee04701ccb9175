package routerproc

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// Start is what a child is told first.
type Start struct {
	LogFormat string // "text" or "json"
	LogLevel  slog.Level
}

// Facts are what a child says about itself when it has started.
type Facts struct {
	// Realtime says that all its threads run under SCHED_RR, Locked that its memory is
	// never paged out.
	Realtime, Locked bool
}

// toChild is what the parent says. One field is set.
type toChild struct {
	Start *Start `json:",omitempty"`
	Apply *apply `json:",omitempty"`
	Order *order `json:",omitempty"`
	Ping  *ping  `json:",omitempty"`
	Stop  *stop  `json:",omitempty"`
}

// apply makes Instances, by name, the virtual routers that run.
type apply struct {
	Instances map[string]vrrp.Instance
	// Ended is when the child ended whose virtual routers are adopted.
	Ended time.Time
	// GiveWay has every other director that is there take over.
	GiveWay bool
}

// order asks virtual routers to do something.
type order struct {
	Do    verb
	Names []string
}

type verb string

const (
	handOver verb = "hand-over"
	announce verb = "announce"
)

// ping asks for a pong.
type ping struct {
	// Alive says that the director loop has given a sign of life since the last ping.
	Alive    bool
	LogLevel slog.Level
	// Snapshots asks for those of all virtual routers.
	Snapshots bool
}

// stop asks the child to end in order.
type stop struct{}

// fromChild is what the child says. One field is set.
type fromChild struct {
	Facts *Facts `json:",omitempty"`
	Event *event `json:",omitempty"`
	Pong  *pong  `json:",omitempty"`
}

// event is a report, with the snapshot of its virtual router if that still runs.
type event struct {
	Report   vrrp.Report
	Snapshot *vrrp.Snapshot
}

// pong answers a ping. Snapshots is nil if they were not asked for.
type pong struct{ Snapshots map[string]vrrp.Snapshot }

// maxFrame bounds a message; 255 virtual routers with all that they can have take less
// than a megabyte.
const maxFrame = 16 << 20

var (
	errFrame = errors.New("message longer than any that is sent")
	// errGarbled marks what the other side would not have sent.
	errGarbled = errors.New("no message")
)

// writeFrame writes a message: its length in four bytes, and JSON.
func writeFrame(w io.Writer, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode %T: %w", message, err)
	}
	if len(b) > maxFrame {
		return fmt.Errorf("encode %T of %d bytes: %w", message, len(b), errFrame)
	}
	// In one write, so that whoever is killed has sent a whole message or none, as far
	// as the socket's buffer goes.
	_, err = w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}

// readFrame reads a message. At the end of the stream it returns io.EOF, within a
// message io.ErrUnexpectedEOF.
func readFrame(r *bufio.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("decode %T of %d bytes: %w: %w", message, n, errGarbled, errFrame)
	}
	// What arrives is kept as it comes: a wrong length must not take its size in memory.
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(b) < int(n) {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(b, message); err != nil {
		return fmt.Errorf("decode %T: %w: %w", message, errGarbled, err)
	}
	return nil
}
