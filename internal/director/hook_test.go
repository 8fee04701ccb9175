package director

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
)

// fakeHooks are the programs that a director runs.
type fakeHooks struct {
	mu    sync.Mutex // guards what follows
	takes time.Duration
	err   error
	begun []Hook
	now   int // how many run
	most  int // and have run at once
}

func (f *fakeHooks) run(ctx context.Context, h Hook) error {
	f.mu.Lock()
	f.begun = append(f.begun, h)
	f.now++
	f.most = max(f.most, f.now)
	takes, err := f.takes, f.err
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.now--
		f.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeHooks) become(takes time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes, f.err = takes, err
}

// told returns what was begun since the last call, as "web up".
func (f *fakeHooks) told() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, h := range f.begun {
		name, _ := strings.CutPrefix(h.Env[2], "HADIRECTOR_VIRTUAL_SERVER=")
		list = append(list, name+" "+path.Base(h.Args[0]))
	}
	f.begun = nil
	return strings.Join(list, ", ")
}

const bothHooks = `on_quorum_up = ["/hooks/up"]
on_quorum_down = ["/hooks/down"]
`

// hooked is pairTOML with a quorum's hooks, and more of the virtual server's keys.
func hooked(toml, keys string) string {
	return strings.Replace(toml, "[virtual_server.web]\n", "[virtual_server.web]\n"+bothHooks+keys+"\n", 1)
}

// play delivers the events of a story, "+1" and "-1", and returns what hooks each has run.
func (w *world) play(events string) []string {
	var list []string
	for _, e := range strings.Fields(events) {
		s := healthcheck.Up
		if e[0] == '-' {
			s = healthcheck.Down
		}
		w.verdict("10.0.1."+e[1:]+":80", s, errors.New("connect refused"))
		list = append(list, w.hooks.told())
	}
	return list
}

func TestQuorumHooks(t *testing.T) {
	const none = ""
	for _, tt := range []struct {
		name, keys, check string
		n, m              int
		events            string
		want              []string // after each
	}{
		{"lost and gained", "", none, 2, 0, "+1 +2 -1 -2 -2 +1 +2", []string{"web up", "", "", "web down", "", "web up", ""}},
		{"hysteresis", "quorum = 2\nquorum_hysteresis = 1", none, 3, 0, "+1 +2 +3 -1 -2 -3 +1 +2 +3", []string{
			"web up", "", "", "", "", "web down", "", "", "web up"}},
		{"a quorum that nothing is made of", "quorum = 2", none, 2, 0, "+1 +2 -1 +1", []string{"", "web up", "web down", "web up"}},
		{"backups do not count", "", none, 1, 1, "+2 +1 -1", []string{"", "web up", "web down"}},
		{"not there at the start", "", none, 2, 0, "-1 -2 +1", []string{"", "web down", "web up"}},
		{"not there yet at the start", "quorum = 2", "initial = \"down\"", 3, 0, "+1 -2 +3", []string{"", "", "web up"}},
		{"not there after the start", "quorum = 2", "initial = \"down\"", 3, 0, "+1 -2 -3", []string{"", "", "web down"}},
		{"a panic keeps it", "panic_threshold = 0.5", none, 2, 0, "+1 +2 -1 -2 +1", []string{"web up", "", "", "", ""}},
		{"a panic with too few", "panic_threshold = 0.5\nquorum = 2", none, 2, 0, "+1 +2 -1 -2 +1 +2", []string{"", "web up", "web down", "", "", "web up"}},
		{"down servers that stay with weight 0", `on_down = "weight-0"`, none, 1, 0, "+1 -1", []string{"web up", "web down"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				toml := poolTOML(bothHooks+tt.keys, tt.n, tt.m)
				_, stop := w.run(strings.Replace(toml, "[check.alive]\n", "[check.alive]\n"+tt.check+"\n", 1))
				defer stop()
				if got := w.hooks.told(); got != "" {
					t.Errorf("at the start, without a verdict: %q", got)
				}
				if diff := cmp.Diff(tt.want, w.play(tt.events)); diff != "" {
					t.Errorf("hooks -want +got:\n%s", diff)
				}
			})
		})
	}
}

