package director

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode"

	"github.com/hadirector/hadirector/healthcheck"
)

// views are a director's verdicts on all its checked real servers, as it tells them to
// the others. A real server is named by its place in a list that both make of their
// configurations; list is that list's digest, and where it is another one nothing can be
// said. So the verdicts on a hundred thousand real servers fit into a note, and the causes
// of those that are down as far as there is room.
type views struct {
	list   [16]byte
	status []healthcheck.Status // by place
	down   []downView           // by place, none twice
	// truncated says that something is missing: verdicts on the last real servers, or why
	// and since when some of them are down.
	truncated bool
}

// downView is why and since when a real server is down.
type downView struct {
	place int
	cause string    // empty: not told
	since time.Time // to the second, by the clock of the one who says so
}

const (
	viewsVersion = 1
	// maxViews is on how many real servers a note has verdicts.
	maxViews = 1 << 17
	// maxCause is the length of a cause, and maxCauses that of all together, in bytes.
	maxCause, maxCauses = 200, 14 << 10
	// maxSecond is the last second that has a year of four digits.
	maxSecond = 253402300799
)

// encode returns the note: version, digest, how many verdicts, two bits for each, whether
// it is truncated; then the causes, each once, and the real servers that are down, each
// with its distance from the one before, its cause counted from 1, and the seconds from
// the first of all.
func (v views) encode() []byte {
	truncated := v.truncated || len(v.status) > maxViews
	status := v.status[:min(len(v.status), maxViews)]
	b := append([]byte{viewsVersion}, v.list[:]...)
	b = binary.AppendUvarint(b, uint64(len(status)))
	packed := make([]byte, (len(status)+3)/4)
	for i, s := range status {
		packed[i/4] |= byte(s&3) << (i % 4 * 2)
	}
	b = append(b, packed...)
	first := int64(maxSecond)
	var causes []byte
	number, numbers := map[string]uint64{"": 0}, uint64(0)
	for _, d := range v.down {
		first = min(first, second(d.since))
		if _, known := number[d.cause]; known {
			continue
		}
		text := told(d.cause, maxCause)
		if text == "" || len(causes)+len(text) > maxCauses {
			number[d.cause], truncated = 0, true
			continue
		}
		numbers++
		number[d.cause] = numbers
		causes = append(binary.AppendUvarint(causes, uint64(len(text))), text...)
	}
	const heads = 1 + 3*binary.MaxVarintLen64 // the flag and the numbers before the lists
	room := maxNote - len(b) - heads - len(causes)
	var downs []byte
	n, before := 0, 0
	for _, d := range v.down {
		one := binary.AppendUvarint(nil, uint64(d.place-before))
		one = binary.AppendUvarint(one, number[d.cause])
		one = binary.AppendUvarint(one, uint64(second(d.since)-first))
		if d.place >= len(status) || len(downs)+len(one) > room {
			truncated = true
			break
		}
		downs, before = append(downs, one...), d.place
		n++
	}
	flag := byte(0)
	if truncated {
		flag = 1
	}
	b = append(b, flag)
	b = append(binary.AppendUvarint(b, numbers), causes...)
	b = binary.AppendUvarint(b, uint64(n))
	if n > 0 {
		b = binary.AppendUvarint(b, uint64(first))
	}
	return append(b, downs...)
}

// parseViews reads what another director has told, all of it or nothing.
func parseViews(b []byte) (views, error) {
	var v views
	r := noteReader{rest: b}
	if len(b) > maxNote {
		r.fail("%d bytes, want at most %d", len(b), maxNote)
	}
	r.version(viewsVersion)
	copy(v.list[:], r.bytes(len(v.list), "digest"))
	total := int(r.uint(maxViews, "verdicts"))
	packed := r.bytes((total+3)/4, "verdicts")
	if r.err == nil {
		v.status = make([]healthcheck.Status, total)
	}
	for i := range len(packed) * 4 {
		s := healthcheck.Status(packed[i/4] >> (i % 4 * 2) & 3)
		switch {
		case i >= total && s != 0:
			r.fail("verdict after the last one")
		case s > healthcheck.Down:
			r.fail("verdict %d is none", s)
		case i < total:
			v.status[i] = s
		}
	}
	flag := r.bytes(1, "flags")
	if flag != nil && flag[0] > 1 {
		r.fail("flags %d, want 0 or 1", flag[0])
	}
	v.truncated = flag != nil && flag[0] == 1
	causes := make([]string, 1, 16)
	for range r.uint(maxCauses, "causes") {
		text := string(r.bytes(int(r.uint(maxCause, "cause")), "cause"))
		if r.err == nil && (text == "" || !printable(text)) {
			r.fail("cause %q is no text", text)
		}
		if r.err != nil {
			break
		}
		causes = append(causes, text)
	}
	n, first := r.uint(uint64(total), "real servers that are down"), int64(0)
	if n > 0 {
		first = int64(r.uint(maxSecond, "time"))
	}
	place := 0
	for i := range n {
		step := r.uint(maxViews, "place")
		if i > 0 && step == 0 {
			r.fail("place %d twice", place)
		}
		place += int(step)
		cause := r.uint(uint64(len(causes)-1), "cause")
		at := first + int64(r.uint(uint64(maxSecond-first), "time"))
		if r.err == nil && (place >= total || v.status[place] != healthcheck.Down) {
			r.fail("place %d is not down", place)
		}
		if r.err != nil {
			break
		}
		v.down = append(v.down, downView{place: place, cause: causes[cause], since: time.Unix(at, 0)})
	}
	if err := r.end(); err != nil {
		return views{}, err
	}
	return v, nil
}

// second is a time as a note has it.
func second(t time.Time) int64 { return min(max(t.Unix(), 0), maxSecond) }

// told is a text as a note has it: printable, and at most most bytes.
func told(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
