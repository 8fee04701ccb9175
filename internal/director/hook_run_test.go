package director

import (
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/vrrp"
)

func TestQuorumHookEnvironment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(hooked(pairTOML, "quorum = 2"))
		defer stop()
		w.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		w.verdict("10.0.0.21:80", healthcheck.Down, errors.New("connect refused"))
		w.hooks.mu.Lock()
		defer w.hooks.mu.Unlock()
		if diff := cmp.Diff([]Hook{
			{Args: []string{"/hooks/up"}, User: "nobody", Timeout: 10 * time.Second, Env: []string{
				"HADIRECTOR_EVENT=quorum-up", "HADIRECTOR_NAME=lb-a", "HADIRECTOR_VIRTUAL_SERVER=web", "HADIRECTOR_ADDRESS=10.0.0.100:80",
				"HADIRECTOR_QUORUM=2", "HADIRECTOR_QUORUM_HYSTERESIS=0", "HADIRECTOR_REAL_SERVERS=2", "HADIRECTOR_SERVING=2", "HADIRECTOR_WEIGHT=3",
				"HADIRECTOR_SERVES=real-servers", "HADIRECTOR_PROTOCOL=tcp", "HADIRECTOR_VIRTUAL_ROUTER=web", "HADIRECTOR_ROLE=master",
			}},
			{Args: []string{"/hooks/down"}, User: "nobody", Timeout: 10 * time.Second, Env: []string{
				"HADIRECTOR_EVENT=quorum-down", "HADIRECTOR_NAME=lb-a", "HADIRECTOR_VIRTUAL_SERVER=web", "HADIRECTOR_ADDRESS=10.0.0.100:80",
				"HADIRECTOR_QUORUM=2", "HADIRECTOR_QUORUM_HYSTERESIS=0", "HADIRECTOR_REAL_SERVERS=2", "HADIRECTOR_SERVING=1", "HADIRECTOR_WEIGHT=2",
				"HADIRECTOR_SERVES=sorry-server", "HADIRECTOR_PROTOCOL=tcp", "HADIRECTOR_VIRTUAL_ROUTER=web", "HADIRECTOR_ROLE=master",
			}},
		}, w.hooks.begun); diff != "" {
			t.Errorf("hooks -want +got:\n%s", diff)
		}
	})
}

// A firewall mark that somebody else sets has no address, and its virtual server no router.
func TestQuorumHookEnvironmentOfAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run("[virtual_server.web]\n" + bothHooks + "fwmark = 10\nreal_server.s1.address = \"10.0.1.1:80\"\n")
		defer stop()
		w.hooks.mu.Lock()
		defer w.hooks.mu.Unlock()
		if len(w.hooks.begun) != 1 {
			t.Fatalf("hooks %v", w.hooks.begun)
		}
		env := w.hooks.begun[0].Env
		if got := env[len(env)-1]; got != "HADIRECTOR_FWMARK=10" || !slices.Contains(env, "HADIRECTOR_ADDRESS=") {
			t.Errorf("environment %q", env)
		}
	})
}

// The documents name all that a hook finds, and nothing else.
func TestQuorumHookEnvironmentIsDocumented(t *testing.T) {
	d := benchmarkDirector(t, pairTOML, nil)
	found := make(map[string]bool)
	for _, toml := range []string{pairTOML, "[virtual_server.web]\nfwmark = 10\nreal_server.s1.address = \"10.0.1.1:80\"\n"} {
		for _, v := range d.hookEnv(&parse(t, toml).VirtualServers[0], quorumUp) {
			name, _, _ := strings.Cut(v, "=")
			found[name] = true
		}
	}
	text, err := os.ReadFile("../../docs/healthchecks.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, name := range regexp.MustCompile(`HADIRECTOR_[A-Z_]+`).FindAllString(string(text), -1) {
		documented[name] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(found))); diff != "" {
		t.Errorf("-documented +found:\n%s", diff)
	}
}

// How a hook ended is one line; that it failed is in the journal. It is not run again.
func TestQuorumHookThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(poolTOML(bothHooks, 1, 0))
		defer stop()
		w.play("+1")
		w.hooks.become(0, errors.New("exit status 3: no such neighbour"))
		w.play("-1")
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{
			`level=INFO msg="hook has run" virtual_server=web hook=on_quorum_up took=0s`,
			`level=WARN msg="hook failed" virtual_server=web hook=on_quorum_down took=0s err="exit status 3: no such neighbour"`,
		}, w.logged("msg=\"hook")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{"hook-failed web: on_quorum_down failed: exit status 3: no such neighbour"}, w.recorded("hook")); diff != "" {
			t.Errorf("journal -want +got:\n%s", diff)
		}
	})
}

// A hook that hangs is ended at its timeout, and at the end of the daemon at once.
func TestQuorumHookThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(poolTOML(bothHooks, 1, 0))
		w.hooks.become(time.Hour, nil)
		w.play("+1 -1")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.hooks.told(); got != "web down" {
			t.Errorf("after the timeout %q", got)
		}
		begun := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("the stop took %v", took)
		}
		if diff := cmp.Diff([]string{
			`level=WARN msg="hook failed" virtual_server=web hook=on_quorum_up took=10s err="context deadline exceeded"`,
			`level=INFO msg="hook ended by the stop of the daemon" virtual_server=web hook=on_quorum_down took=0s`,
		}, w.logged("msg=\"hook")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{"hook-failed web: on_quorum_up failed: context deadline exceeded"}, w.recorded("hook")); diff != "" {
			t.Errorf("journal -want +got:\n%s", diff)
		}
	})
}
