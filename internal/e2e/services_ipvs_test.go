//go:build ipvs

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// realServers are the lab's, in the order in which counts are given.
var realServers = []string{cluster.RS1, cluster.RS2}

// greet has the real servers, with the virtual address on them, say their names to
// everybody who connects to one of the ports.
func (b *bed) greet(ports ...uint16) {
	b.t.Helper()
	for _, rs := range realServers {
		if err := b.AddVIP(rs); err != nil {
			b.t.Fatal(err)
		}
		for _, port := range ports {
			var l net.Listener
			err := b.Do(rs, func() (err error) {
				l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
				return err
			})
			if err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					b.t.Cleanup(func() { c.Close() })
					_, _ = io.WriteString(c, rs+"\n")
				}
			}()
		}
	}
}

// dial connects from the client and returns the open connection and the name of the real
// server that took it. from is the client's address; none: any.
func (b *bed) dial(from, target string) (net.Conn, string) {
	b.t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	var c net.Conn
	if err := b.Do(cluster.Client, func() (err error) { c, err = d.DialContext(b.ctx, "tcp4", target); return err }); err != nil {
		b.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	name := make([]byte, len(cluster.RS1)+1)
	if _, err := io.ReadFull(c, name); err != nil {
		b.t.Fatalf("%s says no name: %v", target, err)
	}
	return c, strings.TrimSpace(string(name))
}

// spread opens connections one after the other, closes them, and returns how many each
// real server took.
func (b *bed) spread(n int, from, target string) (taken [2]int) {
	b.t.Helper()
	for range n {
		c, name := b.dial(from, target)
		defer c.Close()
		taken[slices.Index(realServers, name)]++
	}
	return taken
}

// running configures a director with the lab's VRRP and a text, and starts it.
func (b *bed) running(text string) *node {
	b.t.Helper()
	b.configure(cluster.VRRP + text)
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	return n
}

// checked is the check that the virtual servers of these tests have.
const checked = "[check.port]\ntype = \"tcp\"\ninterval = \"1s\"\ntimeout = \"500ms\"\n"

// schedulerRow is a scheduler and what becomes of connections that stay open, from one
// client, to rs-1 with weight 1 and rs-2 with weight 2.
type schedulerRow struct {
	scheduler, flags string
	ipvsadm          string
	connections      int
	fits             func(taken [2]int) bool
	want             string
}

func exactly(one, two int) func([2]int) bool {
	return func(taken [2]int) bool { return taken == [2]int{one, two} }
}

func together(taken [2]int) bool { return taken[0] == 0 || taken[1] == 0 }

func both(taken [2]int) bool { return taken[0] > 0 && taken[1] > 0 }

// All that Debian's kernel has; twos is not among them.
var schedulerRows = []schedulerRow{
	{"rr", ``, "rr", 12, exactly(6, 6), "in turn"},
	{"wrr", ``, "wrr", 12, exactly(4, 8), "by weight"},
	{"lc", ``, "lc", 12, exactly(6, 6), "to the one with fewer connections"},
	{"wlc", ``, "wlc", 12, exactly(4, 8), "by connections per weight"},
	{"sed", ``, "sed", 12, exactly(4, 8), "by expected delay"},
	{"nq", ``, "nq", 2, exactly(1, 1), "the idle ones first"},
	{"fo", ``, "fo", 6, exactly(0, 6), "to the highest weight"},
	{"ovf", ``, "ovf", 5, exactly(2, 3), "to the highest weight until it has more connections than that, then to the next"},
	{"lblc", ``, "lblc", 2, together, "by the address of the virtual server"},
	{"lblcr", ``, "lblcr", 2, together, "by the address of the virtual server"},
	{"dh", ``, "dh", 6, together, "by the address of the virtual server"},
	{"sh", ``, "sh", 6, together, "by the client's address"},
	{"sh", `"sh-port"`, "sh -b sh-port", 40, both, "by the client's address and port"},
	{"mh", ``, "mh", 6, together, "by the client's address"},
	{"mh", `"mh-port", "mh-fallback"`, "mh -b mh-fallback,mh-port", 40, both, "by the client's address and port"},
}

func TestSchedulers(t *testing.T) {
	b := newBed(t)
	var text strings.Builder
	var want []string
	var ports []uint16
	for i, row := range schedulerRows {
		port := uint16(8000 + i)
		ports = append(ports, port)
		fmt.Fprintf(&text, "[virtual_server.v%d]\naddress = \"10.0.0.100:%d\"\nprotocol = \"tcp\"\nscheduler = %q\ncheck = \"port\"\n", i, port, row.scheduler)
		if row.flags != "" {
			fmt.Fprintf(&text, "scheduler_flags = [%s]\n", row.flags)
		}
		fmt.Fprintf(&text, "real_server = { rs-1 = { address = \"10.0.0.21:%d\" }, rs-2 = { address = \"10.0.0.22:%[1]d\", weight = 2 } }\n", port)
		want = append(want, fmt.Sprintf("-A -t 10.0.0.100:%d -s %s", port, row.ipvsadm),
			fmt.Sprintf("-a -t 10.0.0.100:%d -r 10.0.0.21:%[1]d -g -w 1", port),
			fmt.Sprintf("-a -t 10.0.0.100:%d -r 10.0.0.22:%[1]d -g -w 2", port))
	}
	b.greet(ports...)
	b.running(text.String() + checked)
	b.waitTable(cluster.LBA, slices.Sorted(slices.Values(want)))
	for i, row := range schedulerRows {
		if taken := b.spread(row.connections, "", fmt.Sprintf("10.0.0.100:%d", ports[i])); !row.fits(taken) {
			t.Errorf("%s spread %d connections %v, want %s", row.ipvsadm, row.connections, taken, row.want)
		}
	}
}

// A scheduler that the kernel lacks is refused before anything has changed, on a reload
// and at the start.
func TestSchedulerThatTheKernelLacks(t *testing.T) {
	const refusal = "virtual server other: scheduler fo, module ip_vs_fo: the kernel does not have it and cannot load it"
	b := newBed(t)
	b.hideModule("ip_vs_fo")
	b.greet(80)
	web := "[virtual_server.web]\naddress = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\ncheck = \"port\"\n" +
		"real_server = { rs-1 = { address = \"10.0.0.21:80\" } }\n" + checked
	n := b.running(web)
	table := []string{"-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1"}
	b.waitTable(cluster.LBA, table)

	lacking := strings.Replace(web, "scheduler = \"rr\"", "scheduler = \"sed\"", 1) +
		"[virtual_server.other]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\nscheduler = \"fo\"\n"
	b.configure(cluster.VRRP + lacking)
	if out, err := b.Command(cluster.LBA, b.daemon, "reload"); err == nil || !strings.Contains(err.Error()+out, refusal) {
		t.Errorf("reload: %v %s, want %s", err, out, refusal)
	}
	b.waitTable(cluster.LBA, table)
	if s := b.status(cluster.LBA).Config.LastReload; s.OK || s.Error != refusal {
		t.Errorf("status has the reload %+v, want %s", s, refusal)
	}
	n.stop()

	again := b.director(cluster.LBA)
	again.gone()
	if code := again.ExitCode(); code != 1 || again.count(refusal) != 1 {
		t.Errorf("a start: exit status %d\n%s\nwant 1 and %s", code, again.Output(), refusal)
	}
	if rest := b.table(cluster.LBA); len(rest) > 0 {
		t.Errorf("the refused start left %q", rest)
	}
}
