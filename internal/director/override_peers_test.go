package director

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// segment is what two memberships hear each other over.
type segment struct {
	mu   sync.Mutex // guards everything below
	ends map[string]*end
	cut  bool
	old  map[string]bool // directors of a version that shares no overrides
}

// end is one director's membership.
type end struct {
	segment *segment
	self    string
	changed chan<- struct{}
	told    Announcement // to the others
	heard   Announcement // from the other, last
	running bool
}

func (s *segment) make(_ *conf.Config, self string, changed chan<- struct{}) (Peers, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[self] = &end{segment: s, self: self, changed: changed}
	return s.ends[self], nil
}

func (e *end) Run(ctx context.Context) error {
	e.segment.set(func() { e.running = true })
	<-ctx.Done()
	e.segment.set(func() { e.running = false })
	return nil
}

func (*end) Rekey(*conf.Config) error { return nil }

func (e *end) Update(a Announcement) { e.segment.set(func() { e.told = a }) }

// set changes something, lets the directors hear each other, and wakes them.
func (s *segment) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	for _, e := range s.ends {
		if o := e.other(); o != nil {
			e.heard = o.told
			if s.old[o.self] {
				e.heard.Overrides, e.heard.OverridesID = "", [16]byte{}
			}
		}
		select {
		case e.changed <- struct{}{}:
		default:
		}
	}
}

// other is the other director's, if that is heard.
func (e *end) other() *end {
	for name, o := range e.segment.ends {
		if name != e.self && o.running && !e.segment.cut {
			return o
		}
	}
	return nil
}

func (e *end) Snapshots() []Peer {
	e.segment.mu.Lock()
	defer e.segment.mu.Unlock()
	peer := Peer{Name: "lb-b", Address: netip.MustParseAddr("10.0.0.12"), Alive: e.other() != nil, Announcement: e.heard}
	if e.self == "lb-b" {
		peer.Name, peer.Address = "lb-a", netip.MustParseAddr("10.0.0.11")
	}
	return []Peer{peer}
}

// site is two directors that hear each other.
type site struct {
	*segment
	t    *testing.T
	a, b *member
}

// member is one of them.
type member struct {
	*world
	name string
	d    *Director
	stop func() error
}

func newSite(t *testing.T) *site {
	s := &site{segment: &segment{ends: make(map[string]*end), old: make(map[string]bool)}, t: t}
	s.a, s.b = s.join("lb-a"), s.join("lb-b")
	s.a.start(keyedTOML)
	s.b.start(keyedTOML)
	return s
}

func (s *site) join(name string) *member {
	w := newWorld(s.t)
	w.newPeers = s.segment.make
	return &member{world: w, name: name}
}

func (m *member) start(toml string) {
	m.t.Helper()
	m.d, m.stop = m.runAs(m.name, toml)
}

// end stops both.
func (s *site) end() {
	for _, m := range []*member{s.a, s.b} {
		if err := m.stop(); err != nil {
			s.t.Error(err)
		}
	}
}

// link cuts the directors apart, or lets them hear each other again.
func (s *site) link(up bool) {
	s.set(func() { s.cut = !up })
	synctest.Wait()
}

// wants says what both kernels have to have.
func (s *site) wants(table string) {
	s.t.Helper()
	for _, m := range []*member{s.a, s.b} {
		if diff := cmp.Diff(table, m.kernel.String()); diff != "" {
			s.t.Errorf("%s: table -want +got:\n%s", m.name, diff)
		}
	}
	if a, b := s.a.d.board.current.Load(), s.b.d.board.current.Load(); !s.cut && a.overridesID != b.overridesID {
		s.t.Errorf("lb-a knows %v, lb-b %v", a.overrides, b.overrides)
	}
}

func (m *member) drain(target string) Overridden {
	m.t.Helper()
	return m.change(m.d, OverrideRequest{Target: target, Kind: OverrideDrain})
}

func (m *member) enable(target string) {
	m.t.Helper()
	m.change(m.d, OverrideRequest{Target: target, Kind: OverrideNone})
}

// reach is what the operator is told, at once.
func (m *member) reach() Reach {
	ctx, cancel := context.WithCancel(m.t.Context())
	cancel()
	return m.d.Reach(ctx)
}

func TestOverridesAreTheWholeClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		until := time.Now().Add(2 * time.Hour)
		s.a.change(s.a.d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain, For: 2 * time.Hour, Reason: "kernel update"})
		s.wants(tableWith("0"))
		if diff := cmp.Diff(Reach{On: []string{"lb-a", "lb-b"}, Missing: []string{}}, s.a.reach()); diff != "" {
			t.Errorf("reach -want +got:\n%s", diff)
		}
		o := s.b.d.Status().VirtualServers[0].RealServers[1].Override
		if o == nil || o.By != "root" || o.Director != "lb-a" || o.Reason != "kernel update" || !o.Until.Equal(until) {
			t.Errorf("status of lb-b: %+v", o)
		}
		if p := s.b.d.Status().Peers[0]; p.LiveChanges != LiveChangesSame {
			t.Errorf("lb-b calls lb-a's live changes %q", p.LiveChanges)
		}
		s.b.enable("web/web-2")
		s.wants(fullTable)
		s.b.change(s.b.d, OverrideRequest{Target: "web/web-1", Kind: OverrideWeight, Weight: 5, For: time.Hour})
		time.Sleep(time.Hour)
		synctest.Wait()
		s.wants(fullTable)
		if diff := cmp.Diff([]string{
			"override-set web/web-2: drain of web/web-2 by root on lb-a, until " + until.Format(time.RFC3339) + ", kernel update",
			"override-ended web/web-2: drain of web/web-2 ended: enabled by root",
			"override-set web/web-1: weight 5 of web/web-1 by root, until " + until.Add(-time.Hour).Format(time.RFC3339),
			"override-ended web/web-1: weight 5 of web/web-1 ended: its time is over",
		}, s.b.recorded("override")); diff != "" {
			t.Errorf("events of lb-b -want +got:\n%s", diff)
		}
		if got := s.a.recorded("override-ended"); len(got) != 2 || !strings.HasSuffix(got[0], "ended: enabled by root on lb-b") {
			t.Errorf("events of lb-a: %q", got)
		}
	})
}

// What a director missed while it was away, or did not hear the other one, it learns; and
// nobody brings back what was ended meanwhile.
func TestOverridesHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		s.a.drain("web/web-2")
		s.link(false)
		s.b.enable("web/web-2")
		s.a.wantTable(tableWith("0"))
		s.b.wantTable(fullTable)
		if r := s.b.reach(); len(r.On) != 1 || fmt.Sprint(r.Missing) != "[lb-a cannot be reached: it gets this when it is back]" {
			t.Errorf("reach %+v", r)
		}
		s.link(true)
		s.wants(fullTable)

		// An enable that had nothing to end where it was made, and is the newest all the same.
		s.link(false)
		s.a.drain("web/web-2")
		time.Sleep(time.Second)
		s.b.enable("web/web-2")
		s.link(true)
		s.wants(fullTable)

		s.link(false)
		s.b.enable("web")
		s.b.enable("web")
		time.Sleep(time.Second)
		s.a.drain("web/web-2")
		s.link(true)
		s.wants(tableWith("0"))

		if err := s.b.stop(); err != nil {
			t.Fatal(err)
		}
		s.a.enable("web/web-2")
		s.b.start(keyedTOML)
		s.wants(fullTable)
	})
}

func TestOverridesSurviveARestartOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.a.drain("web/web-2")
		s.b.drain("web/web-1")
		s.b.enable("web/web-1")
		s.end()
		kept := s.a.kept.load()
		s.a.start(keyedTOML)
		s.b.start(keyedTOML)
		defer func() { s.end() }()
		s.wants(tableWith("0"))
		if len(kept) != 2 || kept[ServerID{"web", "web-1"}].Kind != OverrideNone {
			t.Errorf("kept %v, want the drain and the end of the other one", kept)
		}
		if got := s.a.recorded("override-set"); len(got) != 2 {
			t.Errorf("said again: %q", got)
		}
	})
}

func TestClocksThatDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		// lb-a has been told by a clock that is ahead by a day.
		ahead := uint64(time.Now().Add(24 * time.Hour).UnixMilli())
		s.tell(Registers{{"web", "web-2"}: {ahead, Override{Kind: OverrideDrain, Director: "lb-b", By: "root", At: time.Now()}}})
		s.a.wantTable(tableWith("0"))
		s.a.enable("web/web-2")
		s.a.wantTable(fullTable)
	})
}

// tell lets lb-b say what it would not say itself.
func (s *site) tell(all Registers) {
	s.t.Helper()
	text, err := all.encode()
	if err != nil {
		s.t.Fatal(err)
	}
	s.set(func() { s.ends["lb-b"].told.Overrides, s.ends["lb-b"].told.OverridesID = text, sharedID(text) })
	synctest.Wait()
}

func TestRubbishOfAPeerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		s.a.drain("web/web-1")
		before := s.a.kernel.String()
		for range 2 {
			s.set(func() { s.ends["lb-b"].told.Overrides = sharedHead + "drain everything\n" })
			synctest.Wait()
			s.set(func() { s.ends["lb-b"].told.Overrides = sharedHead + "drain everything \n" })
			synctest.Wait()
		}
		many := make(Registers)
		for i := range MaxOverrides {
			many[ServerID{"shop", fmt.Sprint(i)}] = Register{1, Override{Kind: OverrideDrain, Director: "lb-b", At: time.Now()}}
		}
		s.tell(many)
		s.a.wantTable(before)
		if diff := cmp.Diff([]string{
			`level=WARN msg="overrides of a peer refused" peer=lb-b err="override of \"\"/\"\": invalid character 'd' looking for beginning of value"`,
			`level=WARN msg="overrides of a peer refused" peer=lb-b err="more than 20000 overrides"`,
		}, s.a.logged("refused")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if n := len(s.a.kept.load()); n != 1 {
			t.Errorf("%d are kept, want the own one", n)
		}
		// With as many as there may be, there is no room for one more.
		delete(many, ServerID{"shop", "0"})
		s.tell(many)
		if n := len(s.a.kept.load()); n != MaxOverrides {
			t.Fatalf("%d are kept", n)
		}
		_, err := s.a.d.Override(t.Context(), OverrideRequest{Target: "web/web-2", Kind: OverrideDrain, By: "root"})
		if err == nil || err.Error() != "drain web/web-2: more than 20000 overrides" {
			t.Errorf("got %v", err)
		}
		s.a.wantTable(before)
	})
}

// A real server leaves the cluster file by file: where it still is, its drain holds.
func TestRollingChangeOfTheConfiguration(t *testing.T) {
	without := strings.Replace(keyedTOML, "web-2 =", "# web-2 =", 1)
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		s.b.drain("web/web-2")
		s.a.reload(s.a.d, without)
		time.Sleep(resyncMin)
		synctest.Wait()
		s.a.wantTable(tableWith(""))
		s.b.wantTable(tableWith("0"))
		if u := s.a.d.Status().Unnamed; len(u) != 1 || u[0].VirtualServer != "web" || u[0].RealServer != "web-2" || u[0].Kind != OverrideDrain || u[0].Director != "lb-b" {
			t.Errorf("unnamed %+v", u)
		}
		s.a.reload(s.a.d, keyedTOML) // no, after all
		s.wants(tableWith("0"))
		s.a.reload(s.a.d, without)
		s.b.reload(s.b.d, without)
		time.Sleep(resyncMin)
		synctest.Wait()
		s.wants(tableWith(""))
		if a, b := s.a.d.Status().Unnamed, s.b.d.Status().Unnamed; len(a)+len(b) != 0 {
			t.Errorf("still there: %+v, %+v", a, b)
		}
		s.a.reload(s.a.d, keyedTOML)
		s.b.reload(s.b.d, keyedTOML)
		s.wants(fullTable)
		if got := s.a.logged("override ended"); len(got) != 2 {
			t.Errorf("lb-a logged %q, want once for each reload that removed it", got)
		}
		if got := s.b.logged("override ended"); len(got) != 1 {
			t.Errorf("lb-b logged %q, want one line", got)
		}
	})
}

