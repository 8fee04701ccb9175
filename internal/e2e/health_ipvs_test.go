//go:build ipvs

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// asked are two virtual servers over the same real servers, so that each is asked twice, with
// more keys of their check.
func asked(check string) string {
	const service = "[virtual_server.at-%d]\naddress = \"10.0.0.100:%[1]d\"\nprotocol = \"tcp\"\ncheck = \"port\"\n" +
		"real_server = { rs-1 = { address = \"10.0.0.21:%[1]d\" }, rs-2 = { address = \"10.0.0.22:%[1]d\" } }\n"
	return fmt.Sprintf(service, 80) + fmt.Sprintf(service, 81) + "[check.port]\ntype = \"tcp\"\n" + check
}

// The daemon is stopped for three seconds while real servers that are far away are asked: the
// timeouts of its probes run out, and no real server leaves.
func TestHealthOfAStoppedDirector(t *testing.T) {
	b := newBed(t)
	b.greet(80, 81)
	for _, rs := range realServers {
		b.run(rs, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "700ms")
	}
	n := b.running(asked("interval = \"800ms\"\ntimeout = \"2s\"\nfall = 1\n"))
	b.until("every check has a verdict", func() bool { return b.status(cluster.LBA).Ready })
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // nothing tells when it has stood still for long enough
	if err := n.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	begun := uint64(0)
	b.until("it notices", func() bool {
		p := b.status(cluster.LBA).Probes
		begun = p.Probes
		return p.Standstills > 0
	})
	b.until("everybody is asked again", func() bool { return b.status(cluster.LBA).Probes.Probes >= begun+8 })
	if n := n.count(removed); n != 0 {
		t.Errorf("%d real servers removed", n)
	}
}

// A real server that is dead when the daemon is stopped is not in the table that the next
// daemon starts with, before anybody has asked it.
func TestHealthOfTheLastRun(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.greet(80, 81)
	text := asked("interval = \"1s\"\ntimeout = \"900ms\"\nfall = 1\ninitial = \"last\"\n")
	n := b.running(text)
	b.until("every check has a verdict", func() bool { return b.status(cluster.LBA).Ready })
	if err := b.Cut(cluster.RS2); err != nil {
		t.Fatal(err)
	}
	both := func(what string) func() bool { return func() bool { return n.count(what, "10.0.0.22:") == 2 } }
	b.until("rs-2 has left both", both(removed))
	n.stop()
	n = b.running(text)
	table := b.run(cluster.LBA, "ipvsadm", "-Sn")
	if !strings.Contains(table, "10.0.0.21:80") || strings.Contains(table, "10.0.0.22") {
		t.Errorf("the table is\n%s\nwant rs-1 in it and rs-2 not", table)
	}
	if err := b.Mend(cluster.RS2); err != nil {
		t.Fatal(err)
	}
	b.until("rs-2 is back in both", both(added))
	if n := n.count(removed); n != 0 {
		t.Errorf("%d real servers removed after the restart", n)
	}
}
