//go:build ipvs && systemd

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
)

// The service as its unit file has it, on a machine that systemd manages: nothing that the
// daemon does is kept from it by what the file restricts, and whatever becomes of its
// processes, systemd and the daemon put it right.
func TestUnitFiles(t *testing.T) {
	b := newBed(t)
	b.serve()
	u := b.boot()
	u.typed(
		"install -m 755 bin/hadirector /usr/bin/",
		"install -m 644 dist/hadirector.service /etc/systemd/system/",
		"install -d /etc/hadirector",
	)
	before := u.kernel()
	b.forget("ip_vs[a-z_]*") // which ipvsadm has loaded: the service can do it too
	u.configure(unitConfig)
	u.typed("hadirector keygen /etc/hadirector/cluster.key", "hadirector check", "systemctl enable --now hadirector")

	// The command returns when the director is ready for connections, and not before.
	if diff := cmp.Diff(labTable, b.table(cluster.LBA)); diff != "" {
		t.Errorf("ipvsadm -Sn when the start is over (-want +got):\n%s", diff)
	}
	u.shows(map[string]string{"ActiveState": "active", "SubState": "running", "NRestarts": "0", "UnitFileState": "enabled"})
	u.master()
	u.checkProcesses()
	u.checkScripts()
	if tables := u.do("nft", "list", "tables"); tables != "table inet hadirector\n" {
		t.Errorf("nft list tables: %q", tables)
	}

	u.reloads()
	u.survives()
	u.restarts()
	u.stops(before)
	u.checkLog()
	u.realServer()
	if t.Failed() {
		t.Log(u.Output())
	}
}

