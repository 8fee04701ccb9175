package director

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

// foreign returns what the journal has of other directors' events, and what it knows when
// it is read again.
func (w *world) foreign() (list []string, known Journalled) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Origin.Director != "" {
			list = append(list, fmt.Sprintf("%s %d %s %s %s->%s %s priority %s: %s", e.Origin.Director, e.Origin.Number, e.Kind, e.Object, e.From, e.To, e.Reason, e.Attrs["priority"], e.Text))
			known.Origins = append(known.Origins, e.Origin)
		}
	}
	return list, known
}

func (m *member) wantForeign(want ...string) {
	m.t.Helper()
	got, _ := m.foreign()
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s: journal of others -want +got:\n%s", m.name, diff)
	}
}

const (
	bStarted = "lb-b 1 vrrp-transition web stopped->backup startup priority 10: backup: started"
	bTook    = "lb-b 2 vrrp-transition web backup->master master-down priority 10: master, was backup: no advertisement from lb-b"
	bGave    = "lb-b 3 vrrp-transition web master->backup higher-priority priority 10: backup, was master: lb-b has the higher priority 100"
)

func TestBothJournalsHaveAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, relayTOML)
		defer d.end()
		d.b.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		d.a.wantForeign(bStarted)
		d.link(false)
		took := time.Now()
		d.b.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		passes(time.Minute)
		d.a.wantForeign(bStarted)
		d.link(true)
		d.a.wantForeign(bStarted, bTook)
		for _, e := range d.a.events {
			if o := e.Origin; o.Number == 2 && (!o.At.Equal(took) || !e.At.Equal(took.Add(time.Minute)) || o.Run == 0) {
				t.Errorf("it happened at %v, was told at %v, of run %d", o.At, e.At, o.Run)
			}
		}
		d.link(false)
		d.link(true)
		d.a.wantForeign(bStarted, bTook) // not again

		// What a director has been told it does not tell on, and nothing goes round.
		d.b.wantForeign()
		if n := d.setsOf("lb-a", noteFailovers); n != 0 {
			t.Errorf("lb-a has told %d times of what is not its own", n)
		}

		_, known := d.a.foreign()
		d.restart(d.a, relayTOML, known)
		d.b.becomes(vrrp.Master, vrrp.Backup, vrrp.ReasonHigherPriority)
		d.a.wantForeign(bStarted, bTook, bGave)

		d.restart(d.b, relayTOML, Journalled{})
		d.b.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		got, _ := d.a.foreign()
		if last := got[len(got)-1]; last != bStarted { // another run of it
			t.Errorf("after a restart there the last is %s", last)
		}
	})
}

// A journal that has forgotten its beginning does not learn it again.
func TestOldFailoversStayForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, relayTOML)
		defer d.end()
		d.b.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		time.Sleep(time.Hour)
		d.b.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		d.a.events = nil
		d.restart(d.a, relayTOML, Journalled{Since: time.Now().Add(-time.Minute)})
		d.a.wantForeign(bTook)
	})
}

func TestOnlyTheNewestFailoversAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, relayTOML)
		defer d.end()
		d.link(false)
		for i := range 50 {
			from, to := vrrp.Backup, vrrp.Master
			if i%2 == 1 {
				from, to = to, from
			}
			d.b.becomes(from, to, vrrp.ReasonMasterDown)
		}
		d.link(true)
		_, known := d.a.foreign()
		if n := len(known.Origins); n != maxFailovers || known.Origins[0].Number != 19 || known.Origins[n-1].Number != 50 {
			t.Errorf("%d are told: %v", n, known.Origins)
		}
	})
}

// What is remembered of another director's runs is bounded, and never that of the one
// that speaks.
func TestRunsThatAreRemembered(t *testing.T) {
	f := newFailovers(time.Now(), Journalled{})
	for run := uint64(1000); run < 2000; run++ {
		if !f.enter("lb-b", run, 7) || f.enter("lb-b", run, 7) {
			t.Fatalf("run %d", run)
		}
	}
	if !f.enter("lb-b", 3, 1) || f.enter("lb-b", 3, 1) || !f.enter("lb-b", 3, 2) {
		t.Error("a run after the clock was set back is not remembered")
	}
	if n := len(f.entered["lb-b"]); n != maxRuns {
		t.Errorf("%d runs, want %d", n, maxRuns)
	}
}

