package director

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// poolTOML is a configuration of one virtual server with the keys in place of KEYS, n real
// servers and m backups.
func poolTOML(keys string, n, m int) string {
	var b strings.Builder
	b.WriteString("[check.alive]\ntype = \"tcp\"\n[virtual_server.web]\naddress = \"10.0.0.100:80\"\nprotocol = \"tcp\"\ncheck = \"alive\"\n" + keys + "\n[virtual_server.web.real_server]\n")
	for i := range n + m {
		fmt.Fprintf(&b, "s%d = { address = \"10.0.1.%d:80\", weight = 10, backup = %v }\n", i+1, i+1, i >= n)
	}
	return b.String()
}

// poolOf is what serves, and the pool as "s1 10, s2 0".
func poolOf(vs *conf.VirtualServer, f Facts) string {
	servers, serves := Pool(vs, f)
	list := make([]string, len(servers))
	for i, rs := range servers {
		list[i] = fmt.Sprintf("%s %d", strings.Replace(rs.Name, conf.SorryServerName, "sorry", 1), rs.Weight)
	}
	return string(serves) + ": " + strings.Join(list, ", ")
}

// A story is told by events: "-1" takes s1 down, "+1" brings it up, "0%1" and "!1" drain
// it, by a check and by an operator, and "." ends that.
func TestPoolStories(t *testing.T) {
	for _, tt := range []struct {
		name   string
		keys   string
		n, m   int
		events string
		want   []string // after each
	}{
		{"on_down removes", "", 2, 0, "-1", []string{"real-servers: s2 10"}},
		{"on_down weight-0", `on_down = "weight-0"`, 2, 0, "-1 +1 -1 -2", []string{
			"real-servers: s1 0, s2 10", "real-servers: s1 10, s2 10", "real-servers: s1 0, s2 10", "empty: s1 0, s2 0"}},
		{"on_down weight-0 with dh", "on_down = \"weight-0\"\nscheduler = \"dh\"", 2, 0, "-1", []string{"real-servers: s2 10"}},
		{"on_down weight-0 with a sorry server", "on_down = \"weight-0\"\nsorry_server = { address = \"10.0.0.9:80\" }", 2, 0, "-1 -2", []string{
			"real-servers: s1 0, s2 10", "sorry-server: s1 0, s2 0, sorry 1"}},
		{"on_down weight-0 and an operator", `on_down = "weight-0"`, 2, 0, "w1 -1", []string{
			"real-servers: s1 7, s2 10", "real-servers: s1 0, s2 10"}},
		{"quorum with hysteresis", "quorum = 3\nquorum_hysteresis = 1\nsorry_server = { address = \"10.0.0.9:80\" }", 4, 0, "-1 -2 -3 +3 +2 +1 -1 -2", []string{
			"real-servers: s2 10, s3 10, s4 10",
			"real-servers: s3 10, s4 10", // not below 2
			"sorry-server: s4 0, sorry 1",
			"sorry-server: s3 0, s4 0, sorry 1",
			"sorry-server: s2 0, s3 0, s4 0, sorry 1", // not 4 yet
			"real-servers: s1 10, s2 10, s3 10, s4 10",
			"real-servers: s2 10, s3 10, s4 10",
			"real-servers: s3 10, s4 10"}},
		{"drained by a check: not in the quorum", "quorum = 2\nsorry_server = { address = \"10.0.0.9:80\" }", 2, 0, "0%1 .1", []string{
			"sorry-server: s1 0, s2 0, sorry 1", "real-servers: s1 10, s2 10"}},
		{"backups", "sorry_server = { address = \"10.0.0.9:80\" }", 2, 2, "-1 -2 -3 -4 +2", []string{
			"real-servers: s2 10, s3 0, s4 0", "backup-servers: s3 10, s4 10", "backup-servers: s4 10", "sorry-server: sorry 1", "real-servers: s2 10"}},
		{"backups below a quorum", "quorum = 2\nsorry_server = { address = \"10.0.0.9:80\" }", 2, 1, "-1 -3 +1 +3", []string{
			"backup-servers: s2 10, s3 10", "sorry-server: s2 0, sorry 1", "real-servers: s1 10, s2 10", "real-servers: s1 10, s2 10, s3 0"}},
		{"backups without a sorry server", "", 1, 1, "-1 -2", []string{"backup-servers: s2 10", "empty: "}},
		{"backups where an operator drains", "", 1, 1, "!1 .1", []string{"backup-servers: s1 0, s2 10", "real-servers: s1 10, s2 0"}},
		{"backups with dh", "scheduler = \"dh\"", 1, 1, "+2 -1", []string{"real-servers: s1 10", "backup-servers: s2 10"}},
		{"panic", `panic_threshold = "50%"`, 4, 0, "-1 -2 -3 -4 +1 -1 +4 +3", []string{
			"real-servers: s2 10, s3 10, s4 10",
			"real-servers: s3 10, s4 10", // half
			"real-servers: s3 10, s4 10",
			"real-servers: s3 10, s4 10",
			"real-servers: s1 10, s3 10, s4 10",
			"real-servers: s1 10, s3 10, s4 10", // nothing leaves in a panic
			"real-servers: s1 10, s3 10, s4 10",
			"real-servers: s3 10, s4 10"}}, // half again
		{"panic of one", `panic_threshold = 0.01`, 1, 0, "-1 +1", []string{"real-servers: s1 10", "real-servers: s1 10"}},
		{"panic with on_down weight-0", "panic_threshold = 0.5\non_down = \"weight-0\"", 2, 0, "-1 -2", []string{
			"real-servers: s1 0, s2 10", "real-servers: s1 0, s2 10"}},
		{"operators do what they want in a panic", `panic_threshold = 0.5`, 2, 0, "-1 -2 !2 .2 x2", []string{
			"real-servers: s2 10", "real-servers: s2 10", "empty: s2 0", "real-servers: s2 10", "empty: "}},
		{"operators make no panic", `panic_threshold = 0.5`, 2, 0, "x1 x2", []string{"real-servers: s2 10", "empty: "}},
		{"panic comes before the sorry server", "panic_threshold = 0.5\nsorry_server = { address = \"10.0.0.9:80\" }", 2, 0, "-1 -2", []string{
			"real-servers: s2 10", "real-servers: s2 10"}},
		{"but not before the quorum", "panic_threshold = 0.5\nquorum = 2\nsorry_server = { address = \"10.0.0.9:80\" }", 2, 0, "-1 -2", []string{
			"sorry-server: s2 0, sorry 1", "sorry-server: s2 0, sorry 1"}},
		{"backups come before a panic", "panic_threshold = 0.5", 2, 2, "-1 -2 -3", []string{
			"real-servers: s2 10, s3 0, s4 0", "backup-servers: s3 10, s4 10", "backup-servers: s3 10, s4 10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := parse(t, poolTOML(tt.keys, tt.n, tt.m))
			d := benchmarkDirector(t, poolTOML(tt.keys, tt.n, tt.m), nil)
			vs := &d.force.cfg.VirtualServers[0]
			for i, event := range strings.Fields(tt.events) {
				playEvent(d, event)
				if got := poolOf(vs, d.facts); got != tt.want[i] {
					t.Errorf("after %s: %s, want %s", event, got, tt.want[i])
				}
				if diff := cmp.Diff(Compile(d.force.cfg, "lb-a", d.facts).Table.String(), Compile(cfg, "lb-a", d.facts).Table.String()); diff != "" {
					t.Errorf("another configuration of the same text:\n%s", diff)
				}
			}
		})
	}
}

