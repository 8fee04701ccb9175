package bench

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hadirector/hadirector/lab/load"
)

// wire keeps what the directors have told each other, as the client hears it.
type wire struct {
	mu      sync.Mutex // guards adverts and changed
	adverts []load.Advert
	changed chan struct{} // closed and replaced at each advertisement
}

func newWire() *wire { return &wire{changed: make(chan struct{})} }

func (w *wire) heard(a load.Advert) {
	w.mu.Lock()
	w.adverts = append(w.adverts, a)
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
}

// wait returns the nth advertisement of a director that arrived after a time and says that
// it is Master.
func (w *wire) wait(ctx context.Context, director netip.Addr, after time.Time, nth int) (load.Advert, error) {
	for from, n := 0, 0; ; {
		w.mu.Lock()
		adverts, changed := w.adverts, w.changed
		w.mu.Unlock()
		for ; from < len(adverts); from++ {
			if a := adverts[from]; a.From == director && a.Priority > 0 && a.At.After(after) {
				if n++; n == nth {
					return a, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return load.Advert{}, fmt.Errorf("no advertisement of %v: %w", director, context.Cause(ctx))
		case <-changed:
		}
	}
}
