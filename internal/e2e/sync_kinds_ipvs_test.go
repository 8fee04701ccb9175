//go:build ipvs

package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/syncd"
)

// gateway is a virtual address that real servers have as their way to the distant client, for nat.
const gateway = `"10.0.0.99/24"`

// syncKinds is a virtual server of each kind. The answers to a distant client come back over the
// director.
var (
	near, near6       = "10.0.0.1", "2001:db8::1"
	distant, distant6 = "10.9.0.1", "2001:db8:9::1"

	syncKinds = []struct{ kind, network, from, target string }{
		{"dr", "tcp", near, "10.0.0.100:8001"},
		{"dr over IPv6", "tcp", near6, "[2001:db8::100]:8001"},
		{"nat", "tcp", distant, "10.0.0.100:8002"},
		{"nat over IPv6", "tcp", distant6, "[2001:db8::100]:8002"},
		{"tun", "tcp", near, "10.0.0.100:8003"},
		{"tun over IPv6", "tcp", near6, "[2001:db8::100]:8003"},
		{"fwmark", "tcp", near, "10.0.0.100:8004"},
		{"udp", "udp", near, "10.0.0.100:8005"},
	}
)

// syncKindsConfig has the virtual servers of syncKinds and those of the scopes. None has a
// check: the machine is slow, and nothing here is about health.
func syncKindsConfig(key string) string {
	var b strings.Builder
	b.WriteString(strings.Replace(unhurried, `"10.0.0.100/24"`, `"10.0.0.100/24", `+gateway, 1))
	b.WriteString("[vrrp.six]\ninterface = \"eth0\"\nvrid = 51\nadvert_interval = \"500ms\"\n" +
		"virtual_addresses = [\"fe80::100/64\", \"2001:db8::100/64\", \"2001:db8::99/64\"]\n")
	server := func(name, service, protocol, settings string, to int, six bool) {
		rs := [2]string{"10.0.0.21", "10.0.0.22"}
		if six {
			rs = [2]string{"2001:db8::21", "2001:db8::22"}
		}
		fmt.Fprintf(&b, "[virtual_server.%s]\n%s\nprotocol = %q\nscheduler = \"rr\"\n%s\nreal_server = { rs-1 = { address = %q }, rs-2 = { address = %q } }\n",
			name, service, protocol, settings, net.JoinHostPort(rs[0], fmt.Sprint(to)), net.JoinHostPort(rs[1], fmt.Sprint(to)))
	}
	at := func(port int) string { return fmt.Sprintf("address = \"10.0.0.100:%d\"", port) }
	at6 := func(port int) string { return fmt.Sprintf("address = \"[2001:db8::100]:%d\"", port) }
	server("dr", at(8001), "tcp", "", 8001, false)
	server("dr-six", at6(8001), "tcp", "", 8001, true)
	server("nat", at(8002), "tcp", `forward = "nat"`, 9002, false)
	server("nat-six", at6(8002), "tcp", `forward = "nat"`, 9002, true)
	server("tun", at(8003), "tcp", `forward = "tun"`, 8003, false)
	server("tun-six", at6(8003), "tcp", `forward = "tun"`, 8003, true)
	server("mark", "fwmark = 10\nmark = [\"10.0.0.100:8004\", \"10.0.0.100:8014\"]", "tcp", `persistence = "300s"`, 8004, false)
	server("udp", at(8005), "udp", "", 8005, false)
	server("persistent", at(8006), "tcp", `persistence = "300s"`, 8006, false)
	server("templates", at(8007), "tcp", "persistence = \"300s\"\nsync = \"templates\"", 8007, false)
	server("off", at(8008), "tcp", `sync = "off"`, 8008, false)
	server("established", at(8009), "tcp", `sync = "established"`, 8009, false)
	fmt.Fprintf(&b, "[sync]\nkey_file = %q\n", key)
	return b.String()
}

// syncFamilies gives the machines the addresses and routes of the kinds.
func (b *bed) syncFamilies() {
	b.t.Helper()
	ip := func(machine, script string) {
		b.t.Helper()
		if err := b.IP(machine, script); err != nil {
			b.t.Fatal(err)
		}
	}
	ip(cluster.Client, `addr add 2001:db8::1/64 dev eth0 nodad
		addr add 10.0.0.193/24 dev eth0
		addr add 10.0.0.194/24 dev eth0
		addr add 10.9.0.1/32 dev lo
		addr add 2001:db8:9::1/128 dev lo nodad`)
	for i, d := range []string{cluster.LBA, cluster.LBB} {
		ip(d, fmt.Sprintf(`addr add 2001:db8::1%d/64 dev eth0 nodad
			route add 10.9.0.0/24 via 10.0.0.1
			route add 2001:db8:9::/64 via 2001:db8::1`, i+1))
		b.sysctls(d, map[string]string{
			"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
			"net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/eth0/send_redirects": "0",
		})
	}
	for i, rs := range realServers {
		ip(rs, fmt.Sprintf(`addr add 2001:db8::2%d/64 dev eth0 nodad
			route add 10.9.0.0/24 via 10.0.0.99
			route add 2001:db8:9::/64 via 2001:db8::99`, i+1))
		b.realServerCommand(rs, "start", "-c", b.daemon.Config)
		b.sysctls(rs, map[string]string{"net/ipv6/conf/all/accept_redirects": "0", "net/ipv6/conf/eth0/accept_redirects": "0"})
	}
}

