package syncd_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/golden"
	"github.com/hadirector/hadirector/syncd"
)

// The messages of a kernel (TestKernelMessages wrote them down), what they say, and that
// the same connections give the same bytes.
func TestGoldenMessages(t *testing.T) {
	golden.Run(t, "testdata/*.txt", func(t *testing.T, input string) string {
		b := unhexMessage(t, input)
		m, err := syncd.ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("sync id %d\n", m.SyncID)
		for _, c := range m.Conns {
			text += c.String() + "\n"
		}
		for again, err := range syncd.Messages(m.SyncID, len(b), slices.Values(m.Conns)) {
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hexMessage(b), hexMessage(again)); diff != "" {
				t.Errorf("built again (-kernel +syncd):\n%s", diff)
			}
		}
		return text
	})
}

// hexMessage returns a message with its header and each of its records on a line.
func hexMessage(b []byte) string {
	var text strings.Builder
	for cut := 8; len(b) > 0; {
		cut = min(cut, len(b))
		for i, word := range slices.Collect(slices.Chunk(b[:cut], 4)) {
			if i > 0 {
				text.WriteByte(' ')
			}
			text.WriteString(hex.EncodeToString(word))
		}
		text.WriteByte('\n')
		if b = b[cut:]; len(b) >= 4 {
			cut = (int(binary.BigEndian.Uint16(b[2:])&0xfff) + 3) &^ 3
		}
	}
	return text.String()
}

func unhexMessage(t *testing.T, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.Join(strings.Fields(line), ""))
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A message as the kernel's header describes it: syncid 7, 36+8 bytes, one connection.
func TestParseMessage(t *testing.T) {
	b := unhexMessage(t, `
0007002c 01010000
00060024 00000083 00019c41 00500050 00000000 00000384 0a000001 0a000064 0a000015`)
	m, err := syncd.ParseMessage(b)
	if err != nil || m.SyncID != 7 || m.NotTaken != 0 || !slices.Equal(m.Conns, []syncd.Conn{tcp4}) {
		t.Errorf("got %v, %v", m, err)
	}
}

// Each check of ip_vs_process_message.
func TestParseMessageErrors(t *testing.T) {
	good := message(t, tcp4, shifted, udp6)
	shorter := func(n int) []byte {
		b := bytes.Clone(good[:n])
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		return b
	}
	for _, tt := range []struct {
		name  string
		b     []byte
		kind  error
		want  string
		taken int
	}{
		{"nothing", nil, syncd.ErrMalformed, "malformed sync message: 0 bytes, want at least 8", 0},
		{"half a header", good[:7], syncd.ErrMalformed, "malformed sync message: 7 bytes, want at least 8", 0},
		{"cut", good[:len(good)-1], syncd.ErrMalformed, "malformed sync message: 179 bytes that say they are 180", 0},
		{"version 0", changed(good, 0, 3), syncd.ErrVersion0, "sync message of version 0", 0},
		{"another version", changed(good, 5, 2), syncd.ErrVersion0, "sync message of version 0", 0},
		{"not zero", changed(good, 7, 1), syncd.ErrVersion0, "sync message of version 0", 0},
		{"more connections than there are", changed(good, 4, 4), syncd.ErrMalformed,
			"connection 4 of 4: malformed sync message: record of 0 bytes, want at least 36", 3},
		{"last connection is cut", shorter(179), syncd.ErrMalformed,
			"connection 3 of 3: malformed sync message: record of 72 bytes, 71 are left", 2},
		{"no padding", shorter(8 + 36 + 62), syncd.ErrMalformed,
			"connection 3 of 3: malformed sync message: record of 0 bytes, want at least 36", 2},
		{"second connection", changed(good, 8+36, 2), syncd.ErrMalformed,
			"connection 2 of 3: malformed sync message: record of type 2", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := syncd.ParseMessage(tt.b)
			if !errors.Is(err, tt.kind) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if want := []syncd.Conn{tcp4, shifted, udp6}[:tt.taken]; !slices.Equal(m.Conns, want) {
				t.Errorf("it has taken %v, want %v", m.Conns, want)
			}
		})
	}
}

// What the kernel drops of a message by itself.
func TestParseMessageNotTaken(t *testing.T) {
	b := message(t, tcp4, shifted, udp6)
	b[8+1] = 1 // ICMP
	m, err := syncd.ParseMessage(b)
	if err != nil || m.NotTaken != 1 || !slices.Equal(m.Conns, []syncd.Conn{shifted, udp6}) {
		t.Errorf("got %v, %v", m, err)
	}
	// What is behind the last connection is nobody's.
	b = append(message(t, tcp4), 1, 2, 3)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if m, err := syncd.ParseMessage(b); err != nil || !slices.Equal(m.Conns, []syncd.Conn{tcp4}) {
		t.Errorf("got %v, %v", m, err)
	}
}

