package director

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

func TestKeptServicesAreTakenOverAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		keep := pairTOML + "\n[ipvs]\non_stop = \"keep\"\n"
		d, stop := w.run(keep)
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		w.wantTable(tableWith("0"))
		if ds, _ := w.kernel.Daemons(t.Context()); len(ds) != 1 || ds[0].Role.String() != "backup" {
			t.Errorf("daemons after the stop: %v, want the one that receives", ds)
		}
		w.kernel.Applied()
		_, stop = w.run(keep)
		if diff := cmp.Diff([]string(nil), w.kernel.Applied()); diff != "" {
			t.Errorf("changes at the start -want +got:\n%s", diff)
		}
		if got := w.logged("taken over"); len(got) != 0 {
			t.Errorf("our own services were taken for another program's: %q", got)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		// Another configuration: only what differs, and what it no longer names goes.
		other := strings.Replace(strings.Replace(keep, "10.0.0.21:80", "10.0.0.23:80", 1), "wrr", "wlc", 1)
		w.kernel.Applied()
		_, stop = w.run(strings.Replace(other, `"keep"`, `"release"`, 1))
		if diff := cmp.Diff([]string{
			"-E -t 10.0.0.100:80 -s wlc",
			"-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 1",
			"-d -t 10.0.0.100:80 -r 10.0.0.21:80",
		}, w.kernel.Applied()); diff != "" {
			t.Errorf("changes at a start with another file -want +got:\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		w.wantTable("")
	})
}
