package syncd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// ErrVersion0 is of a message of the old format, which has no timeouts, firewall
// marks or IPv6. A kernel sends it when sysctl sync_version is 0.
var ErrVersion0 = errors.New("sync message of version 0")

// The header of a message, struct ip_vs_sync_mesg: a zero, the sync id, the size in two
// bytes, the number of connections, the version, two zeros.
const (
	headerLen      = 8
	messageVersion = 1
	maxConns       = 255 // the number has one byte
)

// Message is a datagram of a kernel's master daemon.
type Message struct {
	// SyncID is its daemon's. A backup daemon takes messages of its own id, or all if
	// that is 0.
	SyncID uint8
	Conns  []Conn
	// NotTaken counts the records besides Conns that a kernel would drop one by one:
	// see [ErrNotTaken].
	NotTaken int
}

// ParseMessage decodes a datagram with the checks of the kernel's backup daemon
// (ip_vs_process_message). Like the kernel it has taken the connections before the place
// that an error tells of: they are in the message that it returns with the error, which is
// ErrVersion0 or ErrMalformed. The message does not refer to b.
func ParseMessage(b []byte) (Message, error) {
	if len(b) < headerLen {
		return Message{}, fmt.Errorf("%w: %d bytes, want at least %d", ErrMalformed, len(b), headerLen)
	}
	if size := binary.BigEndian.Uint16(b[2:]); int(size) != len(b) {
		return Message{}, fmt.Errorf("%w: %d bytes that say they are %d", ErrMalformed, len(b), size)
	}
	// The kernel takes everything else for version 0.
	if b[5] != messageVersion || b[0] != 0 || b[6] != 0 || b[7] != 0 {
		return Message{}, ErrVersion0
	}
	count := int(b[4])
	m := Message{SyncID: b[1]}
	b = b[headerLen:]
	m.Conns = make([]Conn, 0, min(count, len(b)/recordLen4))
	for i := range count {
		c, rest, err := ParseConn(b)
		switch {
		case errors.Is(err, ErrNotTaken):
			m.NotTaken++
		case err != nil:
			return m, fmt.Errorf("connection %d of %d: %w", i+1, count, err)
		default:
			m.Conns = append(m.Conns, c)
		}
		// The next one begins at a multiple of four bytes; the header is one.
		size := len(b) - len(rest)
		b = rest[min(padding(size), len(rest)):]
	}
	return m, nil
}

// padding is what is behind a record of n bytes before the next.
func padding(n int) int { return -n & 3 }

// Messages packs connections into datagrams of at most size bytes for a backup daemon
// of a sync id. It yields each as soon as it is full; its bytes are good until the next.
// A connection that cannot be sent is yielded as an error, without bytes, and the next ones go
// on: see [AppendConn]. A size of 1024, which every backup daemon takes, has room for any.
func Messages(syncID uint8, size int, conns iter.Seq[Conn]) iter.Seq2[[]byte, error] {
	size = min(size, maxDatagram)
	return func(yield func([]byte, error) bool) {
		buf := make([]byte, 0, min(size, 2048))
		count := 0
		var record [maxRecord]byte
		// finish yields what is in the buffer.
		finish := func() bool {
			if count == 0 {
				return true
			}
			buf[1], buf[4], buf[5] = syncID, byte(count), messageVersion
			binary.BigEndian.PutUint16(buf[2:], uint16(len(buf)))
			count = 0
			return yield(buf, nil)
		}
		for c := range conns {
			r, err := AppendConn(record[:0], c)
			if err == nil && headerLen+len(r) > size {
				err = fmt.Errorf("record of %s %s to %s: %d bytes do not fit into a message of %d", c.Protocol, c.Client, c.Virtual, len(r), size)
			}
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if count == maxConns || count > 0 && len(buf)+padding(len(buf))+len(r) > size {
				if !finish() {
					return
				}
			}
			if count == 0 {
				buf = append(buf[:0], make([]byte, headerLen)...)
			}
			for range padding(len(buf)) {
				buf = append(buf, 0)
			}
			buf = append(buf, r...)
			count++
		}
		finish()
	}
}