// message is a message of all the connections.
func message(t testing.TB, cs ...syncd.Conn) []byte {
	t.Helper()
	for b, err := range syncd.Messages(7, 65507, slices.Values(cs)) {
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(b)
	}
	return nil
}

func TestMessagesAreSplit(t *testing.T) {
	invalid := tcp4
	invalid.State = 99
	many := slices.Repeat([]syncd.Conn{tcp4}, 600)
	for _, tt := range []struct {
		name  string
		size  int
		conns []syncd.Conn
		want  string // the length and the number of connections of each
	}{
		{"none", 1472, nil, ""},
		{"one that just fits", 44, many[:1], "44:1"},
		{"one that does not", 43, many[:1], "record of TCP 10.0.0.1:40001 to 10.0.0.100:80: 36 bytes do not fit into a message of 43"},
		{"two that just fit", 80, many[:3], "80:2 44:1"},
		{"two that do not", 79, many[:3], "44:1 44:1 44:1"},
		// 8 bytes, 62, padding of 2, 36.
		{"padding counts", 108, []syncd.Conn{shifted, tcp4}, "108:2"},
		{"padding does not fit", 107, []syncd.Conn{shifted, tcp4}, "70:1 44:1"},
		{"no padding in the end", 106, []syncd.Conn{tcp4, shifted}, "106:2"},
		{"the kernel's size", 1472, many, strings.Repeat("1448:40 ", 15)},
		{"the number has a byte", 65507, many, "9188:255 9188:255 3248:90"},
		{"a size that no datagram has", 1 << 20, many[:1], "44:1"},
		{"one that cannot be sent", 80, []syncd.Conn{tcp4, invalid, tcp4, tcp4},
			"record of TCP 10.0.0.1:40001 to 10.0.0.100:80: not taken by the kernel: TCP has no state 99 80:2 44:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for b, err := range syncd.Messages(7, tt.size, slices.Values(tt.conns)) {
				if err != nil {
					got = append(got, err.Error())
					continue
				}
				m, err := syncd.ParseMessage(b)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%d:%d", len(b), len(m.Conns)))
			}
			if diff := cmp.Diff(strings.TrimSpace(tt.want), strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A loop over messages may end early.
func TestMessagesStop(t *testing.T) {
	for range syncd.Messages(7, 44, slices.Values([]syncd.Conn{tcp4, tcp4, tcp4})) {
		break
	}
	for range syncd.Messages(7, 10, slices.Values([]syncd.Conn{tcp4, tcp4, tcp4})) {
		break
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add(message(f, tcp4, udp6, shifted), uint16(100))
	f.Add(message(f, call, tcp4), uint16(1472))
	f.Add([]byte("\x01\x07\x00\x04"), uint16(0)) // version 0
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		m, err := syncd.ParseMessage(b)
		if err != nil && errors.Is(err, syncd.ErrMalformed) == errors.Is(err, syncd.ErrVersion0) {
			t.Fatalf("%v is not one of the two kinds", err)
		}
		if n := cap(m.Conns); n > len(b)/36 {
			t.Fatalf("memory for %d connections of %d bytes", n, len(b))
		}
		// Everything that was taken can be sent, in datagrams of any size, and arrives.
		var again []syncd.Conn
		for built, err := range syncd.Messages(m.SyncID, int(size), slices.Values(m.Conns)) {
			if err != nil {
				if size >= 1024 {
					t.Fatalf("messages of %d bytes: %v", size, err)
				}
				return
			}
			if len(built) > int(size) {
				t.Fatalf("a message has %d bytes, at most %d were wanted", len(built), size)
			}
			part, err := syncd.ParseMessage(built)
			if err != nil || part.NotTaken > 0 || part.SyncID != m.SyncID || len(part.Conns) == 0 {
				t.Fatalf("built %x, which is %v, %v", built, part, err)
			}
			again = append(again, part.Conns...)
		}
		if !slices.Equal(again, m.Conns) {
			t.Fatalf("%v\nbecame %v", m.Conns, again)
		}
	})
}

func BenchmarkParseMessage(b *testing.B) {
	var msg []byte
	for msg = range syncd.Messages(7, 1472, slices.Values(slices.Repeat([]syncd.Conn{tcp4}, 40))) {
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := syncd.ParseMessage(msg); err != nil {
			b.Fatal(err)
		}
	}
}