// checkProcesses checks what the daemon's processes may do, and what the kernel does for
// them.
func (u unit) checkProcesses() {
	u.b.t.Helper()
	b, t := u.b, u.b.t
	var s *director.ProcessStatus
	b.until("both vrrp processes run", func() bool { s = u.status().VRRPProcess; return s != nil && s.SparePID != 0 })
	if s.Scheduling != "rr" || !s.Locked {
		t.Errorf("vrrp process: %+v", s)
	}
	if locked := u.field(s.PID, "VmLck"); strings.HasPrefix(locked, "0 ") {
		t.Errorf("the vrrp process has %s locked", locked)
	}
	// The policy is the 41st field (proc(5)); the second, in brackets, may hold spaces.
	_, rest, _ := strings.Cut(u.proc(s.PID, "stat"), ") ")
	if policy := strings.Fields(rest)[38]; policy != "2" {
		t.Errorf("scheduling policy %s, want 2, SCHED_RR", policy)
	}
	daemon, err := strconv.Atoi(strings.TrimSpace(u.do("systemctl", "show", "--property=MainPID", "--value", "hadirector")))
	if err != nil {
		t.Fatal(err)
	}
	// Those of the unit file, and nothing else.
	const capabilities = "00000000008034e0"
	want := map[string]string{"oom": "-900", "CapBnd": capabilities, "CapEff": capabilities, "CapInh": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}
	for _, pid := range []int{daemon, s.PID, s.SparePID} {
		got := map[string]string{"oom": u.proc(pid, "oom_score_adj")}
		for _, name := range []string{"CapBnd", "CapEff", "CapInh", "NoNewPrivs", "Seccomp"} {
			got[name] = u.field(pid, name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("process %d, %s (-want +got):\n%s", pid, u.proc(pid, "comm"), diff)
		}
	}
}

// checkScripts checks what the scripts of tracks say that they are.
func (u unit) checkScripts() {
	u.b.t.Helper()
	var tracks []director.TrackStatus
	u.b.until("the scripts have ended", func() bool {
		tracks = u.status().Tracks
		return !slices.ContainsFunc(tracks, func(s director.TrackStatus) bool { return s.Status != "down" })
	})
	const none, all, rest = " 0000000000000000", " 00000000008034e0", " oom 0 nice 0 policy 0 files /proc/%d/fd/3"
	want := map[string]string{
		"mine":  "exit status 1: uid caps 65534" + none + none + none + none + rest,
		"roots": "exit status 1: uid caps 0" + none + all + all + none + rest,
	}
	got := make(map[string]string)
	for _, s := range tracks {
		got[s.Name] = regexp.MustCompile(`/proc/\d+/`).ReplaceAllString(s.Cause, "/proc/%d/")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		u.b.t.Errorf("what the scripts say of themselves (-want +got):\n%s", diff)
	}
}

// reloads reloads by systemctl, with and without a mistake.
func (u unit) reloads() {
	u.b.t.Helper()
	t := u.b.t
	u.configure(strings.Replace(unitConfig, `rs-2 = { address = "10.0.0.22:7" }`, `rs-2 = { address = "10.0.0.22:7", weight = 5 }`, 1))
	u.do("systemctl", "reload", "hadirector")
	if diff := cmp.Diff(weighed("5"), u.b.table(cluster.LBA)); diff != "" {
		t.Errorf("ipvsadm -Sn when the reload is over (-want +got):\n%s", diff)
	}
	u.configure(unitConfig + "mistake = 1\n")
	if out, err := u.s.Run("systemctl", "reload", "hadirector"); err == nil {
		t.Errorf("a reload with a mistake: %q", out)
	}
	u.wait("configuration not reloaded, the old one stays in force", "ipvs.mistake")
	u.shows(map[string]string{"ActiveState": "active", "NRestarts": "0"})
	if diff := cmp.Diff(weighed("5"), u.b.table(cluster.LBA)); diff != "" {
		t.Errorf("ipvsadm -Sn after a reload with a mistake (-want +got):\n%s", diff)
	}
	u.configure(unitConfig) // for the next start
}

// survives kills the daemon's processes, without another director.
func (u unit) survives() {
	u.b.t.Helper()
	b, t := u.b, u.b.t
	monitor, err := b.Start(cluster.LBA, "monitor", "ip", "-o", "monitor", "address")
	if err != nil {
		t.Fatal(err)
	}
	kill := func(whom string) { u.do("systemctl", "kill", "--kill-whom="+whom, "--signal=KILL", "hadirector") }
	u.now()
	u.do("kill", "-KILL", strconv.Itoa(u.status().VRRPProcess.PID))
	mark := u.mark // the two are said in either order
	u.wait("vrrp process ended, started again")
	u.mark = mark
	u.wait(changedState, "to=master", "reason=adopted")
	u.shows(map[string]string{"ActiveState": "active", "NRestarts": "0"})

	kill("main")
	u.wait("the daemon ended, handing mastership over")
	u.wait("vrrp process of an earlier run killed")
	u.wait(changedState, "to=master")
	kill("all")
	u.wait("addresses of an earlier run stay until another director is heard as master")
	u.wait(changedState, "to=master")
	u.master()
	u.shows(map[string]string{"ActiveState": "active", "NRestarts": "2"})
	// A Master that finds itself late on a slow machine releases its addresses.
	if text := monitor.Output(); strings.Contains(text, "Deleted") && u.count(changedState, "reason=late") == 0 {
		t.Errorf("a virtual address was away:\n%s", text)
	}
}

// restarts restarts the service beside another director, with its services left in the
// kernel meanwhile.
func (u unit) restarts() {
	u.b.t.Helper()
	b, t := u.b, u.b.t
	u.configure(strings.Replace(unitConfig, `"release"`, `"keep"`, 1))
	u.do("systemctl", "reload", "hadirector")
	b.run(cluster.Client, "curl", "-sS", "http://10.0.0.100/")
	// How many connections the service has had, which it forgets when it is made anew.
	used := func() bool {
		_, stats, _ := strings.Cut(b.run(cluster.LBA, "ipvsadm", "-Ln", "--stats", "-t", "10.0.0.100:80"), "10.0.0.100:80")
		return strings.HasPrefix(strings.TrimSpace(stats), "1 ")
	}
	b.until("the connection is counted", used) // every two seconds

	dir := b.MachineDir(cluster.LBB)
	p, err := u.s.Beside(cluster.LBB, "hadirector", "hadirector", "run", "-c", unitFile, "--director", cluster.LBB,
		"--runtime-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state"), "--socket", b.SocketPath(cluster.LBB))
	if err != nil {
		t.Fatal(err)
	}
	peer := &node{Process: p, b: b}
	peer.wait(changedState, "to=backup", "virtual_router=web")
	u.do("systemctl", "restart", "hadirector")
	peer.wait(changedState, "to=master", "virtual_router=web", "reason=master-released")
	// The process that entered the machine for it passes no signal on.
	b.signal(-p.PID(), syscall.SIGTERM)
	peer.gone()
	u.master()
	if !used() {
		t.Error("the restart did not leave the services in the kernel")
	}
}