func TestRenamedFileByFile(t *testing.T) {
	renamed := strings.Replace(keyedTOML, "web-2 =", "web-two =", 1)
	for name, enable := range map[string]bool{"drained all the time": false, "enabled in between": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				defer s.end()
				s.b.drain("web/web-2")
				s.a.reload(s.a.d, renamed)
				s.wants(tableWith("0"))
				if enable {
					s.a.enable("web/web-two")
					s.a.wantTable(fullTable)
					s.b.wantTable(tableWith("0"))
				}
				s.b.reload(s.b.d, renamed)
				want := tableWith("0")
				if enable {
					want = fullTable
				}
				s.wants(want)
				if a, b := s.a.d.Status().Unnamed, s.b.d.Status().Unnamed; len(a)+len(b) != 0 {
					t.Errorf("still there: %+v, %+v", a, b)
				}
			})
		})
	}
}

func TestOverrideOfAServerThatOnlyTheOtherNamesCanBeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		s.a.reload(s.a.d, strings.Replace(keyedTOML, "web-2 =", "# web-2 =", 1))
		s.b.drain("web/web-2")
		s.a.enable("web/web-2")
		s.b.wantTable(fullTable)
		if _, err := s.a.d.Override(t.Context(), OverrideRequest{Target: "web/web-2", Kind: OverrideNone}); err == nil {
			t.Error("what is not there was enabled again")
		}
	})
}

// Who the change applies to, in the operator's words.
func TestReach(t *testing.T) {
	for _, tt := range []struct {
		name, toml string
		arrange    func(*site)
		want       Reach
	}{
		{"both", keyedTOML, func(*site) {}, Reach{On: []string{"lb-a", "lb-b"}, Missing: []string{}}},
		{"the other is away", keyedTOML, func(s *site) { s.link(false) },
			Reach{On: []string{"lb-a"}, Missing: []string{"lb-b cannot be reached: it gets this when it is back"}}},
		{"the other is of an earlier version", keyedTOML, func(s *site) { s.set(func() { s.old["lb-b"] = true }) },
			Reach{On: []string{"lb-a"}, Missing: []string{"lb-b does not get this: its version v1 does not share live changes; make the change there too"}}},
		{"no key", pairTOML, func(*site) {},
			Reach{On: []string{"lb-a"}, Missing: []string{"lb-b does not get this: without [sync] key_file the directors share nothing; make the change there too"}}},
		{"alone", strings.Replace(pairTOML, "[director.lb-b]\naddress  = \"10.0.0.12\"\npriority = 100\n", "", 1), func(*site) {},
			Reach{On: []string{"lb-a"}, Missing: []string{}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				defer s.end()
				s.a.reload(s.a.d, tt.toml)
				tt.arrange(s)
				s.a.drain("web/web-2")
				if diff := cmp.Diff(tt.want, s.a.d.Reach(t.Context())); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

func TestReachWaitsForTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		s.set(func() { s.ends["lb-b"].told.OverridesID = [16]byte{1} }) // it has something else
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r := s.a.d.Reach(ctx); fmt.Sprint(r.Missing) != "[lb-b has not confirmed it yet]" {
			t.Errorf("%+v", r)
		}
		got := make(chan Reach)
		go func() { got <- s.a.d.Reach(t.Context()) }()
		synctest.Wait()
		s.tell(nil)
		if r := <-got; len(r.On) != 2 {
			t.Errorf("%+v", r)
		}
	})
}

// The Backup's kernel knows of the connections only what it was told: its word does not
// make a real server safe to stop.
func TestOnlyTheMasterCallsItSafeToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		check := func(safe bool, on ...string) {
			t.Helper()
			o := d.Status().VirtualServers[0].RealServers[1].Override
			if diff := cmp.Diff(append([]string{}, on...), o.CountedOn); diff != "" || o.SafeToStop != safe {
				t.Errorf("safe %v, want %v; counted on -want +got:\n%s", o.SafeToStop, safe, diff)
			}
		}
		check(false)
		w.vrrp.snapshot(vrrp.Snapshot{State: vrrp.Backup, MasterAddr: netip.MustParseAddr("10.0.0.12")})
		check(false, "lb-b")
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		check(true, "lb-a")
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 1})
		time.Sleep(resyncMin)
		synctest.Wait()
		check(false, "lb-a")
	})
}