// littleFailovers are two events.
func littleFailovers() failoversNote {
	at := noonViews.UTC()
	return failoversNote{Run: 1795262400000000, Events: []failover{
		{Number: 3, At: at, Object: "web", From: "backup", To: "master", Reason: "master-down", Text: "master", Attrs: map[string]string{"priority": "100"}},
		{Number: 4, At: at.Add(time.Second), Object: "web", From: "master", To: "fault"},
	}}
}

func TestFailoversOnTheWire(t *testing.T) {
	b := littleFailovers().encode()
	const want = "\x01" + `{"run":1795262400000000,"events":[` +
		`{"number":3,"at":"2026-11-21T12:00:00Z","object":"web","from":"backup","to":"master","reason":"master-down","text":"master","attrs":{"priority":"100"}},` +
		`{"number":4,"at":"2026-11-21T12:00:01Z","object":"web","from":"master","to":"fault","reason":"","text":""}]}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("note -want +got:\n%s", diff)
	}
	got, err := parseFailovers(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(littleFailovers(), got); diff != "" {
		t.Errorf("read -want +got:\n%s", diff)
	}
}

// However long its texts, a note fits.
func TestFailoversFit(t *testing.T) {
	long := strings.Repeat("<\n", 4000)
	var n failoversNote
	for i := range maxFailovers {
		n.Events = append(n.Events, failoverOf(uint64(i+1), Event{Object: long, From: long, To: long, Reason: long, Text: long, Attrs: map[string]string{"detail": long}}))
	}
	b := n.encode()
	got, err := parseFailovers(b)
	if err != nil || len(b) > maxNote || len(got.Events) == 0 || got.Events[len(got.Events)-1].Number != maxFailovers {
		t.Errorf("%d bytes, %d events, error %v", len(b), len(got.Events), err)
	}
}

func TestParseFailoversRefuses(t *testing.T) {
	event := func(s string) string { return "\x01" + `{"run":1,"events":[` + s + `]}` }
	const at = `"at":"2026-11-21T12:00:00Z","object":"web","to":"master"`
	for _, tt := range []struct{ name, note, want string }{
		{"nothing", "", "version: 1 bytes are missing"},
		{"a later version", "\x02{}", "version 2, want 1"},
		{"no JSON", "\x01{", "unexpected end of JSON input"},
		{"too long", strings.Repeat("\x01", maxNote+1), "61441 bytes, want at most 61440"},
		{"too many", event(strings.TrimSuffix(strings.Repeat("{},", 33), ",")), "33 events, want at most 32"},
		{"no number", event("{" + at + "}"), "event 0: comes after number 0"},
		{"twice", event(`{"number":1,` + at + `},{"number":1,` + at + `}`), "event 1: comes after number 1"},
		{"no time", event(`{"number":1,"object":"web","to":"master"}`), "event 1: a time that is in no calendar"},
		{"no state", event(`{"number":1,"at":"2026-11-21T12:00:00Z","object":"web"}`), "event 1: without a virtual router or a state, or with too many attributes"},
		{"a control character", event(`{"number":1,"text":"\u001b[31m",` + at + `}`), "event 1: a text that is too long or cannot be printed"},
		{"a long attribute", event(`{"number":1,"attrs":{"x":"` + strings.Repeat("x", 501) + `"},` + at + `}`), "event 1: a text that is too long or cannot be printed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := parseFailovers([]byte(tt.note))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if diff := cmp.Diff(failoversNote{}, n); diff != "" {
				t.Errorf("read all the same:\n%s", diff)
			}
		})
	}
}

// What is accepted can be told on, and means the same then.
func FuzzParseFailovers(f *testing.F) {
	f.Add(littleFailovers().encode())
	f.Add([]byte("\x01{}"))
	f.Add([]byte("\x01" + `{"run":1,"events":[{"number":1,"at":"1970-01-01T00:00:00+23:59","object":"<","to":"\ud800"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseFailovers(b)
		if err != nil {
			return
		}
		before := uint64(0)
		for _, e := range n.Events {
			if e.Number <= before || !printable(e.Text) || len(e.Text) > maxFailoverText || !tellable(e.At) {
				t.Errorf("accepted %+v", e)
			}
			before = e.Number
		}
		again := n.encode()
		if len(again) > maxNote {
			t.Fatalf("%d bytes", len(again))
		}
		got, err := parseFailovers(again)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Events) < len(n.Events) {
			return // what is told in a shorter way than ours may have no room
		}
		if !cmp.Equal(got, n) {
			if again, twice := string(n.encode()), string(got.encode()); again != twice {
				t.Errorf("first %s\nagain %s", again, twice)
			}
		}
	})
}
