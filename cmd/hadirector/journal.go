package main

import (
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
)

// recorder is a director.Recorder over the journal.
type recorder struct{ *journal.Journal }

// Record appends an event.
func (r recorder) Record(e director.Event) {
	r.Append(journal.Record{
		At: e.At, Kind: journal.Kind(e.Kind), Object: e.Object,
		From: e.From, To: e.To, Reason: e.Reason, Text: e.Text, Attrs: e.Attrs,
	})
}