// playEvent enters an event of a story into a director's facts, as its loop would.
func playEvent(d *Director, event string) {
	vs := &d.force.cfg.VirtualServers[0]
	rs := &vs.RealServers[event[len(event)-1]-'1']
	e := healthcheck.Event{Target: healthcheck.Target{Addr: rs.Address, Check: "alive"}, Status: healthcheck.Up, At: time.Unix(0, 0)}
	id := ServerID{vs.Name, rs.Name}
	o := d.facts.Overrides
	if o == nil {
		o = make(Overrides)
	}
	d.facts.Overrides = o
	switch event[:len(event)-1] {
	case "-":
		e.Status = healthcheck.Down
		d.health(e)
	case "+":
		d.health(e)
	case "0%":
		e.Value = percent(0)
		d.health(e)
	case ".":
		delete(o, id)
		d.health(e)
	case "!":
		o[id] = Override{Kind: OverrideDrain}
	case "x":
		o[id] = Override{Kind: OverrideDisable}
	case "w":
		o[id] = Override{Kind: OverrideWeight, Weight: 7}
	}
	d.facts.rememberAll(d.force.cfg)
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(poolTOML(`slow_start = "9s"`, 2, 0))
		defer stop()
		event := func(addr string, s healthcheck.Status) {
			w.health.events <- healthcheck.Event{Target: target(addr), Status: s, Err: errors.New("connect refused"), At: time.Now()}
			synctest.Wait()
		}
		weight := func() string {
			for line := range strings.Lines(w.kernel.String()) {
				if _, after, ok := strings.Cut(line, "-r 10.0.1.1:80 -g -w "); ok {
					return strings.TrimSpace(after)
				}
			}
			return "-"
		}
		event("10.0.1.1:80", healthcheck.Up) // the first verdict
		if got := weight(); got != "10" {
			t.Errorf("weight %s after the start, want 10", got)
		}
		event("10.0.1.1:80", healthcheck.Down)
		time.Sleep(time.Second)
		event("10.0.1.1:80", healthcheck.Up)
		var got []string
		for range 11 {
			synctest.Wait()
			got = append(got, weight())
			if len(got) == 4 {
				if r := d.Status().VirtualServers[0].RealServers[0]; r.SlowStart != 40 || r.Weight != 4 || r.ConfiguredWeight != 10 {
					t.Errorf("status %+v", r)
				}
				reload(t, d, poolTOML("slow_start = \"9s\"\nquorum = 2", 2, 0)) // goes on
			}
			time.Sleep(time.Second)
		}
		if want := "1 2 3 4 5 6 7 8 9 10 10"; strings.Join(got, " ") != want {
			t.Errorf("weights %s, want %s", strings.Join(got, " "), want)
		}
		if len(d.facts.Pools) > 0 {
			t.Errorf("remembered at the end: %+v", d.facts.Pools)
		}
		event("10.0.1.1:80", healthcheck.Down)
		event("10.0.1.1:80", healthcheck.Up)
		event("10.0.1.1:80", healthcheck.Down)
		time.Sleep(10 * time.Second)
		event("10.0.1.1:80", healthcheck.Up)
		if got := weight(); got != "1" {
			t.Errorf("weight %s after two failures, want 1", got)
		}
		if lines := w.logged("slow_start=9s"); len(lines) != 3 {
			t.Errorf("log: %q", lines)
		}
	})
}

