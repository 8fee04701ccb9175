package director

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// A check that succeeds and warns is told when the warning begins, changes and ends, and
// the real server stays where it is.
func TestWarningOfACheckIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(pairTOML)
		defer stop()
		warns := func(text string) {
			w.health.events <- healthcheck.Event{Target: target("10.0.0.22:80"), Status: healthcheck.Up, Notice: healthcheck.Notice{Text: text}}
			synctest.Wait()
		}
		warns("certificate expires 2026-12-01")
		warns("certificate expires 2026-12-01")
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("table -want +got:\n%s", diff)
		}
		w.verdict("10.0.0.22:80", healthcheck.Down, errors.New("connect refused"))
		warns("certificate expires 2026-12-01")
		warns("certificate expires 2026-12-02")
		warns("")
		if diff := cmp.Diff([]string{
			`level=WARN msg="real server's check warns" real_server=web-2 address=10.0.0.22:80 virtual_server=web check=alive warning="certificate expires 2026-12-01"`,
			`level=WARN msg="real server's check warns" real_server=web-2 address=10.0.0.22:80 virtual_server=web check=alive warning="certificate expires 2026-12-02"`,
			`level=INFO msg="real server's check no longer warns" real_server=web-2 address=10.0.0.22:80 virtual_server=web check=alive warning="certificate expires 2026-12-02"`,
		}, w.logged("warning=")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			"real-server-warning web/web-2: 10.0.0.22:80: check alive warns: certificate expires 2026-12-01",
			"real-server-warning web/web-2: 10.0.0.22:80: check alive warns: certificate expires 2026-12-02",
			"real-server-warning web/web-2: 10.0.0.22:80: check alive no longer warns: certificate expires 2026-12-02",
		}, w.recorded("real-server-warning")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
	})
}

// A warning that comes when a reload has taken the real server away is told to nobody, and so
// it is said when the real server is back; one that was said before it went is said again.
func TestWarningOfARealServerThatReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		without := strings.Replace(pairTOML, "web-2 = { address = \"10.0.0.22:80\", weight = 2 }\n", "", 1)
		warns := func() {
			w.health.events <- healthcheck.Event{Target: target("10.0.0.22:80"), Status: healthcheck.Up, Notice: healthcheck.Notice{Text: "certificate expires 2026-12-01"}}
			synctest.Wait()
		}
		said := func(want int) {
			t.Helper()
			if got := w.logged("check warns"); len(got) != want {
				t.Errorf("said %d times, want %d: %q", len(got), want, got)
			}
		}
		w.reload(d, without)
		warns() // it was on its way
		said(0)
		w.reload(d, pairTOML)
		warns()
		said(1)
		w.reload(d, strings.Replace(pairTOML, "weight = 2", "weight = 3", 1))
		warns()
		said(1)
		w.reload(d, without)
		w.reload(d, pairTOML)
		warns()
		said(2)
	})
}

// The status of a real server has what its checks warn of, and when its certificate ends.
func TestStatusHasWarnings(t *testing.T) {
	end := time.Unix(2e9, 0)
	rs := &conf.RealServer{Address: netip.MustParseAddrPort("10.0.0.22:80"), Checks: []string{"alive"}}
	var r RealStatus
	r.checkStatus(rs, Facts{}, map[healthcheck.Target]healthcheck.Snapshot{
		target("10.0.0.22:80"): {Notice: healthcheck.Notice{Text: "certificate expires 2033-05-18", Expires: end}},
	})
	want := []CheckStatus{{Name: "alive", Status: "unknown", Warning: "certificate expires 2033-05-18", CertificateExpires: end}}
	if diff := cmp.Diff(want, r.Checks); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
