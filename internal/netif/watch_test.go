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
)

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
