package director

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

// From wherever the kernel and the file have come to, what is asked for is there once
// everybody lets the director work, and nothing of it after the stop.
func TestTheRelayFromAnywhereToAnywhere(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			files := []string{pairTOML, relayTOML, strings.Replace(relayTOML, "sync_id   = 7", "sync_id   = 8", 1), relayTOML + "[ipvs]\nbackup_only = true\n",
				pairTOML[:strings.Index(pairTOML, "[sync]")]}
			file, master := pick(r, files...), false
			d, k, stop := w.runRelay(file)
			for range 12 {
				switch r.IntN(8) {
				case 0, 1:
					file = pick(r, files...)
					w.reload(d, file)
				case 2:
					from, to := vrrp.Backup, vrrp.Master
					if master {
						from, to = to, from
					}
					master = !master
					w.becomes(from, to, vrrp.ReasonMasterDown)
				case 3:
					w.private.set(func() { w.private.index = 0 })
				case 4:
					_ = w.kernel.ApplyDaemon(t.Context(), syncd.Stop{Role: pick(r, syncd.RoleMaster, syncd.RoleBackup)})
				case 5:
					k.fail(pick(r, "-A", "-a", "-D", "--start-daemon", "--stop-daemon"))
				case 6:
					w.kernel.Remove(tickKey)
				case 7:
					w.private.set(func() {
						if w.private.err == nil {
							w.private.err = errors.New("no")
						} else {
							w.private.err = nil
						}
					})
				}
				if r.IntN(2) == 0 {
					time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				}
			}
			w.private.set(func() { w.private.err = nil })
			k.fail("")
			time.Sleep(30 * time.Second)
			synctest.Wait()

			f := Facts{VRRP: map[string]vrrp.State{"web": vrrp.Backup}}
			if master {
				f.VRRP["web"] = vrrp.Master
			}
			want := Compile(parse(t, file), "lb-a", f)
			got, _, _ := w.kernel.Table(t.Context())
			if diff := cmp.Diff(want.Table.String(), got.String()); diff != "" {
				t.Errorf("seed %d: table -want +got:\n%s", seed, diff)
			}
			var list []string
			for _, dm := range want.Daemons {
				on := 0
				if want.Private {
					on = w.private.now()
				}
				list = append(list, fmt.Sprintf("%s %s %d #%d", dm.Role, dm.Interface, dm.SyncID, on))
			}
			slices.Sort(list)
			k.want(t, fmt.Sprint("seed ", seed), strings.Join(list, ", "))
			p := d.told()
			if have := w.private.now() != 0; have != want.Private || p.Private.Index != w.private.now() || p.Ticks != (want.Table[tickKey].Destinations != nil) || !p.Reached || len(p.SyncErrs) != 0 {
				t.Errorf("seed %d: link %d, pass %+v", seed, w.private.now(), p)
			}
			if err := stop(); err != nil || w.kernel.String() != "" || k.daemonsNow(t) != "" || w.private.now() != 0 {
				t.Errorf("seed %d: after the stop, %v: link %d, daemons %q\n%s", seed, err, w.private.now(), k.daemonsNow(t), w.kernel)
			}
			if left := w.ledger.load(); left.Private || left.SyncDaemons || len(left.Services) != 0 {
				t.Errorf("seed %d: ledger %+v", seed, left)
			}
		})
	}
}