func reload(t *testing.T, d *Director, toml string) {
	t.Helper()
	if _, err := d.Reload(t.Context(), parse(t, toml)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestPanicIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(poolTOML("panic_threshold = \"60%\"", 3, 0))
		defer stop()
		for i := range 3 {
			w.verdict(fmt.Sprintf("10.0.1.%d:80", i+1), healthcheck.Down, errors.New("no route to host"))
		}
		v := d.Status().VirtualServers[0]
		if !v.Panic || !v.RealServers[1].Held || v.RealServers[0].Held || v.RealServers[0].InPool || !v.RealServers[2].InPool {
			t.Errorf("status %+v", v)
		}
		reload(t, d, poolTOML("panic_threshold = \"60%\"\nquorum = 2", 3, 0))
		w.wantTable("-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.1.2:80 -g -w 10\n-a -t 10.0.0.100:80 -r 10.0.1.3:80 -g -w 10\n")
		w.verdict("10.0.1.1:80", healthcheck.Up, nil)
		w.verdict("10.0.1.2:80", healthcheck.Up, nil)
		if diff := cmp.Diff([]string{
			"level=WARN msg=\"panic: too many real servers fail their checks, those that were good stay in\" virtual_server=web passing=1 checked=3 threshold=60% kept=s2",
			"level=WARN msg=\"panic is over, real servers that fail their checks are out\" virtual_server=web passing=2 checked=3 threshold=60% out=s3",
		}, w.logged("panic")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			"panic-began web: 1 of 3 checked real servers pass, fewer than 60%: the last good ones stay in, of which s2 fail",
			"panic-ended web: 2 of 3 checked real servers pass: checks count again, out: s3",
		}, w.recorded("panic")); diff != "" {
			t.Errorf("journal -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			"real-server-left web/s1: 10.0.1.1:80 removed from web: no route to host",
			"real-server-left web/s2: 10.0.1.2:80 fails its check, and stays in web: no route to host",
			"real-server-left web/s3: 10.0.1.3:80 fails its check, and stays in web: no route to host",
		}, w.recorded("real-server-left")); diff != "" {
			t.Errorf("journal -want +got:\n%s", diff)
		}
	})
}

