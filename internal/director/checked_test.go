package director

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// checkedTOML is pairTOML with two checks of each real server and weights to be changed.
var checkedTOML = strings.NewReplacer(
	`check     = "alive"`, `check     = ["alive", "load"]`,
	"weight = 1", "weight = 10", "weight = 2", "weight = 20",
).Replace(pairTOML) + "\n[check.load]\ntype = \"tcp\"\n"

// of is what is asked by a check at a real server of checkedTOML.
func of(check, addr string) healthcheck.Target {
	return healthcheck.Target{Addr: netip.MustParseAddrPort(addr), Check: check}
}

func number(n int) healthcheck.Value  { return healthcheck.Value{Unit: healthcheck.Number, N: n} }
func percent(n int) healthcheck.Value { return healthcheck.Value{Unit: healthcheck.Percent, N: n} }

func TestWeighed(t *testing.T) {
	for _, tt := range []struct {
		configured uint32
		value      healthcheck.Value
		want       uint32
	}{
		{10, healthcheck.Value{}, 10},
		{10, number(3), 3},
		{10, number(30), 30},
		{10, number(0), 0},
		{10, number(-1), 0},
		{0, number(5), 5},
		{10, number(1 << 40), 1<<31 - 1},
		{10, percent(100), 10},
		{10, percent(1), 1},
		{10, percent(11), 2},
		{10, percent(0), 0},
		{10, percent(-5), 0},
		{10, percent(150), 15},
		{0, percent(50), 0},
		{1<<31 - 1, percent(1 << 40), 1<<31 - 1},
	} {
		if got := weighed(tt.configured, tt.value); got != tt.want {
			t.Errorf("%d by %+v is %d, want %d", tt.configured, tt.value, got, tt.want)
		}
	}
}

