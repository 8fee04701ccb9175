package director

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// What a panic keeps in stays as it is: a failure must not give a real server more clients
// than it had.
func TestAPanicKeepsWeights(t *testing.T) {
	d := benchmarkDirector(t, poolTOML("panic_threshold = \"100%\"", 3, 0), nil)
	vs := &d.force.cfg.VirtualServers[0]
	d.compile()
	for _, step := range []struct {
		name   string
		server int
		status healthcheck.Status
		value  healthcheck.Value
		want   string
	}{
		{"a check drains the second", 1, healthcheck.Up, percent(0), "real-servers: s1 10, s2 0, s3 10"},
		{"and gives the third less", 2, healthcheck.Up, number(3), "real-servers: s1 10, s2 0, s3 3"},
		{"the second fails", 1, healthcheck.Down, healthcheck.Value{}, "real-servers: s1 10, s2 0, s3 3"},
		{"the third fails", 2, healthcheck.Down, healthcheck.Value{}, "real-servers: s1 10, s2 0, s3 3"},
		{"the third passes and says nothing", 2, healthcheck.Up, healthcheck.Value{}, "real-servers: s1 10, s2 0, s3 10"},
	} {
		d.health(healthcheck.Event{Target: healthcheck.Target{Addr: vs.RealServers[step.server].Address, Check: "alive"}, Status: step.status, Value: step.value})
		d.facts.rememberAll(d.force.cfg)
		if got := poolOf(vs, d.facts); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

// One that fails on its way to its whole weight, and that a panic keeps in, goes on slowly.
func TestAPanicKeepsSlowStarts(t *testing.T) {
	d := benchmarkDirector(t, poolTOML("panic_threshold = \"60%\"\nslow_start = \"9s\"", 3, 0), nil)
	d.compile()
	vs := &d.force.cfg.VirtualServers[0]
	for _, step := range []struct{ event, want string }{
		{"+3", "real-servers: s1 10, s2 10, s3 10"},
		{"-1", "real-servers: s2 10, s3 10"},
		{"+1", "real-servers: s1 1, s2 10, s3 10"},
		{"-2", "real-servers: s1 1, s3 10"},
		{"-1", "real-servers: s1 1, s3 10"}, // a panic
		{"+1", "real-servers: s1 1, s3 10"}, // it is over
		{"-1", "real-servers: s1 1, s3 10"},
		{"+2", "real-servers: s2 1, s3 10"}, // the first has to begin anew
		{"+1", "real-servers: s1 1, s2 1, s3 10"},
	} {
		playEvent(d, step.event)
		if got := poolOf(vs, d.facts); got != step.want {
			t.Errorf("after %s: %s, want %s", step.event, got, step.want)
		}
	}
	playEvent(d, "-1")
	if _, rises := d.facts.Pools["web"].Rising["s1"]; rises {
		t.Error("it is out, and still on its way to its whole weight")
	}
}

// Real servers and virtual servers may get other names in the midst of a panic or a slow start.
func TestPoolsAreRememberedUnderOtherNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := poolTOML("panic_threshold = \"60%\"\nslow_start = \"1h\"", 3, 0)
		d, stop := w.run(toml)
		defer stop()
		fail := errors.New("no route to host")
		w.verdict("10.0.1.3:80", healthcheck.Down, fail)
		w.health.events <- healthcheck.Event{Target: target("10.0.1.3:80"), Status: healthcheck.Up, At: time.Now()}
		synctest.Wait()
		w.verdict("10.0.1.1:80", healthcheck.Down, fail)
		w.verdict("10.0.1.2:80", healthcheck.Down, fail)
		const want = "-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.1.2:80 -g -w 10\n-a -t 10.0.0.100:80 -r 10.0.1.3:80 -g -w 1\n"
		w.wantTable(want)
		toml = strings.NewReplacer("\ns2 =", "\nnew2 =", "\ns3 =", "\nnew3 =").Replace(toml)
		reload(t, d, toml)
		w.wantTable(want)
		toml = strings.ReplaceAll(toml, "virtual_server.web", "virtual_server.www")
		reload(t, d, toml)
		w.wantTable(want)
	})
}

// A backup that stands by is not in the table where the scheduler would refuse clients for
// it, and an operator who drains it does not bring it in.
func TestDrainedBackupOfARefusingScheduler(t *testing.T) {
	for _, backups := range []int{1, 2} {
		d := benchmarkDirector(t, poolTOML(`scheduler = "dh"`, 1, backups), nil)
		d.compile()
		playEvent(d, "!2")
		if got, want := poolOf(&d.force.cfg.VirtualServers[0], d.facts), "real-servers: s1 10"; got != want {
			t.Errorf("%d backups: %s, want %s", backups, got, want)
		}
	}
}
