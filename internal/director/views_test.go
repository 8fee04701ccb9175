package director

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// alertTOML is relayTOML with a check whose settling time is 3 probes every 2 s and at
// most 10 % more, 1 s for the last one and 1 s for the note.
var alertTOML = strings.Replace(relayTOML, `type = "tcp"`, `type = "tcp"
interval = "2s"
timeout = "1s"
fall = 3
rise = 2`, 1)

const alertSettles = 8600 * time.Millisecond

// passes lets time pass, and what is due happen.
func passes(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// views are those that status shows of the first virtual server's real servers.
func (m *member) views() (views []ViewStatus) {
	for _, r := range m.d.Status().VirtualServers[0].RealServers {
		views = append(views, r.Views...)
	}
	return views
}

func (m *member) wantViews(want ...ViewStatus) {
	m.t.Helper()
	if diff := cmp.Diff(want, m.views()); diff != "" {
		m.t.Errorf("%s: views -want +got:\n%s", m.name, diff)
	}
}

func (m *member) wantRecorded(prefix string, want ...string) {
	m.t.Helper()
	if diff := cmp.Diff(want, m.recorded(prefix)); diff != "" {
		m.t.Errorf("%s: journal -want +got:\n%s", m.name, diff)
	}
}

func TestDirectorsDisagreeAboutARealServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, down := healthcheck.Up, healthcheck.Down
		d := newDuo(t, alertTOML)
		defer d.end()
		d.a.sees(up, up)
		d.b.sees(up, up)
		passes(time.Minute)
		went := time.Now().Truncate(time.Second)
		d.b.verdict("10.0.0.21:80", down, errors.New("connect refused"))
		passes(alertSettles - time.Millisecond)
		d.a.wantViews()
		d.a.wantRecorded("views-")
		passes(time.Millisecond)
		d.a.wantViews(ViewStatus{Director: "lb-b", Status: "down", Cause: "connect refused", Since: went})
		d.b.wantViews(ViewStatus{Director: "lb-a", Status: "up"})
		passes(time.Hour)
		d.a.wantRecorded("views-", "views-differ web/web-1: lb-a: up; lb-b: down, connect refused")
		d.b.wantRecorded("views-", "views-differ web/web-1: lb-b: down, connect refused; lb-a: up")
		if diff := cmp.Diff([]string{
			`level=WARN msg="directors disagree about a real server" real_server=web-1 address=10.0.0.21:80 virtual_server=web peer=lb-b here=up there=down there_err="connect refused"`,
		}, d.a.logged("directors disagree")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}

		d.a.verdict("10.0.0.21:80", down, errors.New("no route to host"))
		passes(viewsPause)
		d.a.wantViews()
		d.b.wantViews()
		d.a.wantRecorded("views-agree", "views-agree web/web-1: lb-a and lb-b: down")
		d.b.wantRecorded("views-agree", "views-agree web/web-1: lb-b and lb-a: down")
		if diff := cmp.Diff([]string{
			`level=INFO msg="directors agree about a real server again" real_server=web-1 address=10.0.0.21:80 virtual_server=web peer=lb-b status=down`,
		}, d.a.logged("directors agree")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
	})
}

// That one notices before the other is normal, and so is a run of that.
func TestDirectorsNoticeOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, down := healthcheck.Up, healthcheck.Down
		d := newDuo(t, alertTOML)
		defer d.end()
		d.a.sees(up, up)
		passes(alertSettles - time.Second) // lb-b has no verdict yet
		d.b.sees(up, up)
		for range 5 {
			d.a.sees(down, up)
			passes(alertSettles - time.Second)
			d.b.sees(down, up)
			passes(time.Second)
			d.b.sees(up, up)
			passes(alertSettles - time.Second)
			d.a.sees(up, up)
			passes(time.Second)
		}
		d.a.wantRecorded("views-")
		d.b.wantRecorded("views-")
	})
}

