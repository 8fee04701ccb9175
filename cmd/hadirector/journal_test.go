package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
)

// What other directors have told is known again from the journal.
func TestJournalKnowsOtherDirectorsEvents(t *testing.T) {
	j := journal.Open(journal.Options{Memory: 4})
	r := recorder{j}
	origin := func(number uint64) director.Origin {
		return director.Origin{Director: "lb-b", At: at.UTC().Add(-time.Minute), Run: 1795262400000000, Number: number}
	}
	r.Record(director.Event{At: at, Kind: director.EventStart})
	r.Record(director.Event{At: at, Kind: director.EventTransition, Object: "web", To: "master", Origin: origin(1)})
	if diff := cmp.Diff(director.Journalled{Origins: []director.Origin{origin(1)}}, journalled(j)); diff != "" {
		t.Errorf("all of it -want +got:\n%s", diff)
	}
	for n := uint64(2); n < 8; n++ {
		r.Record(director.Event{At: at.Add(time.Duration(n) * time.Second), Kind: director.EventTransition, Object: "web", To: "master", Origin: origin(n)})
	}
	got := journalled(j)
	if n := len(got.Origins); n == 0 || n > 5 || got.Origins[n-1] != origin(7) || !got.Since.Equal(at.Add(time.Duration(got.Origins[0].Number)*time.Second)) {
		t.Errorf("without its beginning: %+v", got)
	}
}
