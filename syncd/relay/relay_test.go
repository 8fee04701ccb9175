package relay

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

var (
	first, second, third = established("192.0.2.1:40000"), established("192.0.2.2:40000"), established("192.0.2.3:40000")
	errBroken            = errors.New("it is broken")
)

// What the kernel tells goes to all peers, but for what the configuration withholds.
func TestCapturedGoesToAllPeers(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		o := master(ordered)
		o.Scopes = syncd.NewScopes([]syncd.ScopeRule{{Protocol: syncd.ProtocolTCP, Virtual: netip.MustParseAddrPort("10.0.0.100:81"), Scope: syncd.ScopeOff}})
		r.order(o)
		off := second
		off.Virtual = netip.MustParseAddrPort("10.0.0.100:81")
		r.kernel.says(0, first, off)
		synctest.Wait()
		r.expect("told", r.streams.wasTold(), "all: change 192.0.2.1 ESTABLISHED")
		r.wait(time.Second)
		s := r.Status()
		if s.Table.Conns != 1 || s.Capture.Datagrams != 1 || s.Capture.Withheld != 1 || !s.Capture.Running || s.Capture.Heard.IsZero() {
			t.Errorf("%+v, %+v", s.Table, s.Capture)
		}
	})
}

// The end of a connection is told with its beginning, however fast it comes.
func TestBeginningAndEndInOneBatch(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		o := master(ordered)
		o.Scopes = syncd.NewScopes([]syncd.ScopeRule{{Protocol: syncd.ProtocolTCP, Virtual: first.Virtual, Scope: syncd.ScopeEstablished}})
		r.order(o)
		r.kernel.says(0, first, closing(first), closing(second))
		synctest.Wait()
		r.expect("told", r.streams.wasTold(), "all: change 192.0.2.1 ESTABLISHED, 192.0.2.1 FIN_WAIT")
	})
}

// What cannot be read is counted and does no harm.
func TestMalformedDatagrams(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.kernel.capture.datagrams <- syncd.Datagram{Payload: []byte{1, 2, 3}, At: time.Now().Add(time.Hour)}
		r.kernel.says(0, first)
		r.wait(time.Second)
		if c := r.Status().Capture; c.Malformed != 1 || c.Datagrams != 2 || c.Lag < 0 {
			t.Errorf("%+v", c)
		}
	})
}

// Peers are told digests after a second, and again when they have changed.
func TestDigestsAreTold(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.wait(1500 * time.Millisecond)
		if n := len(r.streams.all()); n != syncd.DigestPages {
			t.Errorf("%d notes at first, want %d", n, syncd.DigestPages)
		}
		r.wait(10 * time.Second)
		if all := r.streams.all(); len(all) != 0 {
			t.Errorf("told although nothing has changed: %q", all)
		}
		r.kernel.says(0, first)
		r.wait(time.Second)
		if n := len(r.streams.all()); n != 2 { // the change and one page
			t.Errorf("%d told, want the change and one page", n)
		}
		r.wait(20 * time.Minute)
		if n := len(r.streams.all()); n != 1 {
			t.Errorf("%d told, want the page without the connection that has expired", n)
		}
	})
}

// What a peer tells is acknowledged when the kernel has it.
func TestDeliveredIsInjected(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.wait(2 * time.Second)
		release := r.kernel.hold("inject")
		r.deliver(first)
		r.deliver(second)
		r.expect("told while the daemon works", r.streams.wasTold(), "")
		release()
		synctest.Wait()
		r.expect("told", r.streams.wasTold(), "lb-b: injected 1; lb-b: injected 2")
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.1 ESTABLISHED, 192.0.2.2 ESTABLISHED")
		r.wait(time.Second)
		if i := r.Status().Inject; i.Conns != 2 || !i.Running || i.Behind || i.Restarts != 1 {
			t.Errorf("%+v", i)
		}
		for _, id := range r.kernel.syncIDs {
			if id != 1 {
				t.Errorf("injected with sync id %d", id)
			}
		}
	})
}