// A director without a verdict is not of the same opinion either.
func TestDirectorWithoutAVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, alertTOML)
		defer d.end()
		d.a.sees(healthcheck.Up, healthcheck.Unknown)
		passes(viewsPause + alertSettles)
		d.a.wantViews(ViewStatus{Director: "lb-b", Status: "unknown"})
		d.a.wantRecorded("views-", "views-differ web/web-1: lb-a: up; lb-b: no verdict")
	})
}

// What another director told is not compared while it is not there, or asks other real
// servers; a disagreement that has been said is not said again after that.
func TestDisagreementOverACut(t *testing.T) {
	up, down := healthcheck.Up, healthcheck.Down
	other := strings.Replace(alertTOML, "10.0.0.22:80", "10.0.0.23:80", 1)
	for name, tt := range map[string]struct {
		cut, back func(*duo)
		state     string // of the peer's verdicts meanwhile
	}{
		"the stream is cut": {func(d *duo) { d.link(false) }, func(d *duo) { d.link(true) }, ""},
		"a reload there":    {func(d *duo) { d.b.reload(d.b.d, other) }, func(d *duo) { d.b.reload(d.b.d, alertTOML) }, ViewsOther},
		"it tells otherwise": {
			func(d *duo) { d.ends["lb-b"].SetNote(noteViews, []byte{2}); synctest.Wait() },
			func(d *duo) { d.b.sees(down, down); passes(time.Second) }, ViewsUnreadable,
		},
		"it restarts": {func(d *duo) { d.restart(d.b, alertTOML, Journalled{}); d.b.sees(down, up) }, func(d *duo) {}, ViewsCompared},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t, alertTOML)
				defer d.end()
				d.a.sees(up, up)
				d.b.sees(down, up)
				passes(viewsPause + alertSettles)
				if len(d.a.views()) != 1 {
					t.Errorf("views %v", d.a.views())
				}
				tt.cut(d)
				passes(time.Minute)
				if tt.state != ViewsCompared && len(d.a.views()) != 0 {
					t.Errorf("views of a director that cannot be compared with: %v", d.a.views())
				}
				if got := d.a.d.board.current.Load().viewsOf["lb-b"]; got != tt.state {
					t.Errorf("its verdicts are %q, want %q", got, tt.state)
				}
				tt.back(d)
				d.b.sees(down, up)
				passes(time.Minute)
				if len(d.a.views()) != 1 {
					t.Errorf("views after that: %v", d.a.views())
				}
				d.a.wantRecorded("views-", "views-differ web/web-1: lb-a: up; lb-b: down, no route to host")
				d.b.sees(up, up)
				passes(viewsPause)
				d.a.wantRecorded("views-agree", "views-agree web/web-1: lb-a and lb-b: up")
			})
		})
	}
}

// A director that does not answer on the membership has told nothing that still holds.
func TestViewsOfALostDirector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &stream{ends: make(map[string]*streamEnd)}
		w.peers, w.newRelay = &fakePeers{}, s.join("lb-a").make
		toml := alertTOML
		d, stop := w.run(toml)
		defer stop()
		m := &member{world: w, name: "lb-a", d: d}
		w.peers.becomes(true, parse(t, toml))
		m.sees(healthcheck.Up, healthcheck.Up)
		other := views{status: []healthcheck.Status{healthcheck.Down, healthcheck.Up}}
		_, other.list = viewedIn(newInForce(parse(t, toml)))
		s.join("lb-b").SetNote(noteViews, other.encode())
		synctest.Wait()
		passes(time.Minute)
		m.wantViews(ViewStatus{Director: "lb-b", Status: "down"})
		if p := d.Status().Peers[0]; p.Views != ViewsCompared {
			t.Errorf("its verdicts are %q", p.Views)
		}
		w.peers.becomes(false, parse(t, toml))
		m.wantViews()
	})
}