// An operator who takes the last real server out takes the quorum away.
func TestQuorumHooksOfOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(poolTOML(bothHooks, 1, 0))
		defer stop()
		w.play("+1")
		w.change(d, OverrideRequest{Target: "web/s1", Kind: OverrideDrain})
		synctest.Wait()
		if got := w.hooks.told(); got != "web down" {
			t.Errorf("drained: %q", got)
		}
		w.change(d, OverrideRequest{Target: "web/s1", Kind: OverrideNone})
		synctest.Wait()
		if got := w.hooks.told(); got != "web up" {
			t.Errorf("enabled: %q", got)
		}
	})
}

// A virtual server whose real servers are not checked has its quorum from the start on.
func TestQuorumHookWithoutChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(strings.Replace(poolTOML(bothHooks, 1, 0), `check = "alive"`, "", 1))
		defer stop()
		if got := w.hooks.told(); got != "web up" {
			t.Errorf("hooks %q", got)
		}
	})
}

// Nothing runs before there is anything in the kernel that serves.
func TestQuorumHookWaitsForTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 3 {
			w.kernel.FailNext(ipvstest.ReadTable, syscall.EPERM)
		}
		_, stop := w.run(poolTOML(bothHooks, 1, 0))
		defer stop()
		if got := w.play("+1"); got[0] != "" {
			t.Errorf("hooks %q, the kernel's table has not been read", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.hooks.told(); got != "web up" {
			t.Errorf("hooks %q", got)
		}
	})
}

// One hook of a virtual server runs after the other, and what happened while one ran counts
// once, as it is then. The director goes on meanwhile.
func TestQuorumHooksOneAfterTheOther(t *testing.T) {
	for _, tt := range []struct {
		name, events string
		after        string
	}{
		{"nothing more", "", ""},
		{"lost again", "-1", "web down"},
		{"lost, gained, lost", "-1 +1 -1", "web down"},
		{"as it was when it began", "-1 +1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				_, stop := w.run(poolTOML(bothHooks, 1, 0))
				defer stop()
				w.hooks.become(5*time.Second, nil)
				if got := w.play("+1"); got[0] != "web up" {
					t.Fatalf("hooks %q", got)
				}
				if got := strings.Join(w.play(tt.events), ""); got != "" {
					t.Errorf("%q while another runs", got)
				}
				if down := strings.HasSuffix(tt.events, "-1"); down == strings.Contains(w.kernel.String(), "10.0.1.1") {
					t.Errorf("the director waits for the hook, its table:\n%s", w.kernel)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if got := w.hooks.told(); got != tt.after {
					t.Errorf("afterwards %q, want %q", got, tt.after)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := w.hooks.told(); got != "" || w.hooks.most != 1 {
					t.Errorf("then %q, %d at once", got, w.hooks.most)
				}
			})
		})
	}
}

// Many virtual servers that lose a real server together do not start as many programs.
func TestQuorumHooksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := "[check.alive]\ntype = \"tcp\"\n"
		for i := range 40 {
			toml += fmt.Sprintf("[virtual_server.v%02d]\n%saddress = \"10.0.0.%d:80\"\nprotocol = \"tcp\"\ncheck = \"alive\"\nreal_server.s1.address = \"10.0.1.1:80\"\n", i, bothHooks, 100+i)
		}
		_, stop := w.run(toml)
		defer stop()
		w.hooks.become(time.Second, nil)
		w.verdict("10.0.1.1:80", healthcheck.Up, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.hooks.mu.Lock()
		defer w.hooks.mu.Unlock()
		names := make(map[string]bool)
		for _, h := range w.hooks.begun {
			names[h.Env[2]] = true
		}
		if w.hooks.most != maxHooks || len(names) != 40 || len(w.hooks.begun) != 40 {
			t.Errorf("%d at once, %d in all, of %d virtual servers", w.hooks.most, len(w.hooks.begun), len(names))
		}
	})
}