// Whatever happens, the pool is what the rules say, compiling part of the table is as good
// as compiling all of it, and what is remembered already does not change again.
func TestPoolWalk(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		n, m := 1+r.IntN(5), r.IntN(3)
		quorum := 1 + r.IntN(n)
		hysteresis := r.IntN(min(quorum, n-quorum+1))
		keys := fmt.Sprintf("quorum = %d\nquorum_hysteresis = %d\non_down = %q\npanic_threshold = \"%d%%\"\nslow_start = \"%ds\"\nscheduler = %q\n",
			quorum, hysteresis, pick(r, "remove", "weight-0"), pick(r, 0, 0, 30, 50, 100), pick(r, 0, 10), pick(r, "wrr", "wlc", "dh", "sh"))
		if r.IntN(2) == 0 {
			keys += "sorry_server = { address = \"10.0.0.9:80\" }\n"
		}
		toml := poolTOML(keys, n, m)
		d := benchmarkDirector(t, toml, nil)
		vs := &d.force.cfg.VirtualServers[0]
		d.facts.Overrides = make(Overrides)
		now := time.Unix(0, 0)
		d.compile()
		var steps []string
		for range 60 {
			rs := &vs.RealServers[r.IntN(len(vs.RealServers))]
			switch r.IntN(8) {
			case 0:
				id := ServerID{vs.Name, rs.Name}
				o := pick(r, Override{}, Override{Kind: OverrideDrain}, Override{Kind: OverrideDisable}, Override{Kind: OverrideWeight, Weight: uint32(r.IntN(3))})
				steps = append(steps, rs.Name+" "+o.String())
				delete(d.facts.Overrides, id)
				if o.Kind != "" {
					d.facts.Overrides[id] = o
				}
				d.compile()
			case 1:
				now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
				steps = append(steps, "time passes")
				d.rise(now)
			default:
				e := healthcheck.Event{Target: healthcheck.Target{Addr: rs.Address, Check: "alive"}, Status: pick(r, healthcheck.Up, healthcheck.Down), At: now}
				if e.Status == healthcheck.Up {
					e.Value = pick(r, healthcheck.Value{}, healthcheck.Value{}, percent(50), percent(0), number(3))
				}
				steps = append(steps, fmt.Sprintf("%s %v %v", rs.Name, e.Status, e.Value))
				before, panicked := names(vs, d.facts), d.facts.held(vs) != nil
				d.healthBatch(e)
				if panicked && e.Status == healthcheck.Down && d.facts.held(vs) != nil {
					for name := range before {
						if !names(vs, d.facts)[name] {
							t.Errorf("%s has left in a panic", name)
						}
					}
				}
			}
			checkPoolRules(t, vs, d.facts)
			switch q, lost := d.facts.quorum(vs, quorumUnknown), d.facts.compose(vs).lost; {
			case q == quorumUp && lost, q == quorumDown && !lost, q == quorumUnknown && len(d.facts.Health) == n+m:
				t.Errorf("hooks go by the quorum %d, and for the pool it is lost: %v", q, lost)
			}
			if got, want := d.desired.Table.String(), Compile(d.force.cfg, "lb-a", d.facts).Table.String(); got != want {
				t.Errorf("recompiled\n%swant\n%s", got, want)
			}
			was := maps.Clone(d.facts.Pools)
			d.facts.rememberAll(d.force.cfg)
			if diff := cmp.Diff(was, d.facts.Pools); diff != "" {
				t.Errorf("remembered anew:\n%s", diff)
			}
			if t.Failed() {
				t.Fatalf("seed %d, after\n%s\nwith\n%s", seed, strings.Join(steps, "\n"), keys)
			}
		}
	}
}

// names are the real servers that can be called for.
func names(vs *conf.VirtualServer, f Facts) map[string]bool {
	list := make(map[string]bool)
	held := f.held(vs)
	for i := range vs.RealServers {
		if _, in := f.realServer(vs, &vs.RealServers[i], held); in {
			list[vs.RealServers[i].Name] = true
		}
	}
	return list
}

