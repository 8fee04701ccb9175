//go:build integration

package netif

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// patience is how long a test waits for what should happen at once.
const patience = 10 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addrsOf(t *testing.T, ifname string) []netip.Prefix {
	t.Helper()
	tb, err := readTable()
	must(t, err)
	return tb.state(ifname).Addrs
}
