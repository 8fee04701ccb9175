package director

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// sees delivers verdicts on both real servers.
func (m *member) sees(first, second healthcheck.Status) {
	m.verdict("10.0.0.21:80", first, errors.New("no route to host"))
	m.verdict("10.0.0.22:80", second, errors.New("no route to host"))
}

// A director that sees no real server, while the other does, leaves mastership to that one.
func TestBlindDirectorGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, down := healthcheck.Up, healthcheck.Down
		s := newSite(t)
		defer s.end()
		priorities := func(a, b int) {
			t.Helper()
			if got := [2]int{int(s.a.vrrp.applied("web").Priority), int(s.b.vrrp.applied("web").Priority)}; got != [2]int{a, b} {
				t.Errorf("priorities %v, want %v", got, [2]int{a, b})
			}
		}
		s.a.verdict("10.0.0.21:80", up, nil)
		s.b.sees(up, up)
		s.a.verdict("10.0.0.21:80", down, errors.New("no route to host"))
		priorities(15, 100) // it is not ready: a check has no verdict
		s.a.sees(up, up)
		priorities(150, 100)
		s.a.sees(down, up)
		s.b.sees(up, down)
		priorities(150, 100) // they disagree, and each sees some
		s.a.sees(down, down)
		priorities(15, 100)
		if r := s.a.d.Status().VirtualRouters[0]; r.Lowered != "every check fails here, and lb-b sees real servers that pass" {
			t.Errorf("lowered: %q", r.Lowered)
		}
		s.b.sees(down, down)
		priorities(15, 100) // lb-b is Master by now
		s.b.sees(up, down)
		s.link(false)
		priorities(150, 100) // nobody is known to see more
		s.link(true)
		priorities(15, 100)
		s.a.sees(down, up)
		priorities(150, 100)
		s.b.sees(down, down)
		priorities(150, 10)
		if diff := cmp.Diff([]string{
			"sight-lost lb-a: every check fails here, and lb-b sees real servers that pass",
			"sight-back lb-a: real servers pass here too, or none passes anywhere",
			"sight-lost lb-a: every check fails here, and lb-b sees real servers that pass",
			"sight-back lb-a: real servers pass here too, or none passes anywhere",
		}, s.a.recorded("sight-")); diff != "" {
			t.Errorf("journal -want +got:\n%s", diff)
		}
	})
}

// Both lose a real server of the only kind at different times: that is no fault of the first.
func TestBlinded(t *testing.T) {
	mine, other := [16]byte{1}, [16]byte{2}
	peer := func(name string, alive bool, fingerprint [16]byte, sight Sight) Peer {
		return Peer{Name: name, Alive: alive, Announcement: Announcement{Fingerprint: fingerprint, Sight: sight}}
	}
	for _, tt := range []struct {
		name  string
		sight Sight
		was   string
		peers []Peer
		want  string
	}{
		{"another sees some", SightNone, "", []Peer{peer("b", true, mine, SightSome)}, "b"},
		{"nobody does", SightNone, "", []Peer{peer("b", true, mine, SightNone)}, ""},
		{"it does not tell", SightNone, "", []Peer{peer("b", true, mine, SightUnknown)}, ""},
		{"it is gone", SightNone, "b", []Peer{peer("b", false, mine, SightSome)}, ""},
		{"it asks something else", SightNone, "b", []Peer{peer("b", true, other, SightSome)}, ""},
		{"it sees none any more", SightNone, "b", []Peer{peer("b", true, mine, SightNone)}, "b"},
		{"a third one does", SightNone, "b", []Peer{peer("b", true, mine, SightNone), peer("c", true, mine, SightSome)}, "c"},
		{"this one sees some", SightSome, "b", []Peer{peer("b", true, mine, SightSome)}, ""},
		{"this one does not know", SightUnknown, "b", []Peer{peer("b", true, mine, SightSome)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := blinded(tt.sight, tt.was, tt.peers, mine); got != tt.want {
				t.Errorf("blinded by %q, want %q", got, tt.want)
			}
		})
	}
}
