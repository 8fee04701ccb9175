//go:build ipvs && long

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// Strangers are refused, and a reload changes what may be changed, and the key.
func TestSyncGoesOn(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	sync := fmt.Sprintf("[sync]\nkey_file = %q\n", key)
	h, _, backup := b.hold(strings.NewReplacer(), sync)
	h.open(10)
	h.recovered("the start")
	h.refusesStrangers(backup)
	h.reloads(sync, key)
	h.failOver(backup)
}

// reloads reloads both directors, one after the other, with one more virtual server and another
// sync id, and then twice, to exchange the key.
func (h *held) reloads(sync, key string) {
	b, t := h.b, h.b.t
	t.Helper()
	reload := func() {
		t.Helper()
		for _, machine := range []string{cluster.LBA, cluster.LBB} {
			if _, err := b.Command(machine, b.daemon, "reload"); err != nil {
				t.Fatal(err)
			}
		}
	}

	const added = 2007
	b.configure(unhurried + echoAlone(cluster.EchoPort, added) + sync + "sync_id = 9\n")
	reload()
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until(machine+"'s daemons have the new sync id", func() bool {
			out := b.run(machine, "ipvsadm", "-L", "--daemon")
			return strings.Count(out, "syncid=9") == 2
		})
	}
	b.named([]uint16{added})
	b.talk("tcp", "10.0.0.1", fmt.Sprintf("%s:%d", cluster.VIP, added))
	b.until("a connection to the new virtual server is told", func() bool { return b.known(cluster.LBB)["ESTABLISHED 10.0.0.100:2007"] == 1 })
	h.recovered("the change of the sync id")

	for _, step := range []string{"--rotate", "--retire"} {
		b.run(cluster.LBA, b.daemon.Binary, "keygen", step, key)
		reload()
		h.recovered("keygen " + step)
	}
}