// known counts what a machine's kernel has of connections: "ESTABLISHED 10.0.0.100:8001", and
// "NONE" for the templates. The flow of the tick is not among them.
func (b *bed) known(machine string) map[string]int {
	b.t.Helper()
	count := make(map[string]int)
	for line := range strings.Lines(b.run(machine, "ipvsadm", "-Lnc")) {
		// pro expire state source virtual destination
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "TCP" && f[0] != "UDP" && f[0] != "IP" || f[4] == syncd.TickService.String() {
			continue
		}
		count[f[2]+" "+f[4]]++
	}
	return count
}

// reboot takes away what the kernel of a director knows of IPVS, as a reboot does.
func (b *bed) reboot(machine string) {
	b.t.Helper()
	b.run(machine, "ipvsadm", "-C")
	b.run(machine, "ipvsadm", "--stop-daemon", "master")
	b.run(machine, "ipvsadm", "--stop-daemon", "backup")
	b.run(machine, "ip", "link", "del", "hasync0")
}

// Every kind of connection goes on with its real server over a failover to a standby that was
// not there when it began, and over the way back to a director that was rebooted. Persistent
// clients come back to their real servers with new connections. That somebody turns the clock
// changes nothing. Other tests would not like that: this one runs alone.
func TestEveryKindOfConnectionSurvives(t *testing.T) {
	b := newBed(t)
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	b.configure(syncKindsConfig(key))
	b.syncFamilies()
	b.named([]uint16{8001, 9002, 8003, 8004, 8014, 8006, 8007, 8008, 8009}, "10.0.0.100:8005")
	master := b.director(cluster.LBA)
	master.wait("virtual_router=web", "to=master")
	b.until("lb-a is Master of IPv6, too", func() bool { return b.holdsAddr(cluster.LBA, cluster.VIP6) })
	b.until("the virtual servers of lb-a", func() bool {
		return strings.Count(b.run(cluster.LBA, "ipvsadm", "-Sn"), "-w 1") > 12*len(realServers)
	})

	var talks []*talk
	for _, kind := range syncKinds {
		talks = append(talks, b.talk(kind.network, kind.from, kind.target), b.talk(kind.network, kind.from, kind.target))
	}
	persistent := make(map[string]string) // client and target to real server
	for _, target := range []string{"10.0.0.100:8006", "10.0.0.100:8007", "10.0.0.100:8014"} {
		for _, from := range []string{"10.0.0.193", "10.0.0.194"} {
			persistent[from+" "+target] = b.talk("tcp", from, target).server
		}
	}
	for _, port := range []string{"8008", "8009"} {
		b.talk("tcp", near, "10.0.0.100:"+port)
	}

	backup := b.director(cluster.LBB)
	backup.wait("in sync with peer")
	b.inSync(2*len(syncKinds) + 6)
	want := map[string]int{
		direct: 2, "ESTABLISHED [2001:db8::100]:8001": 2,
		"ESTABLISHED 10.0.0.100:8002": 2, "ESTABLISHED [2001:db8::100]:8002": 2,
		"ESTABLISHED 10.0.0.100:8003": 2, "ESTABLISHED [2001:db8::100]:8003": 2,
		"ESTABLISHED 10.0.0.100:8004": 2, "ESTABLISHED 10.0.0.100:8014": 2, "NONE 0.0.0.10:0": 3,
		"UDP 10.0.0.100:8005":         2,
		"ESTABLISHED 10.0.0.100:8006": 2, "NONE 10.0.0.100:8006": 2,
		"NONE 10.0.0.100:8007":        2, // sync = "templates"
		"ESTABLISHED 10.0.0.100:8009": 1, // and nothing of 8008, which has sync = "off"
	}
	if diff := cmp.Diff(want, b.known(cluster.LBB)); diff != "" {
		t.Errorf("connections in the kernel of lb-b (-want +got):\n%s", diff)
	}

	allGoOn := func(when string) {
		t.Helper()
		for _, k := range slices.Backward(talks) { // not in the order of a director that knows nothing
			b.goesOn(k, when)
		}
		for _, c := range slices.Backward(slices.Sorted(maps.Keys(persistent))) {
			from, target, _ := strings.Cut(c, " ")
			if server := b.talk("tcp", from, target).server; server != persistent[c] {
				t.Errorf("%s: %s comes back to %s, and was at %s", when, c, server, persistent[c])
			}
		}
	}
	backup.now()
	if err := b.Cut(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	master.Kill()
	backup.wait("virtual_router=web", "to=master")
	b.until("lb-b is Master of IPv6, too", func() bool { return b.holdsAddr(cluster.LBB, cluster.VIP6) })
	allGoOn("after the failover")

	b.reboot(cluster.LBA)
	if err := b.Mend(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	master = b.director(cluster.LBA)
	master.wait("virtual_router=web", "to=master")
	b.until("lb-a is Master of IPv6, too", func() bool { return b.holdsAddr(cluster.LBA, cluster.VIP6) })
	allGoOn("after the failback")

	for _, by := range []time.Duration{time.Hour, -2 * time.Hour, time.Hour} {
		b.turnClock(by)
		before := b.known(cluster.LBB)[direct]
		talks = append(talks, b.talk("tcp", near, "10.0.0.100:8001"))
		b.until(fmt.Sprintf("a connection is told after the clock was turned by %v", by), func() bool { return b.known(cluster.LBB)[direct] == before+1 })
		b.inSync(2 * len(syncKinds))
	}
	allGoOn("after the clock was turned")
}

const direct = "ESTABLISHED 10.0.0.100:8001"

// turnClock turns the virtual machine's clock: never that of another one.
func (b *bed) turnClock(by time.Duration) {
	b.t.Helper()
	if _, err := os.Stat("/run/vm/start"); err != nil {
		b.t.Fatalf("this is not the virtual machine, whose clock may be turned: %v", err)
	}
	at := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &at); err != nil {
		b.t.Fatalf("turn the clock by %v: %v", by, err)
	}
}
