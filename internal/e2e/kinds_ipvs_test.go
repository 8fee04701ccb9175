//go:build ipvs

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// secondVIP gives the virtual router and the real servers a second virtual address.
const secondVIP = "10.0.0.101"

func twoVIPs(text string) string {
	return strings.Replace(cluster.VRRP, `"10.0.0.100/24"`, `"10.0.0.100/24", "`+secondVIP+`/24"`, 1) + text
}

func (b *bed) secondVIP() {
	b.t.Helper()
	for _, rs := range realServers {
		b.run(rs, "ip", "addr", "add", secondVIP+"/32", "dev", "lo")
	}
}

// answer has the real servers answer every datagram to the virtual address with their
// names.
func (b *bed) answer(port uint16) {
	b.t.Helper()
	for _, rs := range realServers {
		var c net.PacketConn
		err := b.Do(rs, func() (err error) {
			c, err = net.ListenPacket("udp4", fmt.Sprintf("%s:%d", cluster.VIP, port))
			return err
		})
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 1500)
			for {
				_, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = c.WriteTo([]byte(rs), from)
			}
		}()
	}
}

// datagrams sends datagrams from one socket of the client, each after the answer to the
// one before, and returns how many each real server answered.
func (b *bed) datagrams(n int, from, target, text string) (answered [2]int) {
	b.t.Helper()
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	var c net.Conn
	if err := b.Do(cluster.Client, func() (err error) { c, err = d.DialContext(b.ctx, "udp4", target); return err }); err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 64)
	for range n {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write([]byte(text)); err != nil {
			b.t.Fatal(err)
		}
		k, err := c.Read(buf)
		if err != nil {
			b.t.Fatalf("no answer from %s: %v", target, err)
		}
		answered[slices.Index(realServers, string(buf[:k]))]++
	}
	return answered
}

