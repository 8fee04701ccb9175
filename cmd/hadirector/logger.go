package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// newLogger is a log of a format, text or json, from a level on.
func newLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if isJournal(w, os.Getenv("JOURNAL_STREAM")) {
		return slog.New(newJournalHandler(w, format, o))
	}
	return slog.New(newHandler(w, format, o))
}

func newHandler(w io.Writer, format string, o *slog.HandlerOptions) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// isJournal tells whether w is what stream says that the journal reads: the device and the
// inode of the service's output (systemd.exec(5), JOURNAL_STREAM).
func isJournal(w io.Writer, stream string) bool {
	f, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	var s unix.Stat_t
	return unix.Fstat(int(f.Fd()), &s) == nil && stream == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// journalHandler writes lines that the journal takes apart: each begins with its priority
// (sd-daemon(3)), and text has no time, because the journal has its own.
type journalHandler struct {
	slog.Handler // writes to line
	out          *journalOutput
}

// journalOutput is what a handler and those made from it share.
type journalOutput struct {
	mu   sync.Mutex // guards line
	line bytes.Buffer
	w    io.Writer
}

func newJournalHandler(w io.Writer, format string, o *slog.HandlerOptions) journalHandler {
	if format != "json" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	out := &journalOutput{w: w}
	return journalHandler{newHandler(&out.line, format, o), out}
}

// Handle writes one line.
func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	h.out.line.WriteString(journalPriority(r.Level))
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.line.Bytes())
	return err
}

// WithAttrs returns a handler that adds attributes.
func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

// WithGroup returns a handler that puts attributes into a group.
func (h journalHandler) WithGroup(name string) slog.Handler {
	return journalHandler{h.Handler.WithGroup(name), h.out}
}

// journalPriority is a level in the words of syslog(3): err, warning, info, debug.
func journalPriority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}