// However much changes, the others are told a few times a second.
func TestViewsAreToldAtMostSoOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, alertTOML)
		defer d.end()
		passes(time.Second)
		before := d.setsOf("lb-a", noteViews)
		for i := range 100 {
			d.a.verdict("10.0.0.21:80", healthcheck.Up+healthcheck.Status(i/7%2), errors.New("connect refused"))
			passes(10 * time.Millisecond)
		}
		passes(time.Minute)
		if n := d.setsOf("lb-a", noteViews) - before; n < 3 || n > 6 {
			t.Errorf("told %d times within a second, want 3 to 6", n)
		}
	})
}

// A director that has lost its network is one event, not one for each real server.
func TestManyDisagreementsAreOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var more strings.Builder
		for i := range 57 {
			fmt.Fprintf(&more, "more-%02d = { address = \"10.0.1.%d:80\" }\n", i, i+1)
		}
		toml := strings.Replace(alertTOML, "[check.alive]", more.String()+"[check.alive]", 1)
		d := newDuo(t, toml)
		defer d.end()
		d.a.sees(healthcheck.Up, healthcheck.Up)
		d.b.sees(healthcheck.Up, healthcheck.Up)
		all := func(s healthcheck.Status) {
			for i := range 57 {
				d.a.verdict(fmt.Sprintf("10.0.1.%d:80", i+1), s, errors.New("no route to host"))
			}
		}
		for i := range 57 {
			d.b.verdict(fmt.Sprintf("10.0.1.%d:80", i+1), healthcheck.Up, nil)
		}
		all(healthcheck.Down)
		passes(time.Minute)
		all(healthcheck.Up)
		passes(time.Minute)
		d.a.wantRecorded("views-",
			"views-differ lb-b: lb-a and lb-b disagree about 57 real servers: web/more-00; web/more-01; web/more-02; web/more-03; web/more-04; and 52 more",
			"views-agree web/more-00: lb-a and lb-b: up",
			"views-agree lb-b: lb-a and lb-b agree about 56 real servers again")
	})
}

// When that is spread over time, it is still few of them; and what ends before it was
// said was nothing.
func TestDisagreementsAreSaidTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toml := strings.Replace(alertTOML, "[check.alive]", "web-3 = { address = \"10.0.0.23:80\" }\nweb-4 = { address = \"10.0.0.24:80\" }\n[check.alive]", 1)
		d := newDuo(t, toml)
		defer d.end()
		see := func(i int, s healthcheck.Status) {
			d.a.verdict(fmt.Sprintf("10.0.0.2%d:80", i), s, errors.New("no route to host"))
		}
		for i := 1; i <= 4; i++ {
			d.b.verdict(fmt.Sprintf("10.0.0.2%d:80", i), healthcheck.Up, nil)
			see(i, healthcheck.Up)
		}
		passes(time.Minute)
		for i := 1; i <= 4; i++ {
			see(i, healthcheck.Down)
			passes(time.Second)
		}
		passes(alertSettles - 500*time.Millisecond)
		if n := len(d.a.views()); n != 4 {
			t.Errorf("%d disagreements in status, want 4", n)
		}
		see(3, healthcheck.Up)
		passes(viewsSaying)
		d.a.wantRecorded("views-",
			"views-differ web/web-1: lb-a: down, no route to host; lb-b: up",
			"views-differ web/web-2: lb-a: down, no route to host; lb-b: up",
			"views-differ web/web-4: lb-a: down, no route to host; lb-b: up")
		passes(viewsSaying)
		see(1, healthcheck.Up)
		passes(time.Second)
		see(2, healthcheck.Up) // for a moment that nobody needs to know of
		passes(time.Second)
		see(2, healthcheck.Down)
		passes(time.Minute)
		d.a.wantRecorded("views-agree", "views-agree web/web-1: lb-a and lb-b: up")
	})
}