func TestQuorumHooksAndReloads(t *testing.T) {
	toml := poolTOML(bothHooks, 2, 0)
	for _, tt := range []struct{ name, before, after, want string }{
		{"nothing changed", toml, toml, ""},
		{"another scheduler", toml, poolTOML(bothHooks+`scheduler = "rr"`, 2, 0), ""},
		{"another name", toml, strings.ReplaceAll(toml, "virtual_server.web", "virtual_server.site"), ""},
		{"the hooks are new", poolTOML("", 2, 0), toml, ""},
		{"a larger quorum", toml, poolTOML(bothHooks+"quorum = 2", 2, 0), "web down"},
		{"a real server less", toml, poolTOML(bothHooks, 1, 0), ""},
		{"one that is not asked yet more", toml, poolTOML(bothHooks, 3, 0), ""},
		{"one more, and a quorum with it", toml, poolTOML(bothHooks+"quorum = 2", 3, 0), ""},
		{"another check", toml, strings.ReplaceAll(toml, "alive", "well"), ""},
		{"another address", toml, strings.ReplaceAll(toml, "10.0.0.100:80", "10.0.0.101:80"), "web up"},
		{"another protocol", toml, strings.ReplaceAll(toml, "protocol = \"tcp\"", "protocol = \"udp\""), "web up"},
		{"an address more", toml, strings.ReplaceAll(toml, "\"10.0.0.100:80\"", "[\"10.0.0.100:80\", \"10.0.0.101:80\"]"), "web up"},
		{"another address, and a larger quorum", toml, strings.ReplaceAll(poolTOML(bothHooks+"quorum = 2", 2, 0), "10.0.0.100:80", "10.0.0.101:80"), "web down"},
		{"another address and no quorum yet", toml, strings.ReplaceAll(poolTOML(bothHooks+"quorum = 2", 3, 0), "10.0.0.100:80", "10.0.0.101:80"), ""},
		{"another address, and the old one under another name", toml, strings.ReplaceAll(toml, "virtual_server.web", "virtual_server.site") +
			"[virtual_server.web]\n" + bothHooks + "address = \"10.0.0.101:80\"\nprotocol = \"tcp\"\nreal_server.s1.address = \"10.0.1.1:80\"\n", "web up"},
		{"a virtual server more", toml, toml + strings.ReplaceAll("[virtual_server.more]\n"+bothHooks+"address = \"10.0.0.100:81\"\nprotocol = \"tcp\"\nreal_server.s1.address = \"10.0.1.1:81\"\n", "web", "more"), "more up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, stop := w.run(tt.before)
				defer stop()
				w.play("+1 -2")
				reload(t, d, tt.after)
				synctest.Wait()
				if got := w.hooks.told(); got != tt.want {
					t.Errorf("hooks %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// One that is new with a reload waits for the kernel as after a start; others do not.
func TestQuorumHookOfANewVirtualServerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.slow = true
		toml := poolTOML(bothHooks, 1, 0)
		d, stop := w.run(toml)
		defer stop()
		time.Sleep(time.Minute)
		w.play("+1")
		if _, err := d.Reload(t.Context(), parse(t, toml+"[virtual_server.more]\n"+bothHooks+"address = \"10.0.0.100:81\"\nprotocol = \"tcp\"\nreal_server.s1.address = \"10.0.1.1:81\"\n")); err != nil {
			t.Fatal(err)
		}
		if got := w.play("-1"); got[0] != "web down" {
			t.Errorf("hooks %q, the kernel does not have the new virtual server", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.hooks.told(); got != "more up" {
			t.Errorf("hooks %q", got)
		}
	})
}

// A virtual server whose clients find it elsewhere now waits for the kernel too, and for its own
// hook that still runs about the place before.
func TestQuorumHookOfAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.slow = true
		toml := poolTOML(strings.Replace(bothHooks, `["/hooks/up"]`, `{ command = ["/hooks/up"], timeout = "1m" }`, 1), 1, 0)
		d, stop := w.run(toml)
		defer stop()
		time.Sleep(time.Minute)
		w.play("+1")
		at := func(addr string) {
			t.Helper()
			if _, err := d.Reload(t.Context(), parse(t, strings.ReplaceAll(toml, "10.0.0.100:80", addr))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := w.hooks.told(); got != "" {
				t.Errorf("hooks %q, the kernel does not have %s", got, addr)
			}
			time.Sleep(20 * time.Second) // now it has
			synctest.Wait()
		}
		w.hooks.become(time.Hour, nil)
		at("10.0.0.101:80")
		if got := w.hooks.told(); got != "web up" {
			t.Errorf("hooks %q", got)
		}
		w.hooks.become(0, nil)
		at("10.0.0.102:80")
		if got := w.hooks.told(); got != "" {
			t.Errorf("%q while another runs", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		w.hooks.mu.Lock()
		defer w.hooks.mu.Unlock()
		if len(w.hooks.begun) != 1 || path.Base(w.hooks.begun[0].Args[0]) != "up" || !slices.Contains(w.hooks.begun[0].Env, "HADIRECTOR_ADDRESS=10.0.0.102:80") {
			t.Errorf("then %v", w.hooks.begun)
		}
	})
}

// A hook that runs at a reload stays the only one of its virtual server, which has another
// name now; that of one that is gone just ends.
func TestQuorumHookDuringAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := poolTOML(bothHooks, 1, 0)
		d, stop := w.run(toml)
		defer stop()
		w.hooks.become(5*time.Second, nil)
		w.play("+1")
		reload(t, d, strings.ReplaceAll(toml, "virtual_server.web", "virtual_server.site"))
		if got := w.play("-1"); got[0] != "" {
			t.Errorf("%q while another runs", got)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := w.hooks.told(); got != "site down" {
			t.Errorf("afterwards %q", got)
		}
		reload(t, d, "[check.alive]\ntype = \"tcp\"\n")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := w.logged("hook has run"); len(got) != 2 {
			t.Errorf("log %q", got)
		}
	})
}

// A director that sees nothing while another sees real servers, or may be about to, does not
// say that they are gone.
func TestQuorumHooksOfABlindDirector(t *testing.T) {
	up, down := healthcheck.Up, healthcheck.Down
	for _, tt := range []struct {
		name string
		keys string
		play func(s *site)
		want string // of what lb-a has run
	}{
		{"blind", "", func(s *site) { s.a.sees(down, down) }, ""},
		{"blind for long", "", func(s *site) { s.a.sees(down, down); time.Sleep(time.Hour) }, ""},
		{"blind, and alone since", "", func(s *site) { s.a.sees(down, down); s.link(false); time.Sleep(time.Hour) }, ""},
		{"blind for a while", "", func(s *site) { s.a.sees(down, down); s.a.sees(up, up); time.Sleep(time.Hour) }, ""},
		{"they are gone", "", func(s *site) { s.a.sees(down, down); s.b.sees(down, down); time.Sleep(hookDoubt) }, "web down"},
		{"they are gone and come back", "", func(s *site) {
			s.a.sees(down, down)
			s.b.sees(down, down)
			time.Sleep(hookDoubt)
			s.a.sees(up, up)
		}, "web down, web up"},
		{"on the way to blindness", "quorum = 2", func(s *site) {
			s.a.sees(down, up)
			time.Sleep(time.Minute)
			s.a.sees(down, down)
			time.Sleep(time.Minute)
		}, ""},
		{"not on the way", "quorum = 2", func(s *site) {
			s.a.verdict("10.0.0.22:80", down, errors.New("connect refused"))
			time.Sleep(time.Second)
			s.a.health.pass()
			time.Sleep(hookDoubt)
		}, "web down"},
		{"on the way again", "quorum = 2", func(s *site) {
			s.a.sees(up, down)
			s.a.sees(up, up)
			time.Sleep(time.Second)
			s.a.health.pass() // before the next loss
			time.Sleep(time.Second)
			s.a.sees(up, down)
			time.Sleep(time.Minute)
		}, ""},
		{"seeing again, one real server after the other", "quorum = 2", func(s *site) {
			s.a.sees(down, down)
			time.Sleep(time.Minute)
			s.a.sees(up, down)
			s.a.health.pass()
			time.Sleep(4 * time.Second)
			s.a.sees(up, up)
			time.Sleep(time.Minute)
		}, ""},
		{"seeing again, and one is gone", "quorum = 2", func(s *site) {
			s.a.sees(down, down)
			time.Sleep(time.Minute)
			s.a.sees(up, down)
			time.Sleep(time.Second)
			s.a.health.pass()
			s.a.health.fail()
			time.Sleep(hookDoubt)
		}, "web down"},
		{"alone", "quorum = 2", func(s *site) {
			s.link(false)
			s.a.verdict("10.0.0.22:80", down, errors.New("connect refused"))
		}, "web down"},
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
			})
		})
	}
}

// However much else happens, a loss that was not believed is looked at again.
func TestQuorumHookOfABusyDirector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{segment: &segment{ends: make(map[string]*end), old: make(map[string]bool)}, t: t}
		s.a, s.b = s.join("lb-a"), s.join("lb-b")
		pulse := make(chan struct{})
		s.a.process.Pulse = pulse
		s.a.start(hooked(keyedTOML, ""))
		s.b.start(hooked(keyedTOML, ""))
		defer s.end()
		for _, is := range []healthcheck.Status{healthcheck.Up, healthcheck.Down} {
			s.a.sees(is, is)
			s.b.sees(is, is)
		}
		for range 5 {
			time.Sleep(hookDoubt / 2)
			pulse <- struct{}{}
		}
		if got := s.a.hooks.told(); got != "web up, web down" {
			t.Errorf("hooks %q", got)
		}
	})
}
