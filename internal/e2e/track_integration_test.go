//go:build integration

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
)

// tracks look at what each machine has of its own: its second link, and two numbers of its
// network namespace that mean nothing to the kernel (net.ipv4.conf.*.tag).
const tracks = `
[track.uplink]
type      = "interface"
interface = "eth1"

[track.notch]
type     = "file"
path     = "/proc/sys/net/ipv4/conf/eth0/tag"
interval = "100ms"

[track.opinion]
type     = "script"
command  = ["/bin/sh", "-c", 'read n < "$1"; test $n = 0 && exit 0; grep -q "SigIgn.*[13579bdf]...$" /proc/$$/status && pipe=ignored; echo "the tag is $n for $(id -u), SIGPIPE ${pipe:-as usual}"; exit 3', "sh", "/proc/sys/net/ipv4/conf/eth1/tag"]
interval = "100ms"
timeout  = "5s"

[track.gateway]
type     = "ping"
address  = "10.0.0.21"
interval = "100ms"
timeout  = "100ms"

[track.resident]
type     = "process"
process  = "no-such-program"
interval = "100ms"
`

// trackChanged is the log line of a track.
const trackChanged = "track changed"

// tracked starts a pair whose virtual router has tracks, and returns when both directors
// are ready.
func (b *bed) tracked() (master, backup *node) {
	b.t.Helper()
	b.configure(strings.Replace(cluster.VRRP, "vrid ", `track = { uplink = -60, notch = 1, opinion = "fault", gateway = -5, resident = 3 }
vrid `, 1) + tracks)
	master, backup = b.pair()
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until(machine+" is ready", func() bool { return b.status(machine).Ready })
	}
	b.until("lb-a is Master of lb-b", func() bool {
		return b.router(cluster.LBA).State == "master" && b.router(cluster.LBB).State == "backup"
	})
	master.now()
	backup.now()
	return master, backup
}

// tag sets a number that a track looks at.
func (b *bed) tag(machine, ifname string, n int) {
	b.t.Helper()
	b.run(machine, "sysctl", "-qw", fmt.Sprintf("net.ipv4.conf.%s.tag=%d", ifname, n))
}

// A Master whose tracks lower its priority below the Backup's gives way, says why, and is
// Master again when the tracks are back.
func TestTracksMoveMastership(t *testing.T) {
	for _, tt := range []struct {
		name       string
		fail, mend func(b *bed)
		said       []string // of the change of the track
		effect     director.TrackEffectStatus
		priority   uint8
	}{
		{"a file", func(b *bed) { b.tag(cluster.LBA, "eth0", -70) }, func(b *bed) { b.tag(cluster.LBA, "eth0", 0) },
			[]string{"track=notch", "value=-70", `effect="web priority 150 to 80"`},
			director.TrackEffectStatus{Track: "notch", Weight: -70, Why: "says -70"}, 80},
		{"an interface",
			func(b *bed) { b.run(cluster.LBA, "ip", "link", "set", "eth1", "down") },
			func(b *bed) { b.run(cluster.LBA, "ip", "link", "set", "eth1", "up") },
			[]string{"track=uplink", "to=down", "eth1", `effect="web priority 150 to 90"`},
			director.TrackEffectStatus{Track: "uplink", Weight: -60, Why: "down: link eth1 is down"}, 90},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			master, backup := b.tracked()
			tt.fail(b)
			master.wait(append([]string{trackChanged}, tt.said...)...)
			backup.wait(changedState, "to=master", "reason=preempt")
			master.wait(changedState, "to=backup", "reason=higher-priority", fmt.Sprintf("priority=%d", tt.priority))
			b.until("the virtual address is on lb-b alone", func() bool { return b.holds(cluster.LBB) && !b.holds(cluster.LBA) })
			r := b.router(cluster.LBA)
			if r.Priority != tt.priority || r.BasePriority != 150 {
				t.Errorf("status: priority %d made of %d, want %d of 150", r.Priority, r.BasePriority, tt.priority)
			}
			if diff := cmp.Diff([]director.TrackEffectStatus{tt.effect}, r.Tracks); diff != "" {
				t.Errorf("status: tracks that do something (-want +got):\n%s", diff)
			}

			tt.mend(b)
			master.wait(trackChanged, tt.said[0], `to 150"`)
			master.wait(changedState, "to=master", "reason=preempt")
			backup.wait(changedState, "to=backup", "reason=higher-priority")
		})
	}
}

