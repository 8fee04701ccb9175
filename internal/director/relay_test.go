package director

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

// fakeRelay is a relay that has of its peer's connections what the test says.
type fakeRelay struct {
	mu       sync.Mutex // guards everything below
	changed  chan<- struct{}
	made     int
	stopped  int
	rekeyed  int
	err      error // of the next attempts to make it
	orders   RelayOrders
	complete bool
	peer     syncd.RelayPeer
}

func (r *fakeRelay) make(_ *conf.Config, _ string, changed chan<- struct{}) (Relay, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	r.made++
	r.changed, r.orders, r.complete = changed, RelayOrders{}, false
	r.peer = syncd.RelayPeer{Name: "lb-b", State: syncd.RelayConnecting, Why: "no answer"}
	return r, nil
}

func (r *fakeRelay) Apply(o RelayOrders) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orders = o
}

func (r *fakeRelay) Complete() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return map[string]bool{"lb-b": r.complete}
}

func (r *fakeRelay) Status() syncd.RelayStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return syncd.RelayStatus{Peers: []syncd.RelayPeer{r.peer}}
}

func (r *fakeRelay) Rekey(*conf.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rekeyed++
	return nil
}

func (r *fakeRelay) Run(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped++
	return nil
}

func (*fakeRelay) SetNote(uint8, []byte)              {}
func (*fakeRelay) Notes() map[string]map[uint8][]byte { return nil }

// has says whether all of the peer's connections are here.
func (r *fakeRelay) has(complete bool) {
	r.mu.Lock()
	r.complete = complete
	r.mu.Unlock()
	r.changed <- struct{}{}
	synctest.Wait()
}

// stands says how the peer's connections and this director's compare.
func (r *fakeRelay) stands(state syncd.RelayState, why string, conns int) {
	r.mu.Lock()
	r.peer.State, r.peer.Why, r.peer.Since, r.peer.Here.Conns = state, why, time.Now(), conns
	r.mu.Unlock()
	r.changed <- struct{}{}
	synctest.Wait()
}

// lives is a peer that is alive as soon as the membership is there.
func (w *world) lives(t *testing.T, toml string) {
	t.Helper()
	w.peers.becomes(true, parse(t, toml))
}

const unsynced = "connections of lb-b are not all here"

// wantGate compares what the director waits for, and says so in the name of a step.
func (w *world) wantGate(d *Director, step string, want ...string) {
	w.t.Helper()
	synctest.Wait()
	s := d.Status()
	if diff := cmp.Diff(append([]string{}, want...), s.NotReady); diff != "" {
		w.t.Errorf("%s: not ready (-want +got):\n%s", step, diff)
	}
}

// gated runs a director whose checks all have a verdict, in a world with a relay and a peer.
func gated(t *testing.T, toml string) (w *world, d *Director, stop func() error) {
	t.Helper()
	w = newWorld(t)
	w.peers, w.relay = &fakePeers{}, &fakeRelay{}
	d, stop = w.run(toml)
	w.verdict("10.0.0.21:80", healthcheck.Up, nil)
	w.verdict("10.0.0.22:80", healthcheck.Up, nil)
	return w, d, stop
}

func TestReadyWithTheConnectionsOfALivingPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, stop := gated(t, relayTOML)
		defer stop()
		w.wantGate(d, "nothing is known of the peer yet", unsynced)
		w.lives(t, relayTOML)
		time.Sleep(2 * discovery)
		w.wantGate(d, "it lives", unsynced)
		if w.vrrp.applied("web").Preempt {
			t.Error("preempts without the connections")
		}
		w.relay.has(true)
		w.wantGate(d, "all are here")
		if !w.vrrp.applied("web").Preempt {
			t.Error("does not preempt with the connections")
		}
		if got := w.logged("not waiting any longer"); len(got) > 0 {
			t.Errorf("log %q", got)
		}
	})
}

func TestReadyWithoutAPeerThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, stop := gated(t, relayTOML)
		defer stop()
		time.Sleep(discovery - time.Millisecond)
		w.wantGate(d, "just before the discovery is over", unsynced)
		time.Sleep(time.Millisecond)
		w.wantGate(d, "nobody was found")
		if got := append(w.logged("not waiting any longer"), w.recorded("sync-wait-ended")...); len(got) > 0 {
			t.Errorf("said of a peer that is not there: %q", got)
		}
		// It comes later, with connections that this one has not.
		w.lives(t, relayTOML)
		w.wantGate(d, "it has come", unsynced)
		w.peers.becomes(false, nil)
		w.wantGate(d, "it is dead again")
	})
}

func TestWaitsForConnectionsNoLongerThanConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toml := strings.Replace(relayTOML, "[sync]", "[sync]\nmax_wait = \"12s\"", 1)
		w, d, stop := gated(t, toml)
		defer stop()
		time.Sleep(3 * time.Second)
		w.lives(t, toml)
		time.Sleep(9*time.Second - time.Millisecond)
		w.wantGate(d, "just before max_wait is over", unsynced)
		time.Sleep(time.Millisecond)
		w.wantGate(d, "max_wait is over")
		time.Sleep(time.Minute)
		w.wantGate(d, "much later")
		if diff := cmp.Diff([]string{"sync-wait-ended lb-b: its connections are not all here after 12s, not waiting any longer"}, w.recorded("sync-")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
		if got := w.logged("not waiting any longer"); len(got) != 1 || !strings.Contains(got[0], "peer=lb-b max_wait=12s") {
			t.Errorf("log %q", got)
		}
		// Once they are here, the next time it waits again.
		w.relay.has(true)
		w.relay.has(false)
		w.wantGate(d, "some are missing again", unsynced)
		time.Sleep(12 * time.Second)
		w.wantGate(d, "max_wait is over again")
		if got := w.recorded("sync-wait-ended"); len(got) != 2 {
			t.Errorf("events %q, want 2", got)
		}
	})
}

func TestMaxWaitOfNothingWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, stop := gated(t, strings.Replace(relayTOML, "[sync]", "[sync]\nmax_wait = \"0s\"", 1))
		defer stop()
		w.wantGate(d, "at the start")
	})
}

func TestAMasterWaitsForNoConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, stop := gated(t, relayTOML)
		defer stop()
		w.lives(t, relayTOML)
		w.wantGate(d, "as Backup", unsynced)
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.wantGate(d, "as Master")
		time.Sleep(2 * time.Minute)
		w.wantGate(d, "as Master for longer than max_wait")
		// A Backup again, it waits from then on.
		w.becomes(vrrp.Master, vrrp.Backup, vrrp.ReasonHigherPriority)
		w.wantGate(d, "as Backup again", unsynced)
		time.Sleep(30*time.Second - time.Millisecond)
		w.wantGate(d, "just before max_wait is over", unsynced)
		time.Sleep(time.Millisecond)
		w.wantGate(d, "max_wait is over")
	})
}

func TestABackupWhosePeerStartsAnewWaitsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d, stop := gated(t, relayTOML)
		defer stop()
		w.lives(t, relayTOML)
		w.relay.has(true)
		w.wantGate(d, "all are here")
		time.Sleep(discovery)
		w.peers.becomes(false, nil)
		w.relay.has(false)
		w.wantGate(d, "the peer is dead")
		w.lives(t, relayTOML)
		w.wantGate(d, "it is back", unsynced)
		w.relay.has(true)
		w.wantGate(d, "all are here again")
	})
}

func TestTheGateIsForARelayBetweenVirtualRouters(t *testing.T) {
	alone := strings.Replace(relayTOML, "[director.lb-b]\naddress  = \"10.0.0.12\"\npriority = 100\n", "", 1)
	routers := strings.Index(relayTOML, "[vrrp.web]")
	servers := strings.Index(relayTOML, "[virtual_server.web]")
	for name, toml := range map[string]string{
		"without virtual routers": relayTOML[:routers] + relayTOML[servers:],
		"without another one":     alone,
		"by the kernel":           pairTOML,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, d, stop := gated(t, toml)
				defer stop()
				w.wantGate(d, name)
			})
		})
	}
}

func TestTheGateOfSeveralPeers(t *testing.T) {
	start := time.Unix(0, 0)
	both := map[string]bool{"lb-b": false, "lb-c": false}
	g := make(syncGate)
	for _, tt := range []struct {
		after           time.Duration
		complete, alive map[string]bool
		why, over       string
		until           time.Duration
	}{
		{0, both, nil, "lb-b lb-c", "", 5 * time.Second},
		{2 * time.Second, both, map[string]bool{"lb-b": true}, "lb-b lb-c", "", 5 * time.Second},
		{5 * time.Second, both, map[string]bool{"lb-b": true}, "lb-b", "", 30 * time.Second},
		{10 * time.Second, both, map[string]bool{"lb-b": true, "lb-c": true}, "lb-b lb-c", "", 30 * time.Second},
		{30 * time.Second, both, map[string]bool{"lb-b": true, "lb-c": true}, "lb-c", "lb-b", 40 * time.Second},
		{31 * time.Second, both, map[string]bool{"lb-b": true, "lb-c": true}, "lb-c", "", 40 * time.Second},
		{32 * time.Second, map[string]bool{"lb-b": true, "lb-c": false}, map[string]bool{"lb-b": true, "lb-c": true}, "lb-c", "", 40 * time.Second},
		{33 * time.Second, both, map[string]bool{"lb-b": true, "lb-c": true}, "lb-b lb-c", "", 40 * time.Second},
		{41 * time.Second, both, map[string]bool{"lb-b": true, "lb-c": true}, "lb-b", "lb-c", 63 * time.Second},
		{42 * time.Second, map[string]bool{"lb-b": true, "lb-c": true}, map[string]bool{"lb-b": true}, "", "", 0},
	} {
		w := g.look(start.Add(tt.after), start, 30*time.Second, tt.complete, tt.alive)
		var names []string
		for _, w := range w.why {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(w, "connections of "), " are not all here"))
		}
		var left time.Duration
		if !w.until.IsZero() {
			left = w.until.Sub(start)
		}
		if got, want := fmt.Sprint(strings.Join(names, " "), "; over ", strings.Join(w.gaveUp, " "), "; until ", left), fmt.Sprint(tt.why, "; over ", tt.over, "; until ", tt.until); got != want {
			t.Errorf("after %v: %s, want %s", tt.after, got, want)
		}
	}
}