func TestPoolBySeveralChecks(t *testing.T) {
	const u, d, q = healthcheck.Up, healthcheck.Down, healthcheck.Unknown
	for _, tt := range []struct {
		name        string
		alive, load healthcheck.Status
		values      [2]healthcheck.Value // of alive and load
		override    Override
		want        string // weight; empty: not in the table
		by          string
	}{
		{"all pass", u, u, [2]healthcheck.Value{}, Override{}, "10", ""},
		{"none has a verdict", q, q, [2]healthcheck.Value{}, Override{}, "10", ""},
		{"one has none", u, q, [2]healthcheck.Value{}, Override{}, "10", ""},
		{"one fails", u, d, [2]healthcheck.Value{}, Override{}, "", ""},
		{"one fails and one has no verdict", d, q, [2]healthcheck.Value{}, Override{}, "", ""},
		{"one says a number", u, u, [2]healthcheck.Value{{}, number(3)}, Override{}, "3", "load"},
		{"one says a larger number", u, u, [2]healthcheck.Value{number(30), {}}, Override{}, "30", "alive"},
		{"the smallest of two counts", u, u, [2]healthcheck.Value{number(4), percent(30)}, Override{}, "3", "load"},
		{"drained by a check", u, u, [2]healthcheck.Value{percent(50), percent(0)}, Override{}, "0", "load"},
		{"an operator's weight counts instead", u, u, [2]healthcheck.Value{{}, percent(0)}, Override{Kind: OverrideWeight, Weight: 7}, "7", ""},
		{"and so does a drain", u, u, [2]healthcheck.Value{{}, number(9)}, Override{Kind: OverrideDrain}, "0", ""},
		{"but none brings back what is down", u, d, [2]healthcheck.Value{number(9), {}}, Override{Kind: OverrideWeight, Weight: 7}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := parse(t, checkedTOML)
			alive, load := of("alive", "10.0.0.21:80"), of("load", "10.0.0.21:80")
			f := Facts{
				Health:    map[healthcheck.Target]healthcheck.Status{alive: tt.alive, load: tt.load},
				Values:    make(map[healthcheck.Target]healthcheck.Value),
				Overrides: make(Overrides),
			}
			for i, v := range tt.values {
				if v != (healthcheck.Value{}) {
					f.Values[[]healthcheck.Target{alive, load}[i]] = v
				}
			}
			if tt.override.Kind != "" {
				f.Overrides[ServerID{"web", "web-1"}] = tt.override
			} else if _, by := f.weight(&cfg.VirtualServers[0].RealServers[0]); by != tt.by {
				t.Errorf("by %q, want %q", by, tt.by)
			}
			want := "-A -t 10.0.0.100:80 -s wrr\n"
			if tt.want != "" {
				want += "-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w " + tt.want + "\n"
			}
			want += "-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 20\n"
			if diff := cmp.Diff(want, Compile(cfg, "lb-a", f).Table.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// dh gives a real server its share of the clients also at weight 0, and refuses them.
func TestDrainedByACheckWhereTheSchedulerRefuses(t *testing.T) {
	cfg := parse(t, strings.Replace(checkedTOML, "wrr", "dh", 1))
	f := Facts{Values: map[healthcheck.Target]healthcheck.Value{of("load", "10.0.0.21:80"): percent(0)}}
	const want = "-A -t 10.0.0.100:80 -s dh\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 20\n"
	if diff := cmp.Diff(want, Compile(cfg, "lb-a", f).Table.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// checks says what a check has found at a real server of checkedTOML.
func (w *world) checks(check, addr string, s healthcheck.Status, v healthcheck.Value, err error) {
	w.health.events <- healthcheck.Event{Target: of(check, addr), Status: s, Value: v, Err: err}
	synctest.Wait()
}

func TestSeveralChecksAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(checkedTOML)
		defer stop()
		up, down, none := healthcheck.Up, healthcheck.Down, healthcheck.Value{}
		web1 := func() RealStatus { return d.Status().VirtualServers[0].RealServers[0] }
		if got := d.Status().NotReady; !cmp.Equal(got, []string{"4 checks have no verdict yet"}) {
			t.Errorf("not ready: %q", got)
		}
		w.checks("alive", "10.0.0.21:80", up, none, nil)
		w.checks("load", "10.0.0.21:80", down, none, errors.New("connect refused"))
		if r := web1(); r.Status != "down" || r.Check != "alive, load" || len(r.Checks) != 2 || r.Checks[0].Status != "up" || r.Checks[1].Status != "down" {
			t.Errorf("status %+v", r)
		}
		w.checks("alive", "10.0.0.21:80", down, none, errors.New("no route to host"))
		w.checks("load", "10.0.0.21:80", up, percent(50), nil) // alive still fails
		w.checks("alive", "10.0.0.21:80", up, none, nil)
		if r := web1(); r.Status != "up" || r.Weight != 5 || r.WeightBy != "load" || r.ConfiguredWeight != 10 || r.Checks[1].Value != "50%" {
			t.Errorf("status %+v", r)
		}
		w.checks("load", "10.0.0.21:80", up, percent(0), nil)
		w.checks("load", "10.0.0.21:80", up, percent(0), nil) // an event may come twice
		w.checks("load", "10.0.0.21:80", up, number(8), nil)
		w.checks("alive", "10.0.0.21:80", up, number(9), nil) // load says less
		w.checks("load", "10.0.0.21:80", up, none, nil)
		w.wantTable("-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 9\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 20\n")
		const rs = " real_server=web-1 address=10.0.0.21:80 virtual_server=web check="
		if diff := cmp.Diff([]string{
			"level=WARN msg=\"real server removed\"" + rs + "load err=\"connect refused\"",
			"level=INFO msg=\"real server added\"" + rs + "alive weight=5",
			"level=INFO msg=\"real server weight changed\"" + rs + "load value=0% from=5 to=0",
			"level=INFO msg=\"real server weight changed\"" + rs + "load value=8 from=0 to=8",
			"level=INFO msg=\"real server weight changed\"" + rs + "load value=none from=8 to=9",
		}, w.logged("msg=\"real server")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			"real-server-left web/web-1: 10.0.0.21:80 removed from web: check load: connect refused",
			"real-server-returned web/web-1: 10.0.0.21:80 returned to web with weight 5",
			"real-server-quiesced web/web-1: 10.0.0.21:80 gets no new connections of web: check load says 0%",
			"real-server-resumed web/web-1: 10.0.0.21:80 gets connections of web again, weight 8: check load says 8",
		}, w.recorded("real-server")); diff != "" {
			t.Errorf("journal -want +got:\n%s", diff)
		}
	})
}

func TestCarriedHealth(t *testing.T) {
	web1 := "10.0.0.21:80"
	up, down := healthcheck.Up, healthcheck.Down
	with := func(checks string) inForce {
		return newInForce(parse(t, strings.Replace(checkedTOML+"\n[check.other]\ntype = \"tcp\"\n", `["alive", "load"]`, checks, 1)))
	}
	for _, tt := range []struct {
		name    string
		health  map[healthcheck.Target]healthcheck.Status
		after   string // checks, before alive and load
		want    map[healthcheck.Target]healthcheck.Status
		assumed []healthcheck.Target
	}{
		{"nothing changed", map[healthcheck.Target]healthcheck.Status{of("alive", web1): up}, `["alive", "load"]`,
			map[healthcheck.Target]healthcheck.Status{of("alive", web1): up}, nil},
		{"the one that fails is exchanged", map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): down}, `["alive", "other"]`,
			map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): down, of("other", web1): down}, []healthcheck.Target{of("other", web1)}},
		{"one more, while another fails", map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): down}, `["alive", "load", "other"]`,
			map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): down}, nil},
		{"one more, while all pass", map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): up}, `["alive", "load", "other"]`,
			map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): up, of("other", web1): up}, []healthcheck.Target{of("other", web1)}},
		{"the one that fails is taken away", map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): down}, `["alive"]`,
			map[healthcheck.Target]healthcheck.Status{of("alive", web1): up, of("load", web1): down}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			values := map[healthcheck.Target]healthcheck.Value{of("alive", web1): number(4), of("load", web1): number(5)}
			f := Facts{Health: tt.health, Assumed: make(map[healthcheck.Target]bool), Values: values}
			health, assumed, kept := carriedHealth(with(`["alive", "load"]`), with(tt.after), f)
			if diff := cmp.Diff(tt.want, health, byAddrPort); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, target := range tt.assumed {
				if !assumed[target] {
					t.Errorf("%v is not assumed", target)
				}
			}
			if len(assumed) != len(tt.assumed) {
				t.Errorf("assumed %v, want %v", assumed, tt.assumed)
			}
			if !strings.Contains(tt.after, "load") {
				delete(values, of("load", web1)) // nobody asks for it
			}
			if diff := cmp.Diff(values, kept, byAddrPort); diff != "" {
				t.Errorf("values -want +got:\n%s", diff)
			}
		})
	}
}

var byAddrPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestChecksOfARealServerOfItsOwn(t *testing.T) {
	cfg := parse(t, strings.Replace(checkedTOML, "web-1 = { ", `web-1 = { check = "alive", `, 1))
	got := [][]string{cfg.VirtualServers[0].RealServers[0].Checks, cfg.VirtualServers[0].RealServers[1].Checks}
	if diff := cmp.Diff([][]string{{"alive"}, {"alive", "load"}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := len(Targets(cfg)); n != 3 {
		t.Errorf("%d targets, want 3", n)
	}
}