// Peers do not wait for a daemon that is not there. It is told everything when it comes, but for
// what this director serves itself.
func TestNoBackupDaemon(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		o := ordered
		o.Inject = false
		r.order(o)
		r.connect()
		r.deliver(first)
		r.deliver(second)
		r.expect("told", r.streams.wasTold(), "lb-b: injected 1; lb-b: injected 2")
		r.wait(time.Second)
		r.expect("why", r.peer().Why, "the kernel's backup sync daemon does not run")
		if r.Complete()["lb-b"] {
			t.Error("complete without a daemon")
		}
		o.Inject = true
		o.Serves = func(c syncd.Conn) bool { return c.Client == second.Client }
		r.order(o)
		r.wait(time.Second)
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.1 ESTABLISHED")
		if !r.Complete()["lb-b"] {
			t.Errorf("not complete: %+v", r.Status())
		}
	})
}

// A daemon that does not take a batch is told everything a second later. That is logged once,
// and its end when it has held for a while.
func TestInjectorFails(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.connect()
		r.deliver(first)
		r.wait(3 * time.Second)
		r.kernel.wasTold()
		r.streams.wasTold()
		r.logs.taken()
		r.kernel.fail("inject", errBroken)
		r.deliver(second)
		r.expect("told", r.streams.wasTold(), "lb-b: injected 2")
		r.expect("log", r.logs.taken(), "connection sync: the kernel is not told the peers' connections err=it is broken")
		if r.Complete()["lb-b"] {
			t.Error("complete although the kernel lacks a connection")
		}
		r.kernel.fail("inject", nil)
		r.wait(2 * time.Second)
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.1 ESTABLISHED, 192.0.2.2 ESTABLISHED")
		if !r.Complete()["lb-b"] || r.Status().Inject.Err != "" {
			t.Errorf("not complete: %+v", r.Status())
		}
		r.wait(2 * time.Minute)
		r.expect("log", r.logs.taken(), "connection sync: over: the kernel is not told the peers' connections")
	})
}

// Whatever fails for an hour fills no log.
func TestFailuresFillNoLog(t *testing.T) {
	for _, what := range []string{"capture", "injector", "inject", "tick", "list"} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(t *testing.T, r *rig) {
				o := ordered
				o.Tick = true
				r.kernel.fail(what, errBroken)
				r.order(o)
				for i := range 1200 {
					if i%2 == 1 { // and works in between
						r.kernel.fail(what, nil)
						if i%20 == 1 && what != "capture" {
							r.kernel.says(3, first)
						}
					} else {
						r.kernel.fail(what, errBroken)
					}
					r.wait(3 * time.Second)
				}
				if n := strings.Count(r.logs.taken(), "\n") + 1; n > 125 {
					t.Errorf("%d lines in an hour", n)
				}
				r.kernel.fail(what, nil)
				r.wait(2 * time.Minute)
				if s := r.Status(); s.Capture.Err != "" || s.Inject.Err != "" || s.Tick != "" || s.List != "" || s.Inject.Behind {
					t.Errorf("still broken: %+v", s)
				}
			})
		})
	}
}

// A capture that opens and breaks each second is one line, and its end another.
func TestCaptureBreaksEachSecond(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		for range 600 {
			r.kernel.capture.broken <- errBroken
			r.wait(time.Second)
		}
		if n := r.kernel.times("capture"); n < 500 {
			t.Errorf("opened %d times", n)
		}
		r.wait(2 * time.Minute)
		r.expect("log", r.logs.taken(), "connection sync: the kernel's connections are not heard err=it is broken\nconnection sync: over: the kernel's connections are not heard")
		if n := r.kernel.times("list"); n < 30 || n > 80 {
			t.Errorf("the list was read %d times, want every ten seconds", n)
		}
	})
}

// After datagrams were lost the list is read. Peers are told what this director serves of it,
// and no half-open connection.
func TestCaptureHasLostSomething(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		o := ordered
		o.Serves, o.Serving = func(c syncd.Conn) bool { return c.Client != second.Client }, "first and third"
		r.order(o)
		r.wait(30 * time.Second)
		open := established("192.0.2.4:40000")
		open.State = 3
		r.kernel.has(first, second, open)
		before := r.kernel.times("list")
		r.kernel.says(5, third)
		synctest.Wait()
		r.expect("told", r.streams.wasTold(), "all: change 192.0.2.3 ESTABLISHED")
		r.wait(11 * time.Second)
		if n := r.kernel.times("list"); n == before {
			t.Error("the list was not read")
		}
		r.expect("told", r.streams.wasTold(), "all: change 192.0.2.1 ESTABLISHED")
		r.expect("log", r.logs.taken(), "connections of the kernel were not heard, reading its list datagrams=5")
		if n := r.Status().Table.Conns; n != 2 {
			t.Errorf("%d connections in the table, want 2", n)
		}
	})
}

