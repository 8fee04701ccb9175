package director

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Why overrides end without being asked to.
const (
	endExpired = "its time is over"
	endRemoved = "the real server is not in the configuration any more"
)

// ended is why an override of a real server that the configuration names, or named, is not
// in force any more.
func (r Register) ended(now time.Time, self string) string {
	switch {
	case r.Kind == OverrideNone && r.By == "":
		return r.Reason
	case r.Kind == OverrideNone:
		return "enabled by " + r.by(self)
	case r.over(now):
		return endExpired
	}
	return endRemoved
}

// by is who asked for it, and where if that was not here.
func (o Override) by(self string) string {
	if o.Director == self {
		return o.By
	}
	return o.By + " on " + o.Director
}

// logOverride says an override once, in the log and in the journal.
func (d *Director) logOverride(id ServerID, was, is Override) {
	d.o.Logger.Info("override set", is.attrs(id)...)
	text := []string{fmt.Sprintf("%s of %s by %s", is, id, is.by(d.o.Self))}
	if !is.Until.IsZero() {
		text = append(text, "until "+is.Until.Format(time.RFC3339))
	}
	if is.Reason != "" {
		text = append(text, is.Reason)
	}
	e := Event{At: is.At, Kind: EventOverrideSet, Object: id.String(), To: is.String(), Text: strings.Join(text, ", ")}
	if was.Kind != "" {
		e.From = was.String()
	}
	d.record(e)
}

// endOverride says that an override has ended.
func (d *Director) endOverride(id ServerID, was Override, why string) {
	level := slog.LevelInfo
	if why == endRemoved {
		level = slog.LevelWarn
	}
	d.log(level, "override ended", "virtual_server", id.VirtualServer, "real_server", id.RealServer, "override", was.String(), "reason", why)
	d.record(Event{Kind: EventOverrideEnded, Object: id.String(), From: was.String(), Text: fmt.Sprintf("%s of %s ended: %s", was, id, why)})
}

// attrs are an override's for the log.
func (o Override) attrs(id ServerID) []any {
	attrs := []any{"virtual_server", id.VirtualServer, "real_server", id.RealServer, "override", o.String(), "by", o.By, "director", o.Director}
	if !o.Until.IsZero() {
		attrs = append(attrs, "until", o.Until.Format(time.RFC3339))
	}
	if o.Reason != "" {
		attrs = append(attrs, "reason", o.Reason)
	}
	return attrs
}
