package healthcheck

import (
	"fmt"
	"strconv"
	"strings"
)

// Statuses is a set of HTTP statuses, 100 to 599 (RFC 9110 section 15).
type Statuses [8]uint64

const leastStatus, mostStatus = 100, 599

// Has reports whether the status is in the set.
func (s *Statuses) Has(status int) bool {
	if status < leastStatus || status > mostStatus {
		return false
	}
	n := status - leastStatus
	return s[n/64]>>(n%64)&1 != 0
}

func (s *Statuses) add(least, most int) {
	for n := least - leastStatus; n <= most-leastStatus; n++ {
		s[n/64] |= 1 << (n % 64)
	}
}

// String returns the ranges, "200-299,301", each status once and in order.
func (s *Statuses) String() string {
	var ranges []string
	for least := leastStatus; least <= mostStatus; least++ {
		if !s.Has(least) {
			continue
		}
		most := least
		for s.Has(most + 1) {
			most++
		}
		text := strconv.Itoa(least)
		if most > least {
			text += "-" + strconv.Itoa(most)
		}
		ranges = append(ranges, text)
		least = most
	}
	return strings.Join(ranges, ",")
}

// ParseStatuses reads statuses and ranges of them, "200-299,301".
func ParseStatuses(text string) (Statuses, error) {
	var s Statuses
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		least, okLeast := statusCode(from)
		most, okMost := statusCode(to)
		switch {
		case !okLeast || !okMost:
			return Statuses{}, fmt.Errorf("%q is not a status or a range of them, such as \"200-299\", with numbers from %d to %d", cut(part), leastStatus, mostStatus)
		case least > most:
			return Statuses{}, fmt.Errorf("%q is an empty range: write \"%d-%d\"", part, most, least)
		}
		s.add(least, most)
	}
	return s, nil
}

func statusCode(s string) (int, bool) {
	v, err := strconv.Atoi(s)
	return v, err == nil && len(s) == 3 && v >= leastStatus && v <= mostStatus
}

// cut keeps a message short.
func cut(s string) string {
	const longest = 60
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}
