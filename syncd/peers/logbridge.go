package peers

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// complaintInterval is how often memberlist may complain in the same way.
	complaintInterval = 10 * time.Minute
	// maxComplaints bounds the kinds of complaints that are told apart.
	maxComplaints = 64
)

// bridge takes memberlist's log lines, "[ERR] memberlist: Push/Pull with b failed: …",
// to slog. Warnings and errors become warnings, the first of each kind and then one in
// complaintInterval; all else, and what the package reports itself, is for debugging.
type bridge struct {
	logger *slog.Logger
	now    func() time.Time

	mu   sync.Mutex // guards said: memberlist logs from many goroutines
	said map[string]*complaint
}

type complaint struct {
	last       time.Time
	suppressed int // since last
}

func newBridge(logger *slog.Logger) *bridge {
	return &bridge{logger: logger, now: time.Now, said: make(map[string]*complaint)}
}

func (b *bridge) std() *log.Logger { return log.New(b, "", 0) }

// reportedHere begin the complaints that the package makes itself, with names: of an
// unknown director, and of a peer that cannot be reached.
var reportedHere = []string{"ignoring alive message", "Blocked alive", "Rejected node", "Failed fallback TCP ping"}

// Write takes one line. It never fails.
func (b *bridge) Write(line []byte) (int, error) {
	level, text := splitLine(string(line))
	if level == slog.LevelWarn {
		for _, p := range reportedHere {
			if strings.HasPrefix(text, p) {
				level = slog.LevelDebug
			}
		}
	}
	if level == slog.LevelDebug {
		b.logger.Debug("memberlist says", "text", text)
		return len(line), nil
	}
	if say, suppressed := b.admit(kindOf(text)); say {
		attrs := []slog.Attr{slog.String("text", text)}
		if suppressed > 0 {
			attrs = append(attrs, slog.Int("suppressed", suppressed))
		}
		b.logger.LogAttrs(context.Background(), slog.LevelWarn, "memberlist complains", attrs...)
	}
	return len(line), nil
}

// admit says whether a complaint of this kind is told now, and how many were not told
// since the last one that was.
func (b *bridge) admit(kind string) (say bool, suppressed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.said[kind]
	if c == nil {
		if len(b.said) >= maxComplaints {
			return false, 0
		}
		b.said[kind] = &complaint{last: b.now()}
		return true, 0
	}
	if b.now().Sub(c.last) < complaintInterval {
		c.suppressed++
		return false, 0
	}
	suppressed = c.suppressed
	*c = complaint{last: b.now()}
	return true, suppressed
}

// splitLine separates memberlist's level and prefix from the text.
func splitLine(line string) (slog.Level, string) {
	line = strings.TrimSpace(line)
	level := slog.LevelDebug
	if tag, rest, ok := strings.Cut(line, " "); ok && strings.HasPrefix(tag, "[") {
		line = rest
		if tag == "[ERR]" || tag == "[ERROR]" || tag == "[WARN]" {
			level = slog.LevelWarn
		}
	}
	return level, strings.TrimPrefix(line, "memberlist: ")
}

// kindOf is the part of a complaint that stays the same: what comes before the first
// colon, address or quotation, without numbers.
func kindOf(text string) string {
	for _, end := range []string{":", " from=", ` "`, " '", " ("} {
		text, _, _ = strings.Cut(text, end)
	}
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, text)
}
