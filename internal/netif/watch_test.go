package netif

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp/router"
)

// One delivery has the newest state of all the links that a Watch names, and nobody
// writes to it afterwards.
func TestWatchOfSeveralLinks(t *testing.T) {
	w := NewWatcher(nil)
	ch, stop := w.Watch("eth0", "eth1")
	defer stop()
	w.change(func(*table) { w.synced = true })
	first := <-ch
	w.change(func(tb *table) { tb.setLink(link{2, "eth0", true, true}) })
	w.change(func(tb *table) { tb.setLink(link{3, "eth1", true, false}) })
	want := map[string]router.Link{
		"eth0": {Name: "eth0", Index: 2, Up: true},
		"eth1": {Name: "eth1", Index: 3, Why: "link eth1 has no carrier"},
	}
	if diff := cmp.Diff(want, <-ch, comparePrefixes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want = map[string]router.Link{
		"eth0": {Name: "eth0", Why: "link eth0 does not exist"},
		"eth1": {Name: "eth1", Why: "link eth1 does not exist"},
	}
	if diff := cmp.Diff(want, first, comparePrefixes); diff != "" {
		t.Errorf("the first was written to, -want +got:\n%s", diff)
	}
}

// A subscription that is refused again and again is one line for each different
// error, and one when it works again.
func TestLostSubscriptionIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		follow := func(_ context.Context, synced func()) error {
			calls++
			switch {
			case calls <= 1000 && calls%2 == 1:
				return errors.New("operation not permitted")
			case calls <= 1000:
				return errors.New("too many open files")
			}
			synced()
			if calls == 1002 {
				cancel()
				return nil
			}
			time.Sleep(time.Hour)
			return errors.New("operation not permitted")
		}
		if err := keepFollowing(ctx, logger, follow); err != nil {
			t.Errorf("keepFollowing = %v, want nil after cancel", err)
		}
		want := `level=WARN msg="link subscription lost, subscribing again" err="operation not permitted"
level=WARN msg="link subscription lost, subscribing again" err="too many open files"
level=INFO msg="link subscription works again"
level=WARN msg="link subscription lost, subscribing again" err="operation not permitted"
level=INFO msg="link subscription works again"
`
		got := regexp.MustCompile(`time=\S+ `).ReplaceAllString(log.String(), "")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log after %d attempts (-want +got):\n%s", calls, diff)
		}
	})
}
