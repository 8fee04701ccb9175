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
		Director: e.Origin.Director, DirectorAt: e.Origin.At, DirectorRun: e.Origin.Run, DirectorSeq: e.Origin.Number,
	})
}

// journalled is what the journal has of other directors' events.
func journalled(j *journal.Journal) director.Journalled {
	var known director.Journalled
	records := j.Recent()
	if len(records) > 0 && records[0].Seq > 1 {
		known.Since = records[0].At
	}
	for _, r := range records {
		if r.Director != "" {
			known.Origins = append(known.Origins, director.Origin{Director: r.Director, At: r.DirectorAt, Run: r.DirectorRun, Number: r.DirectorSeq})
		}
	}
	return known
}