// A track with "fault" takes the director out at once, with the script's own words as the
// reason everywhere.
func TestTrackIsAFault(t *testing.T) {
	b := newBed(t)
	master, backup := b.tracked()
	b.tag(cluster.LBA, "eth1", 7)
	const cause = "exit status 3: the tag is 7 for 65534, SIGPIPE as usual"
	master.wait(trackChanged, "track=opinion", "to=down", cause, `effect="web must not take part"`)
	master.wait(changedState, "to=fault", "reason=failed", "track opinion down: "+cause)
	backup.wait(changedState, "to=master", "reason=master-released")
	b.until("the virtual address is on lb-b alone", func() bool { return b.holds(cluster.LBB) && !b.holds(cluster.LBA) })
	if r := b.router(cluster.LBA); r.State != "fault" || r.Detail != "track opinion down: "+cause {
		t.Errorf("status: state %q, detail %q", r.State, r.Detail)
	}
	if events := b.events(cluster.LBA); !strings.Contains(events, "down: "+cause+"; web must not take part") {
		t.Errorf("the journal does not tell of the track:\n%s", events)
	}
	text, err := b.Command(cluster.LBA, b.daemon, "status")
	if err != nil || !strings.Contains(text, "opinion: "+cause) {
		t.Errorf("status does not tell of the track (%v):\n%s", err, text)
	}

	b.tag(cluster.LBA, "eth1", 0)
	master.wait(changedState, "from=fault", "to=backup")
	master.wait(changedState, "to=master")
	backup.wait(changedState, "to=backup")
}

// A reload keeps what is known of tracks: nothing is said, and nobody moves.
func TestReloadKeepsTracks(t *testing.T) {
	b := newBed(t)
	master, backup := b.tracked()
	b.tag(cluster.LBA, "eth0", -70)
	backup.wait(changedState, "to=master", "reason=preempt")
	master.wait(changedState, "to=backup")
	before := b.status(cluster.LBA)
	changes := master.count(trackChanged)

	b.configure(strings.Replace(cluster.VRRP, "vrid ", `track = { uplink = -40, notch = 1, opinion = "fault", gateway = -5, resident = 3 }
vrid `, 1) + strings.Replace(tracks, `"100ms"`, `"200ms"`, 1))
	if err := master.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.until("the reload is in force", func() bool { return b.status(cluster.LBA).Config.Hash != before.Config.Hash })
	after := b.status(cluster.LBA)
	if diff := cmp.Diff(before.Tracks, after.Tracks); diff != "" {
		t.Errorf("tracks before and after (-before +after):\n%s", diff)
	}
	if r := after.VirtualRouters[0]; r.State != "backup" || r.Priority != 80 || !after.Ready {
		t.Errorf("state %s, priority %d, ready %t after the reload, want backup, 80, true", r.State, r.Priority, after.Ready)
	}
	if n := master.count(trackChanged); n != changes {
		t.Errorf("%d lines about tracks after the reload, %d before", n, changes)
	}
	states := make(map[string]string)
	for _, s := range after.Tracks {
		states[s.Name] = s.Status
	}
	if diff := cmp.Diff(map[string]string{"uplink": "up", "notch": "up", "opinion": "up", "gateway": "up", "resident": "down"}, states); diff != "" {
		t.Errorf("states of the tracks (-want +got):\n%s", diff)
	}
}
