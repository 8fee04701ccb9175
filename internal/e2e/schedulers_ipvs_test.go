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

// schedulerRow is a scheduler and what becomes of connections that stay open, from one
// client, to rs-1 with weight 1 and rs-2 with another one.
type schedulerRow struct {
	scheduler, flags string
	ipvsadm          string
	weight           int // of rs-2
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
	{"rr", ``, "rr", 2, 12, exactly(6, 6), "in turn"},
	{"wrr", ``, "wrr", 2, 12, exactly(4, 8), "by weight"},
	{"lc", ``, "lc", 2, 12, exactly(6, 6), "to the one with fewer connections"},
	{"wlc", ``, "wlc", 2, 12, exactly(4, 8), "by connections per weight"},
	{"sed", ``, "sed", 2, 12, exactly(4, 8), "by expected delay"},
	{"sed", ``, "sed", 100, 6, exactly(0, 6), "by expected delay: rs-2 with 6 is not as slow as rs-1 with 1"},
	{"nq", ``, "nq", 100, 6, exactly(1, 5), "the idle ones first, then by expected delay"},
	{"fo", ``, "fo", 2, 6, exactly(0, 6), "to the highest weight"},
	{"ovf", ``, "ovf", 2, 5, exactly(2, 3), "to the highest weight until it has more connections than that, then to the next"},
	{"lblc", ``, "lblc", 2, 2, together, "by the address of the virtual server"},
	{"lblcr", ``, "lblcr", 2, 2, together, "by the address of the virtual server"},
	{"dh", ``, "dh", 2, 6, together, "by the address of the virtual server"},
	{"sh", ``, "sh", 2, 6, together, "by the client's address"},
	{"sh", `"sh-port"`, "sh -b sh-port", 2, 40, both, "by the client's address and port"},
	{"mh", ``, "mh", 2, 6, together, "by the client's address"},
	{"mh", `"mh-port", "mh-fallback"`, "mh -b mh-fallback,mh-port", 2, 40, both, "by the client's address and port"},
}

// The schedulers that go by the virtual address, of which they need more than one: a
// firewall mark of two.
var destinationSchedulers = []string{"dh", "lblc", "lblcr"}

// anotherVIP is another virtual address. The hash of dh tells it from the first one.
const anotherVIP = "10.0.0.102"

const (
	schedulerPort   = 8000 // the first row's
	destinationPort = 9000 // the first of destinationSchedulers
	fewestPort      = 9100
)

// schedulerServices are the virtual servers of all of them, and the kernel's rules. They
// have no checks: a verdict would change the distributions.
func schedulerServices() (text string, rules []string) {
	var b strings.Builder
	server := func(name, address, service, scheduler, real string, weight int) {
		fmt.Fprintf(&b, "[virtual_server.%s]\n%s\nprotocol = \"tcp\"\n%s\n"+
			"real_server = { rs-1 = { address = \"10.0.0.21:%s\" }, rs-2 = { address = \"10.0.0.22:%[4]s\", weight = %[5]d } }\n", name, address, scheduler, real, weight)
		rules = append(rules, fmt.Sprintf("-a %s -r 10.0.0.21:%s -g -w 1", service, portOf(service, real)),
			fmt.Sprintf("-a %s -r 10.0.0.22:%s -g -w %d", service, portOf(service, real), weight))
	}
	for i, row := range schedulerRows {
		service := fmt.Sprintf("-t 10.0.0.100:%d", schedulerPort+i)
		scheduler := fmt.Sprintf("scheduler = %q", row.scheduler)
		if row.flags != "" {
			scheduler += fmt.Sprintf("\nscheduler_flags = [%s]", row.flags)
		}
		server(fmt.Sprintf("v%d", i), fmt.Sprintf("address = \"10.0.0.100:%d\"", schedulerPort+i), service, scheduler, fmt.Sprint(schedulerPort+i), row.weight)
		rules = append(rules, "-A "+service+" -s "+row.ipvsadm)
	}
	for i, name := range destinationSchedulers {
		port := destinationPort + i
		server("by-"+name, fmt.Sprintf("fwmark = %d\nmark = [\"10.0.0.100:%d\", \"%s:%[2]d\"]", i+1, port, anotherVIP),
			fmt.Sprintf("-f %d", i+1), fmt.Sprintf("scheduler = %q", name), fmt.Sprint(port), 1)
		rules = append(rules, fmt.Sprintf("-A -f %d -s %s", i+1, name))
	}
	service := fmt.Sprintf("-t 10.0.0.100:%d", fewestPort)
	server("fewest", fmt.Sprintf("address = \"10.0.0.100:%d\"", fewestPort), service, `scheduler = "lc"`, fmt.Sprint(fewestPort), 1)
	rules = append(rules, "-A "+service+" -s lc")
	return b.String(), rules
}

// portOf is a real server's port in the kernel: none for a firewall mark.
func portOf(service, port string) string {
	if strings.HasPrefix(service, "-f") {
		return "0"
	}
	return port
}

// schedulerClients are addresses of the client.
func schedulerClients() []string {
	var clients []string
	for i := range 8 {
		clients = append(clients, fmt.Sprintf("10.0.0.%d", 40+i))
	}
	return clients
}