func TestTheRelayIsMadeAnewOnlyWhenItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers, w.relay = &fakePeers{keyIDs: []string{"old"}}, &fakeRelay{}
		d, stop := w.run(relayTOML)
		links := strings.NewReplacer(
			`"10.0.0.11"`, "\"10.0.0.11\"\nsync_addresses = [\"10.1.0.11\"]", `"10.0.0.12"`, "\"10.0.0.12\"\nsync_addresses = [\"10.1.0.12\"]",
		).Replace(relayTOML)
		changed := func(old, by string) string { return strings.Replace(links, old, by, 1) }
		for _, tt := range []struct {
			name, toml             string
			keys                   []string
			made, stopped, rekeyed int
		}{
			{"a weight", strings.Replace(relayTOML, "weight = 2", "weight = 3", 1), []string{"old"}, 1, 0, 0},
			{"one key more", relayTOML, []string{"new", "old"}, 1, 0, 1},
			{"another key", relayTOML, []string{"other"}, 2, 1, 1},
			{"addresses", links, []string{"other"}, 3, 2, 1},
			{"the size of the table", changed("[sync]", "[sync]\nmax_connections = 1000"), []string{"other"}, 4, 3, 1},
			{"the port", changed("[sync]", "[sync]\nstream_port = 9999"), []string{"other"}, 5, 4, 1},
			{"the patience", changed("[sync]", "[sync]\nmax_wait = \"1s\"\nstream_port = 9999"), []string{"other"}, 5, 4, 1},
			{"the mode", changed("[sync]", "[sync]\nmode = \"kernel\"\ninterface = \"eth1\""), []string{"other"}, 5, 5, 1},
		} {
			w.peers.mu.Lock()
			w.peers.keyIDs = tt.keys
			w.peers.mu.Unlock()
			if _, err := d.Reload(t.Context(), parse(t, tt.toml)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.relay.mu.Lock()
			made, stopped, rekeyed := w.relay.made, w.relay.stopped, w.relay.rekeyed
			w.relay.mu.Unlock()
			if made != tt.made || stopped != tt.stopped || rekeyed != tt.rekeyed {
				t.Errorf("%s: made %d times, stopped %d times, given other keys %d times; want %d, %d, %d",
					tt.name, made, stopped, rekeyed, tt.made, tt.stopped, tt.rekeyed)
			}
		}
		stop()
	})
}

// ordered is what the relay was told last, in words.
func (r *fakeRelay) ordered() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.orders
	conn := syncd.Conn{Protocol: syncd.ProtocolTCP, Virtual: netip.MustParseAddrPort("10.0.0.100:80")}
	return fmt.Sprintf("ready %v, interface %d, epoch %d, sync id %d, capture %v, inject %v, tick %v, serves %v %q",
		o.Ready, o.Interface, o.Epoch, o.SyncID, o.Capture, o.Inject, o.Tick, o.Serves != nil && o.Serves(conn), o.Serving)
}

func TestTheRelayIsToldHowTheKernelIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers, w.relay = &fakePeers{}, &fakeRelay{}
		d, _, stop := w.runRelay(relayTOML)
		defer stop()
		want := func(step, want string) {
			t.Helper()
			if got := w.relay.ordered(); got != want {
				t.Errorf("%s: %s\nwant %s", step, got, want)
			}
		}
		want("as Backup", `ready true, interface 11, epoch 2, sync id 7, capture true, inject true, tick false, serves false ""`)
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		want("as Master", `ready true, interface 11, epoch 2, sync id 7, capture true, inject true, tick true, serves true "web"`)

		// A new one is told at once, although nothing has changed in the kernel.
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(relayTOML, "[sync]", "[sync]\nmax_connections = 1000", 1))); err != nil {
			t.Fatal(err)
		}
		want("made anew", `ready true, interface 11, epoch 2, sync id 7, capture true, inject true, tick true, serves true "web"`)
		if w.relay.made != 2 {
			t.Errorf("made %d times, want 2", w.relay.made)
		}
	})
}

