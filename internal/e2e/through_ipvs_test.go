//go:build ipvs

package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// throughConfig has virtual servers of one real server each, which is asked through the virtual
// address: both families, dr and a tunnel, streams and datagrams.
const throughConfig = cluster.VRRP + `
[vrrp.six]
interface         = "eth0"
vrid              = 52
virtual_addresses = ["2001:db8::100/64"]

[virtual_server.dr-4]
address  = "10.0.0.100:8001"
protocol = "tcp"
check    = "path"
real_server = { rs-1 = { address = "10.0.0.21:8001" } }

[virtual_server.dr-6]
address  = "[2001:db8::100]:8001"
protocol = "tcp"
check    = "path"
real_server = { rs-1 = { address = "[2001:db8::21]:8001" } }

[virtual_server.tun-4]
address  = "10.0.0.100:8002"
protocol = "tcp"
forward  = "tun"
check    = "path"
real_server = { rs-1 = { address = "10.0.0.21:8002" } }

[virtual_server.tun-6]
address  = "[2001:db8::100]:8002"
protocol = "tcp"
forward  = "tun"
check    = "path"
real_server = { rs-1 = { address = "[2001:db8::21]:8002" } }

[virtual_server.datagrams]
address  = "10.0.0.100:8003"
protocol = "udp"
check    = "answers"
real_server = { rs-1 = { address = "10.0.0.21:8003" } }

[check.path]
type     = "tcp"
via      = "vip"
interval = "1s"
timeout  = "1s"
fall     = 1

[check.answers]
type      = "udp"
via       = "vip"
payload   = "PING"
reply     = "rs-1"
interval  = "1s"
timeout   = "1s"
fall      = 1
`

// A real server that has lost its virtual address is down for both directors, the one that has
// the address and the other one, although it answers at its own address.
func TestChecksThroughTheVIP(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for machine, a := range map[string]string{cluster.LBA: "2001:db8::11", cluster.LBB: "2001:db8::12", cluster.RS1: "2001:db8::21"} {
		if err := b.IP(machine, "addr add "+a+"/64 dev eth0 nodad"); err != nil {
			t.Fatal(err)
		}
	}
	b.sysctls(cluster.RS1, map[string]string{"net/ipv4/conf/all/rp_filter": "1"})
	b.configure(throughConfig)
	b.realServerCommand(cluster.RS1, "start", "-c", b.daemon.Config)
	b.answerAt(cluster.RS1, 8001, 8002)
	var c net.PacketConn
	if err := b.Do(cluster.RS1, func() (err error) { c, err = net.ListenPacket("udp", "10.0.0.100:8003"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go answerUDP(c, cluster.RS1)

	before := b.parameters(cluster.LBA)[acceptLocal]
	master, backup := b.pair()
	both := []*node{master, backup}
	for _, n := range both {
		b.until(n.Machine+" has asked", func() bool { return n.count("msg=ready") > 0 })
		if n.count(removed) > 0 {
			t.Fatalf("%s takes a real server for down that is as it should be", n.Machine)
		}
	}
	// Wherever it has them: on lo, and at the tunnels' ends.
	if err := b.IP(cluster.RS1, "addr flush to 10.0.0.100/32\naddr flush to 2001:db8::100/128\n"); err != nil {
		t.Fatal(err)
	}
	const (
		late  = `err="connect timeout after 1s, asked through VIP `
		quiet = `err="timeout after 1s waiting for the answer, asked through VIP `
		lack  = `: the real server is down or lacks it, or a firewall drops its answers; run hadirector doctor there and here"`
	)
	for _, n := range both {
		for name, err := range map[string]string{
			"dr-4": late + "10.0.0.100" + lack, "dr-6": late + "2001:db8::100" + lack, "datagrams": quiet + "10.0.0.100" + lack,
			"tun-4": late + "10.0.0.100" + lack, "tun-6": late + "2001:db8::100" + lack,
		} {
			b.until(n.Machine+" removes the real server of "+name, func() bool { return n.count(removed, "virtual_server="+name+" ", err) > 0 })
		}
		// What is asked through stays, and it is no virtual server's pool.
		servers := slices.DeleteFunc(b.table(n.Machine), func(l string) bool { return strings.HasPrefix(l, "-A") })
		if len(servers) != 4 || slices.ContainsFunc(servers, func(l string) bool { return !strings.HasPrefix(l, "-a -f ") }) {
			t.Errorf("the real servers in the table of %s are %q, want those of 4 probes", n.Machine, servers)
		}
	}

	b.realServerCommand(cluster.RS1, "start", "-c", b.daemon.Config)
	for _, n := range both {
		b.until(n.Machine+" adds them all again", func() bool { return n.count(added) >= 5 })
	}
	master.stop()
	if table := b.table(cluster.LBA); len(table) > 0 {
		t.Errorf("after a clean stop the table is %q", table)
	}
	if now := b.parameters(cluster.LBA)[acceptLocal]; now != before || now != "0" {
		t.Errorf("after a clean stop accept_local is %s, and was %s", now, before)
	}
}

const acceptLocal = "net.ipv4.conf.eth0.accept_local"

// answerAt has a machine take connections to ports of all its addresses.
func (b *bed) answerAt(machine string, ports ...int) {
	b.t.Helper()
	for _, port := range ports {
		var l net.Listener
		if err := b.Do(machine, func() (err error) { l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); return err }); err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { l.Close() })
		go answerTCP(l, machine)
	}
}
