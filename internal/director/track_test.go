package director

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/vrrp"
)

// State as the tables below write it.
var (
	unknown = TrackState{}
	up      = TrackState{Status: healthcheck.Up}
	down    = TrackState{Status: healthcheck.Down, Cause: "no route to host"}
)

func says(n int) TrackState { return TrackState{Status: healthcheck.Up, Value: n} }

func TestFit(t *testing.T) {
	type states map[string]TrackState
	tests := []struct {
		name     string
		priority vrrp.Priority
		track    []conf.Tracking
		states   states
		want     vrrp.Priority
		fault    string
	}{
		{"no tracks", 150, nil, nil, 150, ""},
		{"a positive weight while up", 100, []conf.Tracking{{Track: "ping", Weight: 30}}, states{"ping": up}, 130, ""},
		{"a positive weight while down", 100, []conf.Tracking{{Track: "ping", Weight: 30}}, states{"ping": down}, 100, ""},
		{"a positive weight without a verdict", 100, []conf.Tracking{{Track: "ping", Weight: 30}}, states{"ping": unknown}, 100, ""},
		{"a negative weight while up", 100, []conf.Tracking{{Track: "ping", Weight: -30}}, states{"ping": up}, 100, ""},
		{"a negative weight while down", 100, []conf.Tracking{{Track: "ping", Weight: -30}}, states{"ping": down}, 70, ""},
		{"a negative weight without a verdict", 100, []conf.Tracking{{Track: "ping", Weight: -30}}, nil, 100, ""},
		{"several", 100, []conf.Tracking{{Track: "ping", Weight: -30}, {Track: "link", Weight: -20}, {Track: "script", Weight: 5}},
			states{"ping": down, "link": down, "script": up}, 55, ""},
		{"not below 1", 100, []conf.Tracking{{Track: "ping", Weight: -100}}, states{"ping": down}, 1, ""},
		{"the sum decides, not the order", 100, []conf.Tracking{{Track: "ping", Weight: -150}, {Track: "link", Weight: 60}}, states{"ping": down, "link": up}, 10, ""},
		{"not above 254", 250, []conf.Tracking{{Track: "ping", Weight: 5}}, states{"ping": up}, 254, ""},
		{"a weight alone is never a fault", 1, []conf.Tracking{{Track: "ping", Weight: -253}}, states{"ping": down}, 1, ""},
		{"the owner has no weights", 255, []conf.Tracking{{Track: "ping", Weight: -30}, {Track: "file", Weight: -100}}, states{"ping": down, "file": says(3)}, 255, ""},
		{"the owner can be taken out", 255, []conf.Tracking{{Track: "ping", Fault: true}}, states{"ping": down}, 255, "track ping down: no route to host"},
		{"fault while up", 100, []conf.Tracking{{Track: "ping", Fault: true}}, states{"ping": up}, 100, ""},
		{"fault without a verdict", 100, []conf.Tracking{{Track: "ping", Fault: true}}, nil, 100, ""},
		{"two faults", 100, []conf.Tracking{{Track: "ping", Fault: true}, {Track: "link", Fault: true}},
			states{"ping": down, "link": down}, 100, "track ping down: no route to host; track link down: no route to host"},

		{"a file", 100, []conf.Tracking{{Track: "file", Weight: 1}}, states{"file": says(-40)}, 60, ""},
		{"a file with a weight", 100, []conf.Tracking{{Track: "file", Weight: -10}}, states{"file": says(4)}, 60, ""},
		{"a file that adds", 100, []conf.Tracking{{Track: "file", Weight: -2}}, states{"file": says(-20)}, 140, ""},
		{"a file that says 0", 100, []conf.Tracking{{Track: "file", Weight: -10}}, states{"file": says(0)}, 100, ""},
		{"a file that cannot be read", 100, []conf.Tracking{{Track: "file", Weight: -10}}, states{"file": down}, 100, ""},
		{"a file just short of a fault", 254, []conf.Tracking{{Track: "file", Weight: 1}}, states{"file": says(-253)}, 1, ""},
		{"a file that is a fault", 254, []conf.Tracking{{Track: "file", Weight: 1}}, states{"file": says(-254)}, 254, "track file says -254"},
		{"a file that is more than a fault", 100, []conf.Tracking{{Track: "file", Weight: 253}}, states{"file": says(-1 << 31)}, 100, "track file says -2147483648"},
		{"a file that adds all there is", 100, []conf.Tracking{{Track: "file", Weight: 253}}, states{"file": says(1<<31 - 1)}, 254, ""},
		{"a file with fault that says 0", 100, []conf.Tracking{{Track: "file", Fault: true}}, states{"file": says(0)}, 100, ""},
		{"a file with fault that says something", 100, []conf.Tracking{{Track: "file", Fault: true}}, states{"file": says(-1)}, 100, "track file says -1"},
		{"a file with fault that cannot be read", 100, []conf.Tracking{{Track: "file", Fault: true}}, states{"file": down}, 100, "track file down: no route to host"},
	}
	kinds := []conf.Track{
		{Name: "ping", Type: conf.TrackPing}, {Name: "link", Type: conf.TrackInterface},
		{Name: "script", Type: conf.TrackScript}, {Name: "file", Type: conf.TrackFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := &conf.Config{Tracks: kinds, VirtualRouters: []conf.VirtualRouter{
				{Name: "web", Priority: map[string]vrrp.Priority{"lb-a": tt.priority, "lb-b": 7}, Track: tt.track},
			}}
			f := Fit(cfg, &cfg.VirtualRouters[0], "lb-a", tt.states)
			if f.Base != tt.priority || f.Priority != tt.want {
				t.Errorf("priority %d made of %d, want %d of %d", f.Priority, f.Base, tt.want, tt.priority)
			}
			if diff := cmp.Diff(tt.fault, f.Fault()); diff != "" {
				t.Errorf("fault (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFitSaysWhatDoesWhat(t *testing.T) {
	cfg := &conf.Config{
		Tracks: []conf.Track{{Name: "ping", Type: conf.TrackPing}, {Name: "pool", Type: conf.TrackVirtualServer}, {Name: "file", Type: conf.TrackFile}},
		VirtualRouters: []conf.VirtualRouter{{Name: "web", Priority: map[string]vrrp.Priority{"lb-a": 100}, Track: []conf.Tracking{
			{Track: "file", Weight: 2}, {Track: "ping", Fault: true}, {Track: "pool", Weight: 20},
		}}},
	}
	f := Fit(cfg, &cfg.VirtualRouters[0], "lb-a", map[string]TrackState{"file": says(-5), "ping": down, "pool": up})
	want := Fitness{Base: 100, Priority: 110, Effects: []TrackEffect{
		{Track: "file", Weight: -10, Why: "says -5"},
		{Track: "ping", Fault: true, Why: "down: no route to host"},
		{Track: "pool", Weight: 20, Why: "up"},
	}}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The members of a sync group have one fitness, each track counted once.
func TestFitOfASyncGroup(t *testing.T) {
	member := func(name, group string, track ...conf.Tracking) conf.VirtualRouter {
		return conf.VirtualRouter{Name: name, SyncGroup: group, Priority: map[string]vrrp.Priority{"lb-a": 150}, Track: track}
	}
	cfg := &conf.Config{
		Tracks: []conf.Track{{Name: "ping", Type: conf.TrackPing}, {Name: "link", Type: conf.TrackInterface}, {Name: "pool", Type: conf.TrackVirtualServer}},
		VirtualRouters: []conf.VirtualRouter{
			member("web", "site", conf.Tracking{Track: "ping", Weight: -10}, conf.Tracking{Track: "link", Weight: -30}),
			member("web6", "site", conf.Tracking{Track: "link", Weight: -30}, conf.Tracking{Track: "ping", Weight: -20}),
			member("api", "site", conf.Tracking{Track: "pool", Fault: true}),
			member("other", "elsewhere", conf.Tracking{Track: "link", Weight: -1}),
			member("alone", ""),
		},
	}
	got := make(map[string]string)
	for i := range cfg.VirtualRouters {
		vr := &cfg.VirtualRouters[i]
		f := Fit(cfg, vr, "lb-a", map[string]TrackState{"ping": down, "link": down, "pool": down})
		got[vr.Name] = strings.TrimSpace(strings.Join([]string{string(rune('0' + f.Priority/100)), f.Fault()}, " "))
		if want := map[string]vrrp.Priority{"web": 100, "web6": 100, "api": 100, "other": 149, "alone": 150}[vr.Name]; f.Priority != want {
			t.Errorf("%s has priority %d, want %d", vr.Name, f.Priority, want)
		}
		wantFault := ""
		if vr.SyncGroup == "site" {
			wantFault = "track pool down: no route to host"
		}
		if f.Fault() != wantFault {
			t.Errorf("%s has fault %q, want %q", vr.Name, f.Fault(), wantFault)
		}
	}
}

func TestQuorate(t *testing.T) {
	// u up, d down, ? without a verdict, - without a check
	tests := []struct {
		servers string
		quorum  int
		was     TrackState
		want    TrackState
	}{
		{"uu", 1, unknown, up},
		{"ud", 1, up, up},
		{"dd", 1, up, TrackState{Status: healthcheck.Down, Cause: "0 of 2 real servers are up, want 1"}},
		{"ud", 2, up, TrackState{Status: healthcheck.Down, Cause: "1 of 2 real servers are up, want 2"}},
		{"u?", 1, unknown, up},
		{"??", 1, unknown, unknown},
		{"d?", 1, unknown, unknown},
		{"d?", 1, up, up},
		{"d?", 1, down, down},
		{"d?", 2, up, TrackState{Status: healthcheck.Down, Cause: "0 of 2 real servers are up, want 2"}},
		{"-d", 1, unknown, up},
		{"", 1, unknown, TrackState{Status: healthcheck.Down, Cause: "0 of 0 real servers are up, want 1"}},
		{"d", 0, unknown, TrackState{Status: healthcheck.Down, Cause: "0 of 1 real servers are up, want 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.servers, func(t *testing.T) {
			vs := &conf.VirtualServer{Quorum: tt.quorum}
			health := make(map[healthcheck.Target]healthcheck.Status)
			for i, s := range tt.servers {
				rs := conf.RealServer{Address: target("10.0.0.1:80").Addr, Checks: []string{"alive" + string(rune('0'+i))}}
				switch s {
				case 'u':
					health[healthcheck.Target{Addr: rs.Address, Check: rs.Checks[0]}] = healthcheck.Up
				case 'd':
					health[healthcheck.Target{Addr: rs.Address, Check: rs.Checks[0]}] = healthcheck.Down
				case '-':
					rs.Checks = nil
				}
				vs.RealServers = append(vs.RealServers, rs)
			}
			if diff := cmp.Diff(tt.want, quorate(vs, Facts{Health: health}, tt.was)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// trackedTOML is pairTOML with one track of each sort.
var trackedTOML = strings.Replace(pairTOML, "vrid              = 51", `vrid              = 51
track = { uplink = -60, gateway = "fault", notch = 1, pool = 20 }`, 1) + `
[track.uplink]
type = "interface"
interface = "eth7"

[track.gateway]
type = "ping"
address = "10.0.0.1"

[track.notch]
type = "file"
path = "/run/notch"

[track.pool]
type = "virtual_server"
virtual_server = "web"
`

// settled runs a director whose tracks and checks have all said that all is well.
func (w *world) settled(toml string) (d *Director, stop func() error) {
	w.t.Helper()
	d, stop = w.run(toml)
	w.link(map[string]Link{"eth7": {Up: true}})
	w.track("gateway", healthcheck.Up, 0, nil)
	w.track("notch", healthcheck.Up, 0, nil)
	w.verdict("10.0.0.21:80", healthcheck.Up, nil)
	w.verdict("10.0.0.22:80", healthcheck.Up, nil)
	if !d.Status().Ready {
		w.t.Fatalf("not ready: %v", d.Status().NotReady)
	}
	w.told()
	return d, stop
}

func TestTracksDecideAboutPriorityAndFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.settled(trackedTOML)
		defer stop()
		check := func(what string, priority vrrp.Priority, fault string, story ...string) {
			t.Helper()
			if in := w.vrrp.applied("web"); in.Priority != priority || in.Fault != fault {
				t.Errorf("%s: priority %d, fault %q, want %d, %q", what, in.Priority, in.Fault, priority, fault)
			}
			if diff := cmp.Diff(story, w.told()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
			s := d.Status().VirtualRouters[0]
			if s.Priority != uint8(priority) || s.BasePriority != 150 {
				t.Errorf("%s: status shows priority %d made of %d", what, s.Priority, s.BasePriority)
			}
		}
		check("all is well", 170, "")
		w.link(map[string]Link{"eth7": {Why: "link eth7 has no carrier"}})
		check("the link is down", 110, "", "vrrp web priority 110 preempt true")
		w.becomes(vrrp.Master, vrrp.Backup, vrrp.ReasonHigherPriority)
		if got := w.logged("virtual router changed state"); len(got) != 1 || !strings.Contains(got[0], " priority=110 ") {
			t.Errorf("log %q, want the effective priority", got)
		}
		w.link(map[string]Link{"eth7": {Why: "link eth7 does not exist"}})
		check("it is still down", 110, "")
		w.track("notch", healthcheck.Up, -30, nil)
		check("the file says -30", 80, "", "vrrp web priority 80 preempt true")
		w.track("gateway", healthcheck.Down, 0, errors.New("no route to host"))
		check("the gateway is gone", 80, "track gateway down: no route to host", "vrrp web priority 80 preempt true")
		w.verdict("10.0.0.21:80", healthcheck.Down, errors.New("connect refused"))
		check("one of the pool is left", 80, "track gateway down: no route to host")
		w.verdict("10.0.0.22:80", healthcheck.Down, errors.New("connect refused"))
		check("the pool is empty", 60, "track gateway down: no route to host", "vrrp web priority 60 preempt true")

		if diff := cmp.Diff([]TrackEffectStatus{
			{Track: "uplink", Weight: -60, Why: "down: link eth7 has no carrier"},
			{Track: "gateway", Fault: true, Why: "down: no route to host"},
			{Track: "notch", Weight: -30, Why: "says -30"},
		}, d.Status().VirtualRouters[0].Tracks); diff != "" {
			t.Errorf("status of the virtual router (-want +got):\n%s", diff)
		}
		minus30 := -30
		now := time.Now()
		if diff := cmp.Diff([]TrackStatus{
			{Name: "uplink", Type: "interface", Status: "down", Since: now, Cause: "link eth7 has no carrier"},
			{Name: "gateway", Type: "ping", Status: "down", Since: now, Cause: "no route to host"},
			{Name: "notch", Type: "file", Status: "up", Since: now, Value: &minus30},
			{Name: "pool", Type: "virtual_server", Status: "down", Since: now, Cause: "0 of 2 real servers are up, want 1"},
		}, d.Status().Tracks); diff != "" {
			t.Errorf("status of the tracks (-want +got):\n%s", diff)
		}

		w.track("gateway", healthcheck.Up, 0, nil)
		check("the gateway is back", 60, "", "vrrp web priority 60 preempt true")
		w.link(map[string]Link{"eth7": {Up: true}})
		w.track("notch", healthcheck.Up, 0, nil)
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		w.told()
		check("all is well again", 170, "")
	})
}

// A reload that brings a track on a virtual server knows at once how that one is.
func TestReloadBringsATrackOnAVirtualServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.verdict("10.0.0.21:80", healthcheck.Down, errors.New("connect refused"))
		w.verdict("10.0.0.22:80", healthcheck.Down, errors.New("connect refused"))
		toml := strings.Replace(pairTOML, "vrid ", "track = { pool = -20 }\nvrid ", 1) + "[track.pool]\ntype = \"virtual_server\"\nvirtual_server = \"web\"\n"
		if _, err := d.Reload(t.Context(), parse(t, toml)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if in := w.vrrp.applied("web"); in.Priority != 130 {
			t.Errorf("priority %d, want 130", in.Priority)
		}
	})
}

// Each change is one line and one event, with its cause and what follows.
func TestTrackChangesAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.settled(trackedTOML)
		defer stop()
		w.link(map[string]Link{"eth7": {Why: "link eth7 has no carrier"}})
		w.link(map[string]Link{"eth7": {Why: "link eth7 has no carrier"}})
		w.track("notch", healthcheck.Up, -30, nil)
		w.track("notch", healthcheck.Down, 0, errors.New("file does not exist"))
		w.track("gateway", healthcheck.Down, 0, errors.New("no route to host"))
		w.track("gateway", healthcheck.Down, 0, errors.New("no route to host"))
		w.track("gateway", healthcheck.Up, 0, nil)
		w.track("unheard-of", healthcheck.Down, 0, errors.New("of an old configuration"))
		if diff := cmp.Diff([]string{
			`level=INFO msg="track changed" track=pool type=virtual_server from=unknown to=up effect="web priority 150 to 170"`,
			`level=WARN msg="track changed" track=uplink type=interface from=up to=down err="link eth7 has no carrier" effect="web priority 170 to 110"`,
			`level=INFO msg="track changed" track=notch type=file from=up to=up value=-30 effect="web priority 110 to 80"`,
			`level=WARN msg="track changed" track=notch type=file from=up to=down err="file does not exist" effect="web priority 80 to 110"`,
			`level=WARN msg="track changed" track=gateway type=ping from=up to=down err="no route to host" effect="web must not take part"`,
			`level=INFO msg="track changed" track=gateway type=ping from=down to=up effect="web may take part again"`,
		}, w.logged("track changed")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			"track-changed pool: up; web priority 150 to 170",
			"track-changed uplink: down: link eth7 has no carrier; web priority 170 to 110",
			"track-changed notch: says -30; web priority 110 to 80",
			"track-changed notch: down: file does not exist; web priority 80 to 110",
			"track-changed gateway: down: no route to host; web must not take part",
			"track-changed gateway: up; web may take part again",
		}, w.recorded("track")); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
	})
}

func TestTracksWithoutAVerdictAreNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(trackedTOML + "[track.spare]\ntype = \"file\"\npath = \"/run/spare\"\n")
		defer stop()
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		if diff := cmp.Diff([]string{
			"track uplink has no verdict yet", "track gateway has no verdict yet", "track notch has no verdict yet",
		}, d.Status().NotReady); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		w.link(map[string]Link{"eth7": {Up: true}})
		w.track("gateway", healthcheck.Down, 0, errors.New("no route to host"))
		if d.Status().Ready {
			t.Error("ready without a verdict on notch")
		}
		w.told()
		w.track("notch", healthcheck.Up, 0, nil)
		if !d.Status().Ready {
			t.Errorf("not ready: %v", d.Status().NotReady)
		}
		if diff := cmp.Diff([]string{"vrrp web priority 170 preempt true"}, w.told()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestReloadKeepsTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.settled(trackedTOML)
		defer stop()
		w.link(map[string]Link{"eth7": {Why: "link eth7 has no carrier"}})
		w.track("notch", healthcheck.Up, -30, nil)
		w.told()
		reload := func(old, new string) map[string]string {
			t.Helper()
			toml := strings.Replace(trackedTOML, old, new, -1)
			if old != "" && toml == trackedTOML {
				t.Fatalf("%q is not in the configuration", old)
			}
			if _, err := d.Reload(t.Context(), parse(t, toml)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			states := make(map[string]string)
			for _, s := range d.Status().Tracks {
				states[s.Name] = s.Status
			}
			return states
		}
		all := map[string]string{"uplink": "down", "gateway": "up", "notch": "up", "pool": "up"}

		if diff := cmp.Diff(all, reload("-60", "-50")); diff != "" {
			t.Errorf("another weight (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"vrrp web priority 90 preempt true"}, w.told()); diff != "" {
			t.Errorf("another weight (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(all, reload("/run/notch", "/run/other")); diff != "" {
			t.Errorf("another file (-want +got):\n%s", diff)
		}
		if n := d.Status().Tracks[2].Value; n == nil || *n != -30 {
			t.Errorf("the file's number is %v until the other has been read, want -30", n)
		}
		w.told()

		// A new name for an interface that is watched: its state is known.
		renamed := map[string]string{"wan": "down", "gateway": "up", "notch": "up", "pool": "up"}
		if diff := cmp.Diff(renamed, reload("uplink", "wan")); diff != "" {
			t.Errorf("another name (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"vrrp web priority 80 preempt true"}, w.told()); diff != "" {
			t.Errorf("another name (-want +got):\n%s", diff)
		}
		reload("", "")
		w.told()

		// Another interface is another thing.
		other := map[string]string{"uplink": "unknown", "gateway": "up", "notch": "up", "pool": "up"}
		if diff := cmp.Diff(other, reload("eth7", "eth8")); diff != "" {
			t.Errorf("another interface (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"watch over", "watch eth8", "vrrp web priority 140 preempt false"}, w.told()); diff != "" {
			t.Errorf("another interface (-want +got):\n%s", diff)
		}
		if got := w.tracks.names(); got != "gateway notch" {
			t.Errorf("%q are asked", got)
		}
		if _, err := d.Reload(t.Context(), parse(t, pairTOML)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.tracks.names(); got != "" || len(d.Status().Tracks) != 0 {
			t.Errorf("without tracks %q are asked, and status has %v", got, d.Status().Tracks)
		}
		if diff := cmp.Diff([]string{"watch over", "vrrp web priority 150 preempt true"}, w.told()); diff != "" {
			t.Errorf("no tracks (-want +got):\n%s", diff)
		}
	})
}
