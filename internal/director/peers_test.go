package director

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
)

// keyedTOML is pairTOML with a cluster key.
var keyedTOML = strings.Replace(pairTOML, "sync_id   = 7", "sync_id = 7\nkey_file = \"/etc/hadirector/cluster.key\"", 1)

// fakePeers is a membership whose peer does what the test says.
type fakePeers struct {
	mu      sync.Mutex // guards everything below
	changed chan<- struct{}
	made    int
	stopped int
	err     error // of the next attempts to make it
	keyIDs  []string
	rekeyed int
	peer    Peer
	told    Announcement
}

func (p *fakePeers) make(_ *conf.Config, _ string, changed chan<- struct{}) (Peers, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	p.changed = changed
	p.made++
	p.peer.Alive = false // a new membership has yet to find it
	return p, nil
}

func (p *fakePeers) key(*conf.Config) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keyIDs, nil
}

func (p *fakePeers) Rekey(*conf.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rekeyed++
	return nil
}

func (p *fakePeers) Run(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped++
	return nil
}

func (p *fakePeers) Update(a Announcement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = a
}

func (p *fakePeers) Snapshots() []Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []Peer{p.peer}
}

// counts returns how often the membership was made and stopped.
func (p *fakePeers) counts() (made, stopped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made, p.stopped
}

// becomes changes what is known of the peer.
func (p *fakePeers) becomes(alive bool, cfg *conf.Config) {
	p.mu.Lock()
	p.peer = Peer{Name: "lb-b", Address: netip.MustParseAddr("10.0.0.12"), Alive: alive}
	if cfg != nil {
		p.peer.Announcement = Announcement{Version: "v1", Fingerprint: cfg.Fingerprint(), Config: cfg.Canonical()}
	}
	p.mu.Unlock()
	p.wake()
}

func (p *fakePeers) wake() {
	p.changed <- struct{}{}
	synctest.Wait()
}

func TestPeersComingGoingAndDiffering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		d, stop := w.run(keyedTOML)
		defer stop()
		same, other := parse(t, keyedTOML), parse(t, strings.Replace(keyedTOML, "weight = 2", "weight = 3", 1))
		w.peers.becomes(true, same)
		w.peers.becomes(true, same)
		w.peers.mu.Lock()
		w.peers.peer.Fingerprint, w.peers.peer.Config = other.Fingerprint(), "" // its text is on its way
		w.peers.mu.Unlock()
		w.peers.wake()
		w.peers.becomes(true, other)
		if p := d.Status().Peers[0]; p.SameConfig || cmp.Diff([]string{"virtual_server.web.real_server.web-2.weight"}, p.Differs) != "" {
			t.Errorf("status of a peer with another configuration: %+v", p)
		}
		w.peers.becomes(true, same)
		w.peers.becomes(false, nil)
		w.peers.becomes(true, same)
		w.peers.mu.Lock()
		w.peers.peer.Alive, w.peers.peer.Leaving = false, true
		w.peers.mu.Unlock()
		w.peers.wake()
		if diff := cmp.Diff([]string{
			"peer-joined lb-b: joined, version v1",
			"peer-config-differs lb-b: its configuration differs: virtual_server.web.real_server.web-2.weight",
			"peer-config-agrees lb-b: its configuration is the same again",
			"peer-lost lb-b: no longer answers on the membership protocol",
			"peer-joined lb-b: joined, version v1",
			"peer-left lb-b: was stopped",
		}, w.recorded("peer")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
	})
}

func TestPeersAreToldOfThisDirector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		_, stop := w.run(keyedTOML)
		defer stop()
		cfg := parse(t, keyedTOML)
		if w.peers.told.Fingerprint != cfg.Fingerprint() || w.peers.told.Config != cfg.Canonical() {
			t.Errorf("told %+v", w.peers.told)
		}
	})
}

func TestMembershipIsMadeAnewOnlyWhenItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		d, stop := w.run(keyedTOML)
		for _, tt := range []struct {
			old, new      string
			made, stopped int
		}{
			{"weight = 2", "weight = 3", 1, 0},
			{`address  = "10.0.0.12"`, `address  = "10.0.0.13"`, 2, 1},
			{"key_file", "# key_file", 2, 2},
		} {
			if _, err := d.Reload(t.Context(), parse(t, strings.Replace(keyedTOML, tt.old, tt.new, 1))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if made, stopped := w.peers.counts(); made != tt.made || stopped != tt.stopped {
				t.Errorf("after %s: made %d times, stopped %d times; want %d, %d", tt.new, made, stopped, tt.made, tt.stopped)
			}
		}
		stop()
	})
}

func TestAnotherKeyInTheSameFileMakesAnotherMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{keyIDs: []string{"old"}}
		d, stop := w.run(keyedTOML)
		defer stop()
		same := parse(t, keyedTOML)
		w.peers.becomes(true, same)
		w.peers.mu.Lock()
		w.peers.keyIDs = []string{"new"}
		w.peers.mu.Unlock()
		if _, err := d.Reload(t.Context(), same); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if made, stopped := w.peers.counts(); made != 2 || stopped != 1 {
			t.Errorf("made %d times, stopped %d times; want 2, 1", made, stopped)
		}
		w.peers.wake()
		if got := w.recorded("peer-lost"); len(got) != 0 {
			t.Errorf("a peer that nothing happened to was called lost: %q", got)
		}
	})
}

func TestRotationOfTheKeyKeepsTheMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{keyIDs: []string{"old"}}
		d, stop := w.run(keyedTOML)
		defer stop()
		for n, keys := range [][]string{{"new", "old"}, {"new"}, {"new"}} {
			w.peers.mu.Lock()
			w.peers.keyIDs = keys
			w.peers.mu.Unlock()
			if _, err := d.Reload(t.Context(), parse(t, keyedTOML)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			made, stopped := w.peers.counts()
			if want := min(n+1, 2); made != 1 || stopped != 0 || w.peers.rekeyed != want {
				t.Errorf("with %v: made %d times, stopped %d times, given other keys %d times; want 1, 0, %d", keys, made, stopped, w.peers.rekeyed, want)
			}
		}
	})
}

func TestOurOwnReloadTellsThatThePeerDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		d, stop := w.run(keyedTOML)
		defer stop()
		w.peers.becomes(true, parse(t, keyedTOML))
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(keyedTOML, "weight = 2", "weight = 3", 1))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.recorded("peer-config-differs"); len(got) != 1 {
			t.Errorf("events %q, want one", got)
		}
	})
}

func TestMissingKeyIsSaidOnceAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{err: errors.New("read cluster key: no such file")}
		d, stop := w.run(keyedTOML)
		defer stop()
		time.Sleep(3 * keyedRetry)
		synctest.Wait()
		if got := d.Status().Sync.PeersError; got != "read cluster key: no such file" {
			t.Errorf("status says %q", got)
		}
		if got := w.logged("no membership"); len(got) != 1 {
			t.Errorf("%d lines about it, want 1: %q", len(got), got)
		}
		w.peers.mu.Lock()
		w.peers.err = nil
		w.peers.mu.Unlock()
		time.Sleep(keyedRetry)
		synctest.Wait()
		made, _ := w.peers.counts()
		if got := d.Status().Sync.PeersError; got != "" || made != 1 {
			t.Errorf("with the key in place: error %q, made %d times", got, made)
		}
	})
}