// refused tells whether nobody takes a connection of the client.
func (b *bed) refused(target string) bool {
	b.t.Helper()
	err := b.Do(cluster.Client, func() error {
		c, err := net.DialTimeout("tcp4", target, 5*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
	return err != nil
}

const kinds = `
[virtual_server.list]
drain_timeout = "0s"
address   = ["10.0.0.100:8000", "10.0.0.101:8000-8002"]
protocol  = "tcp"
scheduler = "rr"
check     = "port"
real_server = { rs-1 = { address = "10.0.0.21:8000" }, rs-2 = { address = "10.0.0.22:8000", connections_max = 2, connections_min = 1 } }

[virtual_server.packets]
address    = "10.0.0.100:5000"
protocol   = "udp"
scheduler  = "rr"
one_packet = true
real_server = { rs-1 = { address = "10.0.0.21:5000" }, rs-2 = { address = "10.0.0.22:5000" } }

[virtual_server.flows]
address    = "10.0.0.100:5001"
protocol   = "udp"
scheduler  = "rr"
real_server = { rs-1 = { address = "10.0.0.21:5001" }, rs-2 = { address = "10.0.0.22:5001" } }

[virtual_server.signalling]
address  = "10.0.0.100:2905"
protocol = "sctp"
scheduler = "rr"
real_server = { rs-1 = { address = "10.0.0.21:2905" } }
` + checked

// listTable is the virtual server of several addresses in ipvsadm's words.
func listTable(services ...string) []string {
	var lines []string
	for _, s := range services {
		port := s[strings.Index(s, ":")+1:]
		lines = append(lines, "-A -t "+s+" -s rr", "-a -t "+s+" -r 10.0.0.21:"+port+" -g -w 1", "-a -t "+s+" -r 10.0.0.22:"+port+" -g -w 1")
	}
	return lines
}

var otherKinds = []string{
	"-A -u 10.0.0.100:5000 -s rr -o", "-a -u 10.0.0.100:5000 -r 10.0.0.21:5000 -g -w 1", "-a -u 10.0.0.100:5000 -r 10.0.0.22:5000 -g -w 1",
	"-A -u 10.0.0.100:5001 -s rr", "-a -u 10.0.0.100:5001 -r 10.0.0.21:5001 -g -w 1", "-a -u 10.0.0.100:5001 -r 10.0.0.22:5001 -g -w 1",
	"-A --sctp-service 10.0.0.100:2905 -s rr", "-a --sctp-service 10.0.0.100:2905 -r 10.0.0.21:2905 -g -w 1",
}

// waitKernel waits until ipvsadm reads what is wanted, whatever the thresholds.
func (b *bed) waitKernel(want []string) {
	b.t.Helper()
	want = slices.Sorted(slices.Values(want))
	var got []string
	deadline := time.Now().Add(30 * time.Second)
	b.until("the kernel's table", func() bool {
		got = b.table(cluster.LBA)
		return slices.Equal(got, want) || time.Now().After(deadline)
	})
	if !slices.Equal(got, want) {
		b.t.Fatalf("ipvsadm -Sn:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Several addresses, a range of ports, thresholds and one-packet scheduling, with
// real traffic, and changes by difference beside a service that is somebody else's.
func TestKindsOfServices(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	foreign := []string{"-A -t 10.9.9.9:25 -s rr"}
	b.run(cluster.LBA, "ipvsadm", strings.Fields(foreign[0])...)
	b.greet(8000, 8001, 8002, 8003)
	b.secondVIP()
	b.answer(5000)
	b.answer(5001)
	b.configure(twoVIPs(kinds))
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	all := []string{"10.0.0.100:8000", "10.0.0.101:8000", "10.0.0.101:8001", "10.0.0.101:8002"}
	b.waitKernel(slices.Concat(foreign, otherKinds, listTable(all...)))

	// One virtual server with one name, whose real server counts everywhere.
	list := b.status(cluster.LBA).VirtualServers
	if len(list) != 4 || list[0].Address != "10.0.0.100:8000, 10.0.0.101:8000-8002" || list[0].Services != 4 || !list[0].RealServers[1].InTable {
		t.Errorf("status: %+v", list)
	}
	thresholds := strings.Fields(b.run(cluster.LBA, "ipvsadm", "-Ln", "--thresholds", "-t", "10.0.0.101:8001"))
	if text := strings.Join(thresholds, " "); !strings.Contains(text, "10.0.0.22:8001 2 1 0 0") {
		t.Errorf("thresholds: %s", text)
	}
	for _, target := range all {
		if taken := b.spread(6, "", target); taken != [2]int{4, 2} {
			t.Errorf("%s spread 6 connections %v, want 2 for rs-2, no more than its threshold", target, taken)
		}
	}
	if !b.refused("10.0.0.101:8003") {
		t.Error("a port behind the range is served")
	}
	if answered := b.datagrams(8, "", "10.0.0.100:5000", "x"); answered != [2]int{4, 4} {
		t.Errorf("one-packet scheduling sent 8 datagrams %v, want each by itself", answered)
	}
	if answered := b.datagrams(8, "", "10.0.0.100:5001", "x"); !together(answered) {
		t.Errorf("8 datagrams of one flow went %v, want all to one", answered)
	}

	// Two ports less and a service more are five operations for the one and two for the
	// other; the rest is not touched.
	before := b.status(cluster.LBA).IPVS.Applied
	b.configure(twoVIPs(strings.Replace(kinds, `"10.0.0.101:8000-8002"`, `"10.0.0.101:8002-8003"`, 1)))
	b.run1(n, "reload")
	b.waitKernel(slices.Concat(foreign, otherKinds, listTable("10.0.0.100:8000", "10.0.0.101:8002", "10.0.0.101:8003")))
	if ops := b.status(cluster.LBA).IPVS.Applied - before; ops != 5 {
		t.Errorf("%d operations, want 5: a service with two real servers added, two services deleted", ops)
	}
	if taken := b.spread(2, "", "10.0.0.101:8003"); taken != [2]int{1, 1} {
		t.Errorf("the new port spread 2 connections %v", taken)
	}
	b.refusedByTheKernel(n, slices.Concat(foreign, otherKinds, listTable("10.0.0.100:8000", "10.0.0.101:8002", "10.0.0.101:8003")))
	n.stop()
	b.waitKernel(foreign)
}

// refusedByTheKernel reloads with a real server that only the kernel knows to be none. It is
// named with the kernel's reason, and everything else is there.
func (b *bed) refusedByTheKernel(n *node, table []string) {
	b.t.Helper()
	b.configure(twoVIPs(strings.Replace(kinds, `"10.0.0.101:8000-8002"`, `"10.0.0.101:8002-8003"`, 1)) + `
[virtual_server.broadcast]
address  = "10.0.0.100:7000"
protocol = "tcp"
real_server = { rs-1 = { address = "10.0.0.21:7000" }, rs-2 = { address = "10.0.0.255:7000" } }
`)
	const want = "the kernel refused: ipvsadm -a -t 10.0.0.100:7000 -r 10.0.0.255:7000 -g -w 1: invalid argument " +
		"(10.0.0.255 is no machine's address here: it is a network's broadcast address, or not unicast)"
	if out, err := b.Command(n.Machine, b.daemon, "reload"); err == nil || !strings.Contains(out+err.Error(), want) {
		b.t.Errorf("reload: %v\n%s\nwant %s", err, out, want)
	}
	b.waitKernel(append(table, "-A -t 10.0.0.100:7000 -s wlc", "-a -t 10.0.0.100:7000 -r 10.0.0.21:7000 -g -w 1"))
}

// run1 runs a command against a machine's daemon.
func (b *bed) run1(n *node, args ...string) string {
	b.t.Helper()
	out, err := b.Command(n.Machine, b.daemon, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}
