package director

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// What an operator, a reload or a check's word takes away is gone at once, while other directors
// see real servers: only a failing check may be this director's own fault.
func TestQuorumLossThatNoFailureMakes(t *testing.T) {
	up, down := healthcheck.Up, healthcheck.Down
	override := func(s *site, kind OverrideKind, target string) {
		s.a.change(s.a.d, OverrideRequest{Target: target, Kind: kind})
	}
	for _, tt := range []struct {
		name string
		keys string
		play func(s *site)
		want string // of what lb-a has run, at once
	}{
		{"drained", "", func(s *site) { s.a.drain("web/web-1"); s.a.drain("web/web-2") }, "web down"},
		{"disabled", "quorum = 2", func(s *site) { override(s, OverrideDisable, "web/web-2") }, "web down"},
		{"weight 0", "quorum = 2", func(s *site) { override(s, OverrideWeight, "web/web-2") }, "web down"},
		{"a check's word", "quorum = 2", func(s *site) {
			s.a.health.events <- healthcheck.Event{Target: target("10.0.0.22:80"), Status: up, Value: percent(0)}
		}, "web down"},
		{"a reload, here and there", "quorum = 2", func(s *site) {
			toml := strings.Replace(hooked(keyedTOML, "quorum = 2"), "weight = 2", "weight = 0", 1)
			reload(s.t, s.b.d, toml)
			reload(s.t, s.a.d, toml)
		}, "web down"},
		{"drained, and another has failed long ago", "", func(s *site) {
			s.a.health.fails()
			s.a.sees(up, down)
			time.Sleep(time.Second)
			s.a.health.pass()
			time.Sleep(time.Hour)
			s.a.drain("web/web-1")
		}, "web down"},
		{"drained, and another has just failed", "", func(s *site) {
			s.a.health.pass()
			time.Sleep(time.Second)
			s.a.health.fails()
			s.a.sees(up, down)
			s.a.drain("web/web-1")
		}, ""},
		{"drained, in a panic of a director that sees nothing", "panic_threshold = 0.5", func(s *site) {
			s.a.sees(down, down)
			s.a.drain("web/web-1")
			s.a.drain("web/web-2")
		}, "web down"},
		{"one drained, and the other fails", "", func(s *site) {
			s.a.drain("web/web-1")
			s.a.health.fails()
			s.a.sees(up, down)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &site{segment: &segment{ends: make(map[string]*end), old: make(map[string]bool)}, t: t}
				s.a, s.b = s.join("lb-a"), s.join("lb-b")
				s.a.start(hooked(keyedTOML, tt.keys))
				s.b.start(hooked(keyedTOML, tt.keys))
				defer s.end()
				s.a.sees(up, up)
				s.b.sees(up, up)
				if got := s.a.hooks.told(); got != "web up" {
					t.Fatalf("hooks %q", got)
				}
				tt.play(s)
				synctest.Wait()
				if got := s.a.hooks.told(); got != tt.want {
					t.Errorf("hooks %q, want %q", got, tt.want)
				}
				if tt.want != "" {
					return
				}
				time.Sleep(time.Second)
				s.a.health.pass()
				time.Sleep(hookDoubt)
				synctest.Wait()
				if got := s.a.hooks.told(); got != "web down" {
					t.Errorf("hooks %q when a probe has succeeded since", got)
				}
			})
		})
	}
}

// A check that reads a file of the director's passes and fails whatever becomes of its network.
func TestQuorumLossAndChecksThatStayOnTheDirector(t *testing.T) {
	up, down := healthcheck.Up, healthcheck.Down
	toml := strings.Replace(hooked(keyedTOML, "quorum = 2"), "check     = \"alive\"", "check = [\"alive\", \"net\"]", 1)
	toml = strings.Replace(toml, "type = \"tcp\"", "type = \"file\"\npath = \"/run/weight\"", 1) + "\n[check.net]\ntype = \"tcp\"\n"
	for _, tt := range []struct{ check, want string }{{"alive", "web down"}, {"net", ""}} {
		t.Run(tt.check, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &site{segment: &segment{ends: make(map[string]*end), old: make(map[string]bool)}, t: t}
				s.a, s.b = s.join("lb-a"), s.join("lb-b")
				says := func(m *member, addr, check string, is healthcheck.Status) {
					tg := target(addr)
					tg.Check = check
					m.health.events <- healthcheck.Event{Target: tg, Status: is}
					synctest.Wait()
				}
				for _, m := range []*member{s.a, s.b} {
					m.start(toml)
					m.sees(up, up)
					says(m, "10.0.0.21:80", "net", up)
					says(m, "10.0.0.22:80", "net", up)
				}
				defer s.end()
				if got := s.a.hooks.told(); got != "web up" {
					t.Fatalf("hooks %q", got)
				}
				says(s.a, "10.0.0.22:80", tt.check, down)
				time.Sleep(time.Second)
				s.a.health.pass() // of the file
				time.Sleep(time.Minute)
				if got := s.a.hooks.told(); got != tt.want {
					t.Errorf("hooks %q, want %q", got, tt.want)
				}
			})
		})
	}
}