// A large table is read only when something may be missing.
func TestLargeListsAreSeldom(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(master(ordered))
		r.wait(time.Minute)
		if n := r.kernel.times("list"); n < 6 || n > 7 {
			t.Errorf("a small table was read %d times in a minute", n)
		}
		var many []syncd.Conn
		for i := range smallTable + 1 {
			c := first
			c.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 1024)
			many = append(many, c)
		}
		r.kernel.says(0, many...)
		r.wait(11 * time.Second)
		before := r.kernel.times("list")
		r.wait(5 * time.Minute)
		if n := r.kernel.times("list"); n != before {
			t.Errorf("a large table was read %d times", n-before)
		}
		r.kernel.says(1, first)
		r.wait(2 * time.Second)
		if n := r.kernel.times("list"); n != before+1 {
			t.Errorf("read %d times after something was lost", n-before)
		}
	})
}

// What peers tell waits for the list: this director's kernel may know better.
func TestPeersWaitForTheList(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.kernel.has(closing(first))
		release := r.kernel.hold("list")
		r.order(master(ordered))
		taken := make(chan struct{})
		go func() {
			defer close(taken)
			r.act(syncd.ReadSnapshot{Run: 9, Snapshot: 1, Max: 1000})
		}()
		r.wait(5 * time.Second)
		select {
		case <-taken:
			t.Error("an action was taken before the list was read")
		default:
		}
		release()
		<-taken
		// It is told once: as part of the table, from which a peer takes what it does not
		// know better.
		r.expect("told", r.streams.wasTold(), "lb-b: part of 1")
		stale := syncd.SnapshotChunk{Place: syncd.Place{Seq: 1}, Count: 1, Payload: append([]byte{0, 0, 0xff, 0xff}, payload(first)...)}
		r.act(syncd.Deliver{Run: 9, Frame: stale})
		r.wait(2 * time.Second)
		r.expect("the kernel", r.kernel.wasTold(), "")
		if x := r.Status().Exchange; x.Kept != 1 {
			t.Errorf("%+v", x)
		}
	})
}

// They do not wait for ever.
func TestPeersDoNotWaitForEver(t *testing.T) {
	t.Run("for a list that fails", func(t *testing.T) {
		simulate(t, func(t *testing.T, r *rig) {
			r.kernel.fail("list", errBroken)
			r.order(ordered)
			r.wait(time.Millisecond)
			began := time.Now()
			r.deliver(first)
			if d := time.Since(began); d > 0 {
				t.Errorf("taken after %v", d)
			}
			r.wait(time.Second)
			r.expect("list", r.Status().List, "it is broken")
		})
	})
	for name, o := range map[string]Orders{"for a list that takes long": ordered, "for a kernel that is not ready": {}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, r *rig) {
				release := r.kernel.hold("list")
				r.order(o)
				began := time.Now()
				r.deliver(first)
				if d := time.Since(began); d < 15*time.Second || d >= 30*time.Second {
					t.Errorf("taken after %v", d)
				}
				release()
			})
		})
	}
}

// On an interface that was made anew all sockets are.
func TestInterfaceMadeAnew(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		o := ordered
		o.Tick = true
		r.order(o)
		r.deliver(first)
		r.wait(2 * time.Second)
		r.kernel.wasTold()
		o.Interface = 8
		r.order(o)
		for _, what := range []string{"capture", "injector", "tick"} {
			if n := r.kernel.times(what); n != 2 || r.kernel.open[what] != 1 {
				t.Errorf("%s: opened %d times, and %d are open", what, n, r.kernel.open[what])
			}
		}
		r.wait(2 * time.Second)
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.1 ESTABLISHED")
		o.Interface = 0
		r.order(o)
		r.order(o)
		for _, what := range []string{"capture", "injector", "tick"} {
			if r.kernel.open[what] != 0 {
				t.Errorf("%s is open without an interface", what)
			}
		}
		if s := r.Status(); s.Capture.Running || s.Inject.Running || s.Capture.Err != "" || s.Inject.Err != "" {
			t.Errorf("%+v", s)
		}
	})
}