func TestARelayThatCannotBeMadeIsSaidOnceAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers, w.relay = &fakePeers{}, &fakeRelay{err: errors.New("read cluster key: no such file")}
		d, stop := w.run(relayTOML)
		defer stop()
		time.Sleep(3 * keyedRetry)
		synctest.Wait()
		if got := d.Status().Sync; got.RelayError != "read cluster key: no such file" || got.RelayStatus != nil {
			t.Errorf("status says %+v", got)
		}
		if got := w.logged("no connection sync with the other directors, trying again"); len(got) != 1 {
			t.Errorf("%d lines about it, want 1: %q", len(got), got)
		}
		w.relay.mu.Lock()
		w.relay.err = nil
		w.relay.mu.Unlock()
		time.Sleep(keyedRetry)
		synctest.Wait()
		if got := d.Status().Sync; got.RelayError != "" || got.RelayStatus == nil {
			t.Errorf("with the key in place: %+v", got)
		}
	})
}

func TestComingIntoSyncAndLosingItAreEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers, w.relay = &fakePeers{}, &fakeRelay{}
		d, stop := w.run(relayTOML)
		defer stop()
		w.relay.stands(syncd.RelayResyncing, "being told its connections", 10)
		w.relay.stands(syncd.RelayInSync, "", 41233)
		w.relay.stands(syncd.RelayInSync, "", 41234)
		w.relay.stands(syncd.RelayConnecting, "no answer", 41234)
		w.relay.stands(syncd.RelayResyncing, "being told its connections", 41234)
		w.relay.stands(syncd.RelayInSync, "", 41230)
		// Another relay has yet to find out what the one before it knew.
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(relayTOML, "[sync]", "[sync]\nmax_connections = 1000", 1))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.relay.stands(syncd.RelayInSync, "", 1000)
		w.relay.stands(syncd.RelayDiffers, "different connections of TCP 10.0.0.100:80 (12 here, 9 there)", 1000)
		if diff := cmp.Diff([]string{
			"peer-in-sync lb-b: has the same connections, 41233",
			"peer-out-of-sync lb-b: no longer in sync, connecting: no answer",
			"peer-in-sync lb-b: has the same connections, 41230",
			"peer-in-sync lb-b: has the same connections, 1000",
			"peer-out-of-sync lb-b: no longer in sync, differs: different connections of TCP 10.0.0.100:80 (12 here, 9 there)",
		}, w.recorded("peer-")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
		// The relay's own log has said it.
		if got := w.logged("in sync"); len(got) > 0 {
			t.Errorf("log %q", got)
		}
	})
}

func TestTheVirtualServerThatConnectionsAreOf(t *testing.T) {
	cfg := parse(t, `
[virtual_server.ports]
address = ["10.0.0.100:80-81", "10.0.0.101:443"]
protocol = "tcp"
[virtual_server.every]
address = "10.0.0.102:0"
protocol = "tcp"
persistence = "60s"
[virtual_server.one]
address = "10.0.0.102:9"
protocol = "tcp"
[virtual_server.mark]
fwmark = 10
mark = ["10.0.0.103:80"]
protocol = "tcp"
[virtual_server.mark6]
fwmark = 10
family = "ipv6"
`)
	at := func(p syncd.Protocol, addr string) syncd.VirtualServer {
		return syncd.VirtualServer{Protocol: p, Addr: netip.MustParseAddrPort(addr)}
	}
	for _, tt := range []struct {
		of   syncd.VirtualServer
		want string
	}{
		{at(syncd.ProtocolTCP, "10.0.0.100:81"), "ports"},
		{at(syncd.ProtocolTCP, "10.0.0.101:443"), "ports"},
		{at(syncd.ProtocolTCP, "10.0.0.101:80"), ""},
		{at(syncd.ProtocolUDP, "10.0.0.100:81"), ""},
		{at(syncd.ProtocolTCP, "10.0.0.102:9"), "one"},
		{at(syncd.ProtocolTCP, "10.0.0.102:7"), "every"},
		{at(syncd.ProtocolTCP, "10.0.0.102:0"), "every"},
		{at(syncd.ProtocolTCP, "10.0.0.103:80"), ""},
		{syncd.VirtualServer{FWMark: 10}, "mark"},
		{syncd.VirtualServer{FWMark: 10, IPv6: true}, "mark6"},
		{syncd.VirtualServer{FWMark: 11}, ""},
	} {
		if got := nameOfServer(cfg, tt.of); got != tt.want {
			t.Errorf("%v is of %q, want %q", tt.of, got, tt.want)
		}
	}
}
