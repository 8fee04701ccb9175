package director

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// fakeTracks is a Health that asks nobody.
type fakeTracks struct {
	events chan healthcheck.Event

	mu        sync.Mutex // guards what follows
	targets   map[healthcheck.Target]healthcheck.Spec
	snapshots map[healthcheck.Target]healthcheck.Snapshot
}

func (f *fakeTracks) Apply(targets map[healthcheck.Target]healthcheck.Spec) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.targets = targets
}

func (*fakeTracks) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (f *fakeTracks) Snapshots() map[healthcheck.Target]healthcheck.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.snapshots)
}

func (f *fakeTracks) Load() healthcheck.Load { return healthcheck.Load{} }

// names are those of the tracks that are asked.
func (f *fakeTracks) names() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for t := range f.targets {
		names = append(names, t.Check)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// fakeLinks is a Links that says what the test says.
type fakeLinks struct {
	world *world
	mu    sync.Mutex // guards news
	news  chan map[string]Link
}

func (f *fakeLinks) Watch(ifnames ...string) (<-chan map[string]Link, func()) {
	f.world.tell("watch %s", strings.Join(ifnames, " "))
	news := make(chan map[string]Link, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.news = news
	return news, func() { f.world.tell("watch over") }
}

// track delivers the verdict on a track.
func (w *world) track(name string, s healthcheck.Status, value int, err error) {
	w.tracks.events <- healthcheck.Event{Target: healthcheck.Target{Check: name}, Status: s, Value: healthcheck.Value{Unit: healthcheck.Number, N: value}, Err: err, At: time.Now()}
	synctest.Wait()
}

// link delivers the state of interfaces.
func (w *world) link(links map[string]Link) {
	w.links.mu.Lock()
	news := w.links.news
	w.links.mu.Unlock()
	news <- links
	synctest.Wait()
}