// checkPoolRules holds a pool to what the documents say of it, counted here anew.
func checkPoolRules(t *testing.T, vs *conf.VirtualServer, f Facts) {
	t.Helper()
	servers, serves := Pool(vs, f)
	seen := make(map[string]bool)
	taking := map[string]int{}
	for _, rs := range servers {
		if seen[rs.Name] {
			t.Errorf("%s is there twice", rs.Name)
		}
		seen[rs.Name] = true
		kind := "primary"
		if rs.Backup {
			kind = "backup"
		}
		if rs.Name == conf.SorryServerName {
			kind = "sorry"
		}
		if rs.Weight > 0 {
			taking[kind]++
		} else if vs.Service.RefusesAtZero() && f.Overrides[ServerID{vs.Name, rs.Name}].Kind == "" {
			t.Errorf("%s has weight 0, and %s refuses clients for that", rs.Name, vs.Service.Scheduler)
		}
	}
	// What would take connections if it were asked to.
	able := map[bool]int{}
	held := f.held(vs)
	passing, up, down := 0, 0, 0
	for i := range vs.RealServers {
		rs := &vs.RealServers[i]
		switch f.status(rs) {
		case healthcheck.Down:
			down++
		case healthcheck.Up:
			up++
			passing++
		default:
			passing++
		}
		if is, in := f.realServer(vs, rs, held); in && is.Weight > 0 {
			able[rs.Backup]++
			if f.status(rs) == healthcheck.Down && held == nil {
				t.Errorf("%s is down and would take connections", rs.Name)
			}
		}
	}
	primaries, all := able[false], able[false]+able[true]
	low, high := vs.Quorum-vs.QuorumHysteresis, vs.Quorum+vs.QuorumHysteresis
	switch {
	case serves == poolSorry && (taking["sorry"] != 1 || taking["primary"]+taking["backup"] > 0 || all >= high):
		t.Errorf("the sorry server serves, with %v", taking)
	case serves != poolSorry && taking["sorry"] > 0:
		t.Errorf("%s serves, and the sorry server takes connections", serves)
	case serves != poolSorry && vs.SorryServer != nil && all < low:
		t.Errorf("%s serves, with %d of %d", serves, all, low)
	case serves == poolBackup && (primaries >= high || taking["backup"] == 0):
		t.Errorf("the backups serve, with %d primaries, %v", primaries, taking)
	case serves == poolReal && (taking["backup"] > 0 || primaries == 0 || primaries < low && able[true] > 0):
		t.Errorf("the primaries serve, with %d, %v", primaries, taking)
	case serves == poolEmpty && (all > 0 || vs.SorryServer != nil):
		t.Errorf("empty, with %d", all)
	}
	if vs.PanicThreshold == 0 || passing*100_00 >= vs.PanicThreshold*(passing+down) {
		// One that there was goes on until enough are up, and not only unknown.
		if held != nil && (vs.PanicThreshold == 0 || up*100_00 >= vs.PanicThreshold*(passing+down)) {
			t.Errorf("a panic with %d of %d", passing, passing+down)
		}
		return
	}
	if len(held) == 0 {
		t.Errorf("no panic, or nothing is held, with %d of %d", passing, passing+down)
	}
	free := slices.ContainsFunc(vs.RealServers, func(rs conf.RealServer) bool {
		_, overridden := f.Overrides[ServerID{vs.Name, rs.Name}]
		weight, _ := f.weightOf(&rs, true)
		return held[rs.Name] && !overridden && weight > 0
	})
	if free && len(servers) == 0 {
		t.Error("a panic has left nothing")
	}
}

// What is assumed until the first verdict takes real servers out, as initial says, and makes
// neither a panic nor a slow start.
func TestAssumedIsNoFailure(t *testing.T) {
	toml := strings.Replace(poolTOML("panic_threshold = 0.5\nslow_start = \"10s\"", 4, 0), "[check.alive]", "[check.alive]\ninitial = \"down\"", 1)
	d := benchmarkDirector(t, toml, nil)
	d.compile()
	vs := &d.force.cfg.VirtualServers[0]
	for _, step := range []struct{ event, want string }{
		{"w4", "empty: "},
		{"-1", "empty: "},
		{"+2", "real-servers: s2 10"},
		{"-3", "real-servers: s2 10"},
		{"-4", "real-servers: s2 10"}, // three fail: a panic
		{"-2", "real-servers: s2 10"},
		{"+1", "real-servers: s1 1, s2 10"},
		{"+3", "real-servers: s1 1, s3 1"},
	} {
		playEvent(d, step.event)
		if got := poolOf(vs, d.facts); got != step.want {
			t.Errorf("after %s: %s, want %s", step.event, got, step.want)
		}
	}
}

// A panic outlives a reload that exchanges the check, whose verdicts are assumed then.
func TestPanicOutlivesAnExchangeOfChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := poolTOML("panic_threshold = 0.5", 2, 0)
		d, stop := w.run(toml)
		defer stop()
		for _, addr := range []string{"10.0.1.1:80", "10.0.1.2:80"} {
			w.verdict(addr, healthcheck.Down, errors.New("no route to host"))
		}
		const held = "-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.1.2:80 -g -w 10\n"
		w.wantTable(held)
		reload(t, d, strings.NewReplacer("[check.alive]", "[check.other]", `"alive"`, `"other"`).Replace(toml))
		w.wantTable(held)
		if !d.Status().VirtualServers[0].Panic {
			t.Error("no panic after the reload")
		}
	})
}
