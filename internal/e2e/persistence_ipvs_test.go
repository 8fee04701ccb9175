//go:build ipvs

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// Addresses that the client has beside its own. The first two are in one network of 28
// bits, the third is in another.
var clients = []string{"10.0.0.193", "10.0.0.194", "10.0.0.209"}

func (b *bed) clients() {
	b.t.Helper()
	for _, a := range clients {
		b.run(cluster.Client, "ip", "addr", "add", a+"/24", "dev", "eth0")
	}
}

// takes returns the one real server that takes all connections of a client to the targets.
func (b *bed) takes(from string, targets ...string) string {
	b.t.Helper()
	var taken [2]int
	for range 3 {
		for _, target := range targets {
			one := b.spread(1, from, target)
			taken[0], taken[1] = taken[0]+one[0], taken[1]+one[1]
		}
	}
	if !together(taken) {
		b.t.Errorf("connections of %s to %v went to both real servers, %v", from, targets, taken)
	}
	return realServers[slices.Index([]bool{taken[0] > 0, taken[1] > 0}, true)]
}

// served are virtual servers' real servers, in this order: round robin then gives the
// first client the one and the second the other.
func served(port int) string {
	return fmt.Sprintf("scheduler = \"rr\"\npersistence = \"60s\"\nreal_server = { rs-1 = { address = \"10.0.0.21:%d\" }, rs-2 = { address = \"10.0.0.22:%[1]d\" } }\n", port)
}

// The three forms: per port, per client with port 0, per firewall mark. In each one client
// comes back to its real server, and another one has the other, which hashing would not do.
func TestPersistence(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.greet(80, 443, 8000, 8080)
	b.secondVIP()
	b.clients()
	text := "[virtual_server.ppc]\naddress = \"10.0.0.100:8000\"\nprotocol = \"tcp\"\n" + served(8000) +
		"[virtual_server.networks]\naddress = \"10.0.0.100:8080\"\nprotocol = \"tcp\"\npersistence_netmask = \"255.255.255.240\"\n" + served(8080) +
		"[virtual_server.pcc]\naddress = \"10.0.0.101:0\"\nprotocol = \"tcp\"\ncheck = \"port\"\n" + served(80) +
		"[virtual_server.pnmpp]\nfwmark = 10\nmark = [\"10.0.0.100:80\", \"10.0.0.100:440-450\"]\nprotocol = \"tcp\"\ncheck = \"port\"\n" + served(80) + checked
	b.configure(twoVIPs(text))
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	table := []string{
		"-A -t 10.0.0.100:8000 -s rr -p 60", "-a -t 10.0.0.100:8000 -r 10.0.0.21:8000 -g -w 1", "-a -t 10.0.0.100:8000 -r 10.0.0.22:8000 -g -w 1",
		"-A -t 10.0.0.100:8080 -s rr -p 60 -M 255.255.255.240", "-a -t 10.0.0.100:8080 -r 10.0.0.21:8080 -g -w 1", "-a -t 10.0.0.100:8080 -r 10.0.0.22:8080 -g -w 1",
		"-A -t 10.0.0.101:0 -s rr -p 60", "-a -t 10.0.0.101:0 -r 10.0.0.21:0 -g -w 1", "-a -t 10.0.0.101:0 -r 10.0.0.22:0 -g -w 1",
		"-A -f 10 -s rr -p 60", "-a -f 10 -r 10.0.0.21:0 -g -w 1", "-a -f 10 -r 10.0.0.22:0 -g -w 1",
	}
	b.waitTable(cluster.LBA, slices.Sorted(slices.Values(table)))
	for _, tt := range []struct {
		form        string
		targets     []string
		like, other string // clients like the first, and unlike it
	}{
		{"per port", []string{"10.0.0.100:8000"}, clients[0], clients[1]},
		{"per port and network", []string{"10.0.0.100:8080"}, clients[1], clients[2]},
		{"per client", []string{"10.0.0.101:80", "10.0.0.101:443", "10.0.0.101:8000"}, clients[0], clients[1]},
		{"per firewall mark", []string{"10.0.0.100:80", "10.0.0.100:443"}, clients[0], clients[1]},
	} {
		first := b.takes(clients[0], tt.targets...)
		if again := b.takes(tt.like, tt.targets...); again != first {
			t.Errorf("%s: %s took %s and %s took %s", tt.form, first, clients[0], again, tt.like)
		}
		if other := b.takes(tt.other, tt.targets...); other == first {
			t.Errorf("%s: %s took the unlike clients %s and %s", tt.form, first, clients[0], tt.other)
		}
	}

	// Somebody flushes nftables: the marks are put back, and the daemon says so.
	b.run(cluster.LBA, "nft", "flush", "ruleset")
	n.wait("ipvs table was changed by another program, repaired", "nft: fwmark 10 for tcp 10.0.0.100:80")
	b.takes(clients[0], "10.0.0.100:443")
	b.marksOfKilledRun(n, text)
}

// marksOfKilledRun kills the daemon and starts another, which knows nothing of marks and
// takes away what the one before has left.
func (b *bed) marksOfKilledRun(n *node, text string) {
	b.t.Helper()
	n.Kill()
	if tables := b.run(cluster.LBA, "nft", "list", "tables"); !strings.Contains(tables, "hadirector_mark") {
		b.t.Errorf("the killed daemon left %q, and was to leave its marks", tables)
	}
	before, _, _ := strings.Cut(text, "[virtual_server.pnmpp]")
	b.configure(twoVIPs(before + checked))
	again := b.director(cluster.LBA)
	again.wait(changedState, "to=master")
	if tables := b.run(cluster.LBA, "nft", "list", "tables"); strings.Contains(tables, "hadirector_mark") {
		b.t.Errorf("the next start left %q", tables)
	}
	if table := b.run(cluster.LBA, "ipvsadm", "-Sn"); strings.Contains(table, "-f 10") {
		b.t.Errorf("the next start left the service of the mark:\n%s", table)
	}
	again.stop()
	if tables := b.run(cluster.LBA, "nft", "list", "tables"); tables != "" {
		b.t.Errorf("the stop left %q", tables)
	}
}

// With the SIP engine it is the calls of a client, or here of a network, that stay on their
// real servers.
func TestPersistenceEngine(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.greet()
	b.clients()
	b.answer(5060)
	b.running("[virtual_server.phone]\naddress = \"10.0.0.100:5060\"\nprotocol = \"udp\"\npersistence_engine = \"sip\"\npersistence_netmask = 24\n" + served(5060))
	b.waitTable(cluster.LBA, []string{"-A -u 10.0.0.100:5060 -s rr -p 60 -M 255.255.255.0 --pe sip",
		"-a -u 10.0.0.100:5060 -r 10.0.0.21:5060 -g -w 1", "-a -u 10.0.0.100:5060 -r 10.0.0.22:5060 -g -w 1"})
	message := func(call string) string {
		return "OPTIONS sip:10.0.0.100 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.193:5060\r\nFrom: <sip:a@example.org>\r\nTo: <sip:b@example.org>\r\n" +
			"Call-ID: " + call + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
	}
	var servers [][2]int
	for _, call := range []string{"one@example.org", "two@example.org"} {
		var answered [2]int
		for _, from := range clients {
			one := b.datagrams(1, from, "10.0.0.100:5060", message(call))
			answered[0], answered[1] = answered[0]+one[0], answered[1]+one[1]
		}
		if !together(answered) {
			t.Errorf("the call %s went to both real servers, %v", call, answered)
		}
		servers = append(servers, answered)
	}
	if servers[0] == servers[1] {
		t.Errorf("two calls went to one real server: %v", servers)
	}
}
