package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The journal keeps the time itself, and takes each line's priority from its beginning.
func TestJournalLines(t *testing.T) {
	var b bytes.Buffer
	logger := slog.New(newJournalHandler(&b, "text", &slog.HandlerOptions{Level: slog.LevelDebug}))
	logger.Debug("d")
	logger.Info("i", "time", "a time of its own")
	logger.With("a", 1).Warn("w")
	logger.WithGroup("g").Error("e", "time", "inside")
	want := `<7>level=DEBUG msg=d
<6>level=INFO msg=i
<4>level=WARN msg=w a=1
<3>level=ERROR msg=e g.time=inside
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	b.Reset()
	slog.New(newJournalHandler(&b, "json", &slog.HandlerOptions{})).Warn("w")
	if got := b.String(); !strings.HasPrefix(got, `<4>{"time":"`) || !strings.HasSuffix(got, `,"level":"WARN","msg":"w"}`+"\n") {
		t.Errorf("json: %q", got)
	}
}

// JOURNAL_STREAM is inherited by programs whose output goes elsewhere.
func TestIsJournal(t *testing.T) {
	open := func(name string) (*os.File, string) {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		var s unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &s); err != nil {
			t.Fatal(err)
		}
		return f, fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	f, stream := open("journal")
	_, other := open("other")
	for _, tt := range []struct {
		name   string
		w      io.Writer
		stream string
		want   bool
	}{
		{"the journal", f, stream, true},
		{"another file", f, other, false},
		{"no journal", f, "", false},
		{"no file", new(bytes.Buffer), stream, false},
		{"nonsense", f, "x", false},
	} {
		if got := isJournal(tt.w, tt.stream); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