// The same orders again change nothing; another epoch has the daemon told everything.
func TestDaemonStartedAgain(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.deliver(first)
		r.wait(15 * time.Second)
		r.kernel.wasTold()
		lists := r.kernel.times("list")
		for range 5 {
			r.order(ordered)
		}
		r.expect("the kernel after the same orders", r.kernel.wasTold(), "")
		if n := r.kernel.times("list"); n != lists {
			t.Errorf("the same orders have the list read %d times", n-lists)
		}
		o := ordered
		o.Epoch = 2
		r.order(o)
		r.wait(time.Second)
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.1 ESTABLISHED")
		if n := r.kernel.times("injector"); n != 1 {
			t.Errorf("the injector was opened %d times", n)
		}
	})
}

// Orders that take the daemon away while it has a batch: the peer does not wait, and the next
// daemon is told.
func TestDaemonGoesWithABatch(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.wait(2 * time.Second)
		release := r.kernel.hold("inject")
		r.deliver(first)
		r.deliver(second)
		o := ordered
		o.Inject = false
		r.order(o)
		r.expect("told", r.streams.wasTold(), "lb-b: injected 1; lb-b: injected 2")
		release()
		r.order(ordered)
		r.wait(2 * time.Second)
		r.expect("told again", r.streams.wasTold(), "")
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.1 ESTABLISHED, 192.0.2.2 ESTABLISHED")
	})
}

// A daemon that leaves what it is handed is given up before the peer gives the stream up.
func TestDaemonTakesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.wait(2 * time.Second)
		release := r.kernel.hold("inject")
		r.deliver(first)
		r.wait(20 * time.Second)
		r.expect("told", r.streams.wasTold(), "lb-b: injected 1")
		r.expect("log", r.logs.taken(), "connection sync: the kernel is not told the peers' connections err=the backup sync daemon takes nothing for 15 s")
		release()
		r.wait(time.Minute)
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.1 ESTABLISHED")
	})
}

// A new mastership has the list read: what the kernel was not asked for yet is told now.
func TestBecomingMaster(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.wait(12 * time.Second)
		r.kernel.has(first)
		r.wait(20 * time.Second)
		r.expect("told as Backup", r.streams.wasTold(), "")
		r.order(master(ordered))
		r.wait(10 * time.Second)
		r.expect("told as Master", r.streams.wasTold(), "all: change 192.0.2.1 ESTABLISHED")
	})
}

// The kernel lacks what it was told: it is told again, once.
func TestKernelLacksSomething(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.deliver(first)
		r.deliver(second)
		r.wait(2 * time.Second)
		r.kernel.wasTold()
		r.kernel.has(first)
		r.wait(2 * time.Minute)
		r.expect("the kernel", r.kernel.wasTold(), "192.0.2.2 ESTABLISHED")
		r.expect("log", r.logs.taken(), "the kernel lacked connections that it should have, and is told them again connections=1")
	})
}

// Digests that differ although all was told ask for full resyncs: three, a minute apart.
func TestDifferenceIsMended(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.kernel.says(0, first)
		r.wait(time.Minute)
		r.connect()
		r.notes()
		r.streams.wasTold()
		r.wait(2 * time.Second)
		r.expect("told while the peer's count may be on its way", r.streams.wasTold(), "")
		var asks []time.Duration
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			r.wait(time.Second)
			if r.streams.wasTold() == "lb-b: want resync" {
				asks = append(asks, time.Since(began).Round(time.Second))
			}
		}
		if len(asks) != differsAsks || asks[1]-asks[0] != differsEvery || asks[2]-asks[1] != differsEvery || asks[0] > 5*time.Second {
			t.Errorf("asked after %v", asks)
		}
		p := r.peer()
		if p.State != syncd.RelayDiffers || p.Why != "different connections of TCP 10.0.0.100:80 (1 here, 0 there)" {
			t.Errorf("%s: %s", p.State, p.Why)
		}
		// Another connection may do what this one could not.
		r.act(syncd.StateChanged{Receiving: true, To: syncd.LinkConnecting})
		r.connect()
		r.wait(6 * time.Second)
		r.expect("told", r.streams.wasTold(), "lb-b: want resync")
	})
}

// In sync: both have the same, and that is said once.
func TestInSync(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		r.expect("why", r.peer().Why, "connection refused")
		r.deliver(first)
		r.connect()
		r.wait(2 * time.Second)
		r.expect("why", r.peer().Why, "waiting for its count")
		r.notes(r.x.Digests()...)
		<-r.changed
		r.wait(time.Second)
		p := r.peer()
		if p.State != syncd.RelayInSync || p.Why != "" || !p.Complete || p.Here.Conns != 1 || p.There.Conns != 1 {
			t.Errorf("%+v", p)
		}
		r.wait(time.Minute)
		r.expect("log", r.logs.taken(), "in sync with peer peer=lb-b connections=1 after=3s")
		r.act(syncd.StateChanged{Receiving: true, To: syncd.LinkConnecting})
		r.expect("log", r.logs.taken(), "no longer in sync with peer peer=lb-b state=connecting reason=no connection")
	})
}