// stops stops the service.
func (u unit) stops(before string) {
	u.b.t.Helper()
	t := u.b.t
	u.configure(unitConfig)
	u.do("systemctl", "reload", "hadirector")
	u.do("systemctl", "stop", "hadirector")
	u.shows(map[string]string{"ActiveState": "inactive", "Result": "success"})
	if diff := cmp.Diff(before, u.kernel()); diff != "" {
		t.Errorf("the kernel before the start and after the stop (-before +after):\n%s", diff)
	}
	if comms := u.do("sh", "-c", "cat /proc/[0-9]*/comm"); strings.Contains(comms, "hadirector") {
		t.Errorf("processes that are left:\n%s", comms)
	}
	if _, err := os.Stat(u.s.Path("/run/hadirector/owned.json")); err != nil {
		t.Errorf("the ledger: %v", err)
	}
}

// unitWarnings are the warnings and errors that the test provokes.
var unitWarnings = []string{
	"track changed", // the scripts fail
	"peer cannot be reached", "peer lost", "memberlist complains",
	"configuration not reloaded, the old one stays in force",
	"vrrp process ended, started again",
	"the daemon ended, handing mastership over",
}

// slowWarnings are those of a machine that is too slow for a moment, with a part of what else
// the line says then.
var slowWarnings = map[string]string{
	"kernel refused a change, trying again": "no answer from the kernel in time",
	"operation failed":                      "i/o timeout",
	"real server removed":                   "timeout",
	"virtual server changed pool":           "to=",
	"not ready, preempts nobody":            "ipvs table is not as configured",
	"virtual addresses were removed from the interface, adding them again": "count=1",
}

// expected tells whether a line of the log is none that the restrictions of the unit file
// could be the reason of.
func expected(line string) bool {
	message := func(msg string) bool { return strings.Contains(line, fmt.Sprintf(" msg=%q ", msg)) }
	for msg, why := range slowWarnings {
		if message(msg) && strings.Contains(line, why) {
			return true
		}
	}
	return strings.HasPrefix(line, "level=INFO ") || slices.ContainsFunc(unitWarnings, message)
}

// checkLog finds no warning in the journal but those, no line of another form, and that the
// journal knows which lines are warnings.
func (u unit) checkLog() {
	u.b.t.Helper()
	grave := u.do("journalctl", "--unit=hadirector", "--priority=warning", "--output=cat")
	if strings.Contains(grave, "level=INFO") || !strings.Contains(grave, "level=WARN") || !strings.Contains(grave, "level=ERROR") {
		u.b.t.Errorf("warnings and errors in the journal:\n%s", grave)
	}
	for _, l := range u.Lines() {
		// Those are said by the journal itself, and by the command that reloads.
		others := []string{"Journal started", "Runtime Journal ", "reloaded ", "changed ", "ipvsadm -e ", "hadirector: " + unitFile}
		if slices.ContainsFunc(others, func(begin string) bool { return strings.HasPrefix(l.Text, begin) }) {
			continue
		}
		if !expected(l.Text) {
			u.b.t.Errorf("in the journal: %s", l.Text)
		}
	}
}

// realServer starts and stops the real server's unit.
func (u unit) realServer() {
	u.b.t.Helper()
	b, t := u.b, u.b.t
	u.configure(`[virtual_server.web]
address  = "10.0.0.100:80"
protocol = "tcp"
[virtual_server.web.real_server]
here = { address = "10.0.0.11:80" }
[virtual_server.far]
address     = "10.0.0.102:80"
protocol    = "tcp"
forward     = "tun"
tunnel      = "gue"
tunnel_port = 6080
[virtual_server.far.real_server]
here = { address = "10.0.0.11:80" }
`)
	before := u.kernel()
	b.forget("fou6*")
	u.typed("install -m 644 dist/hadirector-realserver.service /etc/systemd/system/", "systemctl enable --now hadirector-realserver")
	u.do("hadirector", "realserver", "status")
	if !b.holds(cluster.LBA) {
		t.Error("the virtual address is not there")
	}
	u.do("systemctl", "reload", "hadirector-realserver")
	u.do("systemctl", "stop", "hadirector-realserver")
	if diff := cmp.Diff(before, u.kernel()); diff != "" {
		t.Errorf("the kernel before the start and after the stop (-before +after):\n%s", diff)
	}
}
