package director

import (
	"errors"
	"strings"
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
		if r := s.a.d.Status().VirtualRouters[0]; r.Lowered != "every check fails here, and lb-b has seen real servers that pass" {
			t.Errorf("lowered: %q", r.Lowered)
		}
		s.b.sees(down, down)
		priorities(15, 100) // lb-b is Master by now
		s.b.sees(up, down)
		s.link(false)
		priorities(15, 100) // whoever is left is Master with that too
		s.link(true)
		priorities(15, 100)
		s.a.sees(down, up)
		priorities(150, 100)
		s.b.sees(down, down)
		priorities(150, 10)
		if diff := cmp.Diff([]string{
			"sight-lost lb-a: every check fails here, and lb-b sees real servers that pass",
			"sight-back lb-a: real servers pass here again",
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
		{"it is not heard", SightNone, "", []Peer{peer("b", false, mine, SightSome)}, ""},
		{"it is not heard any more", SightNone, "b", []Peer{peer("b", false, mine, SightSome)}, "b"},
		{"it asks something else", SightNone, "", []Peer{peer("b", true, other, SightSome)}, ""},
		{"a reload is there first", SightNone, "b", []Peer{peer("b", true, other, SightSome)}, "b"},
		{"there is no membership just now", SightNone, "b", nil, "b"},
		{"it sees none any more", SightNone, "b", []Peer{peer("b", true, mine, SightNone)}, "b"},
		{"a third one does", SightNone, "b", []Peer{peer("b", true, mine, SightNone), peer("c", true, mine, SightSome)}, "c"},
		{"this one sees some", SightSome, "b", []Peer{peer("b", true, mine, SightSome)}, ""},
		{"this one does not know", SightUnknown, "", []Peer{peer("b", true, mine, SightSome)}, ""},
		{"this one does not know for a while", SightUnknown, "b", []Peer{peer("b", true, mine, SightSome)}, "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := blinded(tt.sight, tt.was, tt.peers, mine); got != tt.want {
				t.Errorf("blinded by %q, want %q", got, tt.want)
			}
		})
	}
}

// A blind director that cannot hear the other one, or whose own view is not complete just now,
// takes nothing back: it still sees no real server.
func TestBlindDirectorStaysBelow(t *testing.T) {
	up, down := healthcheck.Up, healthcheck.Down
	other := keyedTOML + "\n[check.unused]\ntype = \"tcp\"\n"
	more := strings.Replace(keyedTOML, `check     = "alive"`, `check     = ["alive", "more"]`, 1) + "\n[check.more]\ntype = \"tcp\"\n"
	for name, event := range map[string]func(s *site){
		"the membership is cut":      func(s *site) { s.link(false); s.link(true) },
		"a reload here":              func(s *site) { s.a.reload(s.a.d, other) },
		"a reload there":             func(s *site) { s.b.reload(s.b.d, other) },
		"one check more":             func(s *site) { s.a.reload(s.a.d, more); s.b.reload(s.b.d, more) },
		"the other sees none either": func(s *site) { s.b.sees(down, down) },
		"the other restarts": func(s *site) {
			if err := s.b.stop(); err != nil {
				s.t.Error(err)
			}
			s.b.start(keyedTOML)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				defer s.end()
				s.a.sees(up, up)
				s.b.sees(up, up)
				s.a.sees(down, down)
				s.a.told()
				event(s)
				for _, line := range s.a.told() {
					if strings.HasPrefix(line, "vrrp web priority") && !strings.HasPrefix(line, "vrrp web priority 15 ") {
						t.Errorf("a blind director: %s", line)
					}
				}
			})
		})
	}
}

// Without the membership or without checks there is nothing to be compared with.
func TestBlindDirectorWithNothingToCompare(t *testing.T) {
	up, down := healthcheck.Up, healthcheck.Down
	for name, next := range map[string]string{
		"no membership": pairTOML,
		"no checks":     strings.Replace(keyedTOML, `check     = "alive"`, "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				defer s.end()
				s.a.sees(up, up)
				s.b.sees(up, up)
				s.a.sees(down, down)
				s.a.reload(s.a.d, next)
				if got := s.a.vrrp.applied("web").Priority; got != 150 {
					t.Errorf("priority %d, want 150", got)
				}
				if diff := cmp.Diff([]string{"sight-back lb-a: lb-b is not compared with any more"}, s.a.recorded("sight-back")); diff != "" {
					t.Errorf("journal -want +got:\n%s", diff)
				}
			})
		})
	}
}

// A director that starts blind beside one that sees is not better than that for a moment.
func TestDirectorThatStartsBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		s.b.sees(healthcheck.Up, healthcheck.Up)
		s.a.sees(healthcheck.Down, healthcheck.Down)
		for _, line := range s.a.told() {
			if strings.HasPrefix(line, "vrrp web priority 150") {
				t.Error(line)
			}
		}
		if got := s.a.vrrp.applied("web").Priority; got != 15 {
			t.Errorf("priority %d, want 15", got)
		}
	})
}