// Whoever waits is woken when Complete changes, and by notes.
func TestWakes(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		woken := func() bool {
			synctest.Wait()
			select {
			case <-r.changed:
				return true
			default:
				return false
			}
		}
		r.order(ordered)
		r.wait(2 * time.Second)
		woken()
		if r.Complete()["lb-b"] {
			t.Error("complete without a stream")
		}
		r.connect()
		if !woken() || !r.Complete()["lb-b"] {
			t.Error("not woken when it was complete")
		}
		r.wait(time.Minute)
		if woken() {
			t.Error("woken by nothing")
		}
		r.act(syncd.DeliverNote{Kind: 3, Payload: []byte("three")})
		if !woken() || !bytes.Equal(r.Notes()["lb-b"][3], []byte("three")) {
			t.Errorf("not woken by a note: %q", r.Notes())
		}
		// What a peer has told holds as long as it is connected; it does not tell it again.
		r.act(syncd.StateChanged{To: syncd.LinkConnecting})
		r.act(syncd.StateChanged{Receiving: true, To: syncd.LinkConnecting})
		if !woken() || len(r.Notes()) != 0 {
			t.Errorf("without a connection: %q", r.Notes())
		}
		r.act(syncd.StateChanged{Receiving: true, To: syncd.LinkResyncing})
		if !woken() || !bytes.Equal(r.Notes()["lb-b"][3], []byte("three")) {
			t.Errorf("connected again: %q", r.Notes())
		}
		r.SetNote(4, []byte("four"))
		if got := r.streams.all(); len(got) == 0 || got[len(got)-1] != "all: note 4" {
			t.Errorf("told %q", got)
		}
	})
}

// A peer that speaks of its connections in another way is one line a minute.
func TestNotesThatAreNotUnderstood(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		for range 90 {
			r.act(syncd.DeliverNote{Kind: syncd.NoteDigests, Payload: []byte{9, 0}})
			r.wait(time.Second)
		}
		if n := strings.Count(r.logs.taken(), "not understood"); n != 2 {
			t.Errorf("%d lines", n)
		}
		r.act(syncd.DeliverNote{Kind: 200, Payload: []byte{1}})
		if len(r.Notes()) != 0 {
			t.Errorf("%q", r.Notes())
		}
	})
}

// A master daemon that says nothing while there are ticks is not taken for a quiet one.
func TestMasterDaemonIsSilent(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		o := ordered
		o.Tick = true
		r.order(o)
		r.kernel.mute(true)
		r.wait(10 * time.Second)
		const why = "nothing was heard of the master sync daemon for 5 s: it does not run, or a firewall drops what it sends"
		r.expect("status", r.Status().Capture.Err, why)
		r.expect("log", r.logs.taken(), "connection sync: the kernel tells no connections err="+why)
		r.kernel.mute(false)
		r.wait(2 * time.Minute)
		r.expect("status", r.Status().Capture.Err, "")
		r.expect("log", r.logs.taken(), "connection sync: over: the kernel tells no connections")
	})
}

// A stranger's action is nobody's.
func TestActionOfAStranger(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.order(ordered)
		for _, a := range []syncd.LinkAction{syncd.StateChanged{}, syncd.DeliverNote{Kind: 1}, syncd.Deliver{Frame: syncd.SnapshotBegin{}}} {
			r.streams.actions <- syncd.StreamAction{Peer: "lb-x", Action: a}
		}
		synctest.Wait()
		if len(r.Notes()) != 0 || len(r.Complete()) != 1 {
			t.Errorf("%v %v", r.Notes(), r.Complete())
		}
	})
}

// Stopping ends what hangs.
func TestStopWhileEverythingHangs(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		o := ordered
		o.Tick = true
		r.order(o)
		r.wait(12 * time.Second)
		r.kernel.hold("inject")
		r.kernel.hold("list")
		r.deliver(first)
		r.kernel.says(0, second)
		r.wait(10 * time.Second)
	})
}