// Every scheduler against its definition.
func TestSchedulers(t *testing.T) {
	b := newBed(t)
	text, rules := schedulerServices()
	var ports []uint16
	for i := range schedulerRows {
		ports = append(ports, uint16(schedulerPort+i))
	}
	for i := range destinationSchedulers {
		ports = append(ports, uint16(destinationPort+i))
	}
	b.greet(append(ports, fewestPort)...)
	for _, rs := range realServers {
		if err := b.IP(rs, "addr add "+anotherVIP+"/32 dev lo\n"); err != nil {
			t.Fatal(err)
		}
	}
	script := ""
	for _, a := range schedulerClients() {
		script += "addr add " + a + "/32 dev lo\n"
	}
	if err := b.IP(cluster.Client, script); err != nil {
		t.Fatal(err)
	}
	b.configure(strings.Replace(cluster.VRRP, `"10.0.0.100/24"`, `"10.0.0.100/24", "`+anotherVIP+`/24"`, 1) + text)
	b.director(cluster.LBA).wait(changedState, "to=master")
	b.waitTable(cluster.LBA, slices.Sorted(slices.Values(rules)))

	for i, row := range schedulerRows {
		if taken := b.spread(row.connections, "", fmt.Sprintf("10.0.0.100:%d", schedulerPort+i)); !row.fits(taken) {
			t.Errorf("%s, weights 1 and %d, spread %d connections %v, want %s", row.ipvsadm, row.weight, row.connections, taken, row.want)
		}
	}
	b.checkClientSchedulers()
	b.checkDestinationSchedulers()
	b.checkFewest()
}

// checkClientSchedulers looks at sh and mh: a client goes where it went before, and not all
// go to one.
func (b *bed) checkClientSchedulers() {
	b.t.Helper()
	for i, row := range schedulerRows {
		if row.scheduler != "sh" && row.scheduler != "mh" || row.flags != "" {
			continue
		}
		all := [2]int{}
		for _, client := range schedulerClients() {
			taken := b.spread(2, client, fmt.Sprintf("10.0.0.100:%d", schedulerPort+i))
			if !together(taken) {
				b.t.Errorf("%s spread 2 connections of %s %v, want both to one", row.scheduler, client, taken)
			}
			all[0], all[1] = all[0]+taken[0], all[1]+taken[1]
		}
		if !both(all) {
			b.t.Errorf("%s spread the connections of 8 clients %v, want to both", row.scheduler, all)
		}
	}
}

// checkDestinationSchedulers looks at those that go by the virtual address, whoever the
// client is. dh's hash tells these two addresses apart; lblc and lblcr give a new one to
// whom has fewer connections.
func (b *bed) checkDestinationSchedulers() {
	b.t.Helper()
	clients := schedulerClients()
	for i, name := range destinationSchedulers {
		var open []net.Conn
		var server [2]string
		for k, vip := range []string{"10.0.0.100", anotherVIP} {
			for n := range 2 {
				c, rs := b.dial(clients[2*k+n], fmt.Sprintf("%s:%d", vip, destinationPort+i))
				open = append(open, c)
				if n > 0 && rs != server[k] {
					b.t.Errorf("%s sent a second connection to %s to %s, want %s, as the first", name, vip, rs, server[k])
				}
				server[k] = rs
			}
		}
		for _, c := range open {
			c.Close()
		}
		if server[0] == server[1] {
			b.t.Errorf("%s sent the connections to both virtual addresses to %s, want to both real servers", name, server[0])
		}
	}
}

// checkFewest looks at what distinguishes lc from taking turns: where connections have
// ended there are fewer.
func (b *bed) checkFewest() {
	b.t.Helper()
	target := fmt.Sprintf("10.0.0.100:%d", fewestPort)
	open := map[string][]net.Conn{}
	for range 4 {
		c, rs := b.dial("", target)
		open[rs] = append(open[rs], c)
		defer c.Close()
	}
	for _, c := range open[cluster.RS1] {
		c.Close()
	}
	b.until("the connections to rs-1 have ended", func() bool {
		for line := range strings.Lines(b.run(cluster.LBA, "ipvsadm", "-Lnc")) {
			if strings.Contains(line, "ESTABLISHED") && strings.Contains(line, target) && strings.Contains(line, "10.0.0.21") {
				return false
			}
		}
		return true
	})
	if taken := b.spread(2, "", target); len(open[cluster.RS2]) != 2 || taken != [2]int{2, 0} {
		b.t.Errorf("lc with %d connections to rs-2 alone spread 2 more %v, want 2, and both to rs-1", len(open[cluster.RS2]), taken)
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
	// Debian's kernel is built without twos.
	const twos = "virtual server web: scheduler twos, module ip_vs_twos: the kernel does not have it and cannot load it"
	b.configure(cluster.VRRP + strings.Replace(web, "scheduler = \"rr\"", "scheduler = \"twos\"", 1))
	if out, err := b.Command(cluster.LBA, b.daemon, "reload"); err == nil || !strings.Contains(err.Error()+out, twos) {
		t.Errorf("reload: %v %s, want %s", err, out, twos)
	}
	b.waitTable(cluster.LBA, table)
	b.configure(cluster.VRRP + lacking)
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