func TestSettling(t *testing.T) {
	for _, tt := range []struct {
		check string
		want  time.Duration
	}{
		{"interval = \"2s\"\ntimeout = \"1s\"\nfall = 3\nrise = 2\njitter = \"0%\"", 8 * time.Second},
		{"interval = \"2s\"\ntimeout = \"1s\"\nfall = 3\nrise = 5\njitter = \"0%\"", 12 * time.Second},
		{"interval = \"2s\"\ntimeout = \"1s\"\nfall = 3\njitter = \"50%\"", 11 * time.Second},
		{"interval = \"2s\"\ntimeout = \"1s\"\nfall = 1\nrise = 1\ndown_interval = \"20s\"\njitter = \"0%\"", 22 * time.Second},
	} {
		cfg := parse(t, strings.Replace(pairTOML, `type = "tcp"`, "type = \"tcp\"\n"+tt.check, 1))
		list, _ := viewedIn(newInForce(cfg))
		if got := list[0].settle; got != tt.want {
			t.Errorf("%q settles in %v, want %v", tt.check, got, tt.want)
		}
	}
}

// Two directors talk about a real server by its place, if both have it there.
func TestViewsList(t *testing.T) {
	_, digest := viewedIn(newInForce(parse(t, pairTOML)))
	for name, tt := range map[string]struct {
		old, new string
		same     bool
	}{
		"a priority":    {"priority = 100", "priority = 90", true},
		"a weight":      {"weight = 2", "weight = 3", true},
		"an interval":   {`type = "tcp"`, "type = \"tcp\"\ninterval = \"1s\"", true},
		"the order":     {"web-1 = { address = \"10.0.0.21:80\", weight = 1 }\nweb-2 = { address = \"10.0.0.22:80\", weight = 2 }", "web-2 = { address = \"10.0.0.22:80\", weight = 2 }\nweb-1 = { address = \"10.0.0.21:80\", weight = 1 }", true},
		"an address":    {"10.0.0.22:80", "10.0.0.23:80", false},
		"a name":        {"web-2", "web-3", false},
		"another check": {"alive", "awake", false},
	} {
		toml := strings.ReplaceAll(pairTOML, tt.old, tt.new)
		if toml == pairTOML {
			t.Fatalf("%s: nothing replaced", name)
		}
		if _, got := viewedIn(newInForce(parse(t, toml))); (got == digest) != tt.same {
			t.Errorf("%s: the same list: %v, want %v", name, got == digest, tt.same)
		}
	}
}

// BenchmarkViews is what telling and comparing the verdicts on 10 000 real servers costs,
// at most five times a second: with all up, and with all of them down here alone.
func BenchmarkViews(b *testing.B) {
	for _, status := range []healthcheck.Status{healthcheck.Up, healthcheck.Down} {
		b.Run(status.String(), func(b *testing.B) {
			d := benchmarkDirector(b, strings.Replace(longTOML(1000, 10), "[check.alive]", "[director.lb-b]\naddress = \"10.0.0.12\"\n[sync]\nkey_file = \"/etc/hadirector/cluster.key\"\n[check.alive]", 1), make(chan healthcheck.Event))
			s := &stream{ends: make(map[string]*streamEnd)}
			d.relay.make = func(cfg *conf.Config, changed chan<- struct{}) (Relay, error) {
				return s.join("lb-a").make(cfg, "lb-a", changed)
			}
			d.configureViews()
			all := views{list: d.views.digest, status: make([]healthcheck.Status, len(d.views.list))}
			for i, v := range d.views.list {
				all.status[i] = healthcheck.Up
				for t := range targetsOf(v.rs) {
					d.health(healthcheck.Event{Target: t, Status: status, Err: errors.New("connect refused"), At: noonViews})
				}
			}
			if err := d.hearViews("lb-b", all.encode()); err != nil {
				b.Fatal(err)
			}
			now := time.Now()
			for b.Loop() {
				now = now.Add(time.Minute)
				d.tellViews(now)
			}
			if n := len(d.views.shown); n != 0 && n != 10_000 || (n == 0) != (status == healthcheck.Up) {
				b.Errorf("%d disagreements", n)
			}
		})
	}
}
