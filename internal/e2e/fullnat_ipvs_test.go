//go:build ipvs

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// The client of these tests, as the directors know it. Real servers have no route to it.
const (
	farClient4 = "198.51.100.9"
	farClient6 = "2001:db8:f::9"
)

// Own IPv6 addresses of machines, in the network of the virtual one.
const (
	vip6 = "2001:db8:1::100"
)

// farAway gives the machines IPv6 addresses, and the client addresses that only directors
// have a route to.
func (b *bed) farAway() {
	b.t.Helper()
	for machine, last := range map[string]string{cluster.Client: "9", cluster.LBA: "11", cluster.LBB: "12", cluster.RS1: "21", cluster.RS2: "22"} {
		script := "ip addr add 2001:db8:1::" + last + "/64 dev eth0 nodad"
		switch machine {
		case cluster.Client:
			script += " && ip addr add " + farClient4 + "/32 dev lo && ip addr add " + farClient6 + "/128 dev lo nodad"
		case cluster.LBA, cluster.LBB:
			script += " && ip route add " + farClient4 + " via " + cluster.Addr(cluster.Client).String() + " && ip route add " + farClient6 + " via 2001:db8:1::9"
		}
		b.run(machine, "sh", "-c", script)
	}
}

// witness has a real server tell everybody who comes to a port where they come from: once
// for each line, or each datagram. After the line "push" it goes on by itself.
func (b *bed) witness(rs, network, addr string) {
	b.t.Helper()
	if strings.HasPrefix(network, "udp") {
		var c net.PacketConn
		if err := b.Do(rs, func() (err error) { c, err = net.ListenPacket(network, addr); return err }); err != nil {
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
				_, _ = c.WriteTo([]byte(rs+" "+from.String()), from)
			}
		}()
		return
	}
	var l net.Listener
	if network == "sctp" {
		l = b.sctpListen(rs, netip.MustParseAddrPort(addr))
	} else if err := b.Do(rs, func() (err error) { l, err = net.Listen(network, addr); return err }); err != nil {
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
			go func() {
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					fmt.Fprintf(c, "%s %s\n", rs, c.RemoteAddr())
					for lines.Text() == "push" {
						time.Sleep(100 * time.Millisecond)
						if _, err := fmt.Fprintf(c, "%s %s\n", rs, c.RemoteAddr()); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
}

// far is a connection of the far client.
type far struct {
	net.Conn
	b       *bed
	answers *bufio.Reader
}

// farDial connects from the far client.
func (b *bed) farDial(network, target string) (*far, error) {
	from := farClient4
	if strings.Contains(target, "[") {
		from = farClient6
	}
	var local net.Addr = &net.TCPAddr{IP: net.ParseIP(from)}
	if strings.HasPrefix(network, "udp") {
		local = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	f := &far{b: b}
	err := b.Do(cluster.Client, func() (err error) {
		if network == "sctp" {
			f.Conn, err = sctpDial(netip.AddrPortFrom(netip.MustParseAddr(from), 0), netip.MustParseAddrPort(target))
			return err
		}
		d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: local}
		f.Conn, err = d.DialContext(b.ctx, network, target)
		return err
	})
	if err == nil {
		f.answers = bufio.NewReader(f.Conn)
		b.t.Cleanup(func() { f.Close() })
	}
	return f, err
}

// ask says a line or a datagram and returns which real server answered, and the address
// that it saw.
func (f *far) ask(line string) (string, error) {
	_ = f.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := f.Write([]byte(line)); err != nil {
		return "", err
	}
	return f.hear()
}

func (f *far) hear() (string, error) {
	_ = f.SetDeadline(time.Now().Add(20 * time.Second))
	if f.LocalAddr().Network() == "udp" {
		buf := make([]byte, 1500)
		n, err := f.Read(buf)
		return string(buf[:n]), err
	}
	answer, err := f.answers.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// seen asks once on a connection of its own.
func (b *bed) seen(network, target string) string {
	b.t.Helper()
	f, err := b.farDial(network, target)
	if err != nil {
		return err.Error()
	}
	answer, err := f.ask("hello\n")
	if err != nil {
		return err.Error()
	}
	name, from, _ := strings.Cut(answer, " ")
	addr, err := netip.ParseAddrPort(from)
	if err != nil {
		return answer
	}
	return name + " " + addr.Addr().String()
}

const fullNATs = `
[vrrp.six]
interface         = "eth0"
vrid              = 51
virtual_addresses = ["fe80::100/64", "2001:db8:1::100/64"]

[virtual_server.mixed]
address   = "10.0.0.100:80"
protocol  = "tcp"
scheduler = "rr"
forward   = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:8080" }, rs-2 = { address = "10.0.0.22:8080", forward = "nat" } }

[virtual_server.dns]
address  = "10.0.0.100:53"
protocol = "udp"
forward  = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:5353" } }

[virtual_server.web6]
address  = "[2001:db8:1::100]:80"
protocol = "tcp"
forward  = "fullnat"
real_server = { rs-1 = { address = "[2001:db8:1::21]:8080" } }

[virtual_server.dns6]
address  = "[2001:db8:1::100]:53"
protocol = "udp"
forward  = "fullnat"
real_server = { rs-1 = { address = "[2001:db8:1::21]:5353" } }

[virtual_server.closed]
address  = "10.0.0.100:54"
protocol = "udp"
forward  = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:5454" } }

[virtual_server.signalling]
address  = "10.0.0.100:2905"
protocol = "sctp"
forward  = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:2906" } }

[virtual_server.signalling6]
address  = "[2001:db8:1::100]:2905"
protocol = "sctp"
forward  = "fullnat"
real_server = { rs-1 = { address = "[2001:db8:1::21]:2906" } }

[virtual_server.range]
address        = "10.0.0.100:9000-9001"
protocol       = "tcp"
source_address = { lb-a = "10.0.0.11", lb-b = "10.0.0.12" }
real_server = { rs-1 = { address = "10.0.0.21:8080", forward = "fullnat" } }

[virtual_server.every]
address     = "10.0.0.101:0"
protocol    = "tcp"
persistence = "60s"
forward     = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:0" } }

[virtual_server.marked]
fwmark   = 10
mark     = ["10.0.0.101:53", "10.0.0.100:55"]
protocol = "udp"
forward  = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:5353" } }

[virtual_server.foreign]
fwmark         = 11
source_address = "10.0.0.100"
forward        = "fullnat"
sorry_server   = { address = "10.0.0.21:5353" }
`

// Clients that real servers have no way to are served, and real servers see the address that
// the client connected to, or the one that is configured. Real servers of the method nat in
// the same virtual server see the client.
func TestFullNAT(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.farAway()
	b.run(cluster.LBA, "nft", "add table ip foreign; add chain ip foreign pre { type filter hook prerouting priority mangle; }; "+
		"add rule ip foreign pre ip daddr 10.0.0.100 udp dport 56 meta mark set 11")
	b.run(cluster.RS2, "ip", "route", "add", farClient4, "via", "10.0.0.11")
	for _, rs := range realServers {
		b.witness(rs, "tcp", ":8080")
	}
	b.witness(cluster.RS1, "udp", ":5353")
	for _, a := range []string{"10.0.0.21:2906", "[2001:db8:1::21]:2906"} {
		b.witness(cluster.RS1, "sctp", a)
	}
	b.configure(twoVIPs(fullNATs))
	n := b.director(cluster.LBA)
	n.wait(changedState, "virtual_router=web", "to=master")
	b.until("lb-a has the IPv6 address", func() bool { return b.holdsAddr(cluster.LBA, netip.MustParseAddr(vip6)) })

	list := b.run(cluster.LBA, b.daemon.Binary, "ipvs", "list")
	if strings.Count(list, "Masq") != 13 || strings.Contains(list, "Route") {
		t.Errorf("ipvs list:\n%s", list)
	}
	check := func(when string) {
		t.Helper()
		for _, tt := range []struct{ network, target, want string }{
			{"udp", "10.0.0.100:53", "rs-1 10.0.0.100"},
			{"tcp", "[" + vip6 + "]:80", "rs-1 " + vip6},
			{"udp", "[" + vip6 + "]:53", "rs-1 " + vip6},
			{"sctp", "10.0.0.100:2905", "rs-1 10.0.0.100"},
			{"sctp", "[" + vip6 + "]:2905", "rs-1 " + vip6},
			{"tcp", "10.0.0.100:9000", "rs-1 10.0.0.11"},
			{"tcp", "10.0.0.100:9001", "rs-1 10.0.0.11"},
			{"tcp", "10.0.0.101:8080", "rs-1 10.0.0.101"},
			{"udp", "10.0.0.101:53", "rs-1 10.0.0.101"},
			{"udp", "10.0.0.100:55", "rs-1 10.0.0.100"},
			{"udp", "10.0.0.100:56", "rs-1 10.0.0.100"},
		} {
			if got := b.seen(tt.network, tt.target); got != tt.want {
				t.Errorf("%s: %s %s: %s, want %s", when, tt.network, tt.target, got, tt.want)
			}
		}
		mixed := map[string]bool{b.seen("tcp", "10.0.0.100:80"): true, b.seen("tcp", "10.0.0.100:80"): true}
		if !mixed["rs-1 10.0.0.100"] || !mixed["rs-2 "+farClient4] {
			t.Errorf("%s: the virtual server of two methods: %v", when, mixed)
		}
	}
	check("at first")
	// What a real server's kernel says about a datagram finds its way back too.
	if got := b.seen("udp", "10.0.0.100:54"); !strings.Contains(got, "connection refused") {
		t.Errorf("a datagram to a closed port: %s, want the ICMP error", got)
	}

	n.now()
	b.run(cluster.LBA, "nft", "flush table ip hadirector_fullnat; flush set ip6 hadirector_fullnat services")
	n.wait("changed by another program, repaired", "fullnat tcp 10.0.0.100:80 to 10.0.0.21:8080")
	if got := b.seen("tcp", "["+vip6+"]:80"); got != "rs-1 "+vip6 {
		t.Errorf("after a flush: %s", got)
	}

	// A new daemon takes over what a killed one has left.
	n.Kill()
	if tables := b.run(cluster.LBA, "nft", "list", "tables"); strings.Count(tables, "hadirector_fullnat") != 2 {
		t.Errorf("a killed daemon left the tables %q", tables)
	}
	n = b.director(cluster.LBA)
	n.wait(changedState, "virtual_router=web", "to=master")
	b.until("lb-a has the IPv6 address again", func() bool { return b.holdsAddr(cluster.LBA, netip.MustParseAddr(vip6)) })
	check("after a restart")
	n.stop()
	if tables := b.run(cluster.LBA, "nft", "list", "tables"); strings.Contains(tables, "hadirector") {
		t.Errorf("after the stop there are the tables %q", tables)
	}
}

const fullNATSync = `
[virtual_server.web]
address  = "10.0.0.100:80"
protocol = "tcp"
forward  = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:8080" } }

[virtual_server.every]
address     = "10.0.0.101:0"
protocol    = "tcp"
persistence = "60s"
forward     = "fullnat"
real_server = { rs-1 = { address = "10.0.0.21:0" } }

[sync]
interface = "eth1"
`

// Connections go on when another director becomes Master, and when it has been Master for
// more than a window of data and the first is Master again: the source address moves with
// the virtual address, and each director finds the same translation by itself.
func TestFullNATFailover(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.farAway()
	b.witness(cluster.RS1, "tcp", ":8080")
	b.configure(strings.Replace(twoVIPs(fullNATSync), "[vrrp.web]", "[vrrp.web]\nadvert_interval = \"300ms\"", 1))
	master, backup := b.pair()

	// The last one's real server keeps the port that the client chose.
	var quiet, pushed, kept *far
	for _, tt := range []struct {
		f  **far
		to string
	}{{&quiet, "10.0.0.100:80"}, {&pushed, "10.0.0.100:80"}, {&kept, "10.0.0.101:8080"}} {
		var err error
		if *tt.f, err = b.farDial("tcp", tt.to); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(f *far, when string) string {
		t.Helper()
		answer, err := f.ask("hello\n")
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		return answer
	}
	first := ask(quiet, "at first")
	want := "rs-1 " + netip.AddrPortFrom(cluster.VIP, netip.MustParseAddrPort(quiet.LocalAddr().String()).Port()).String()
	if first != want {
		t.Errorf("the real server saw %s, want %s", first, want)
	}
	for _, f := range []*far{quiet, pushed, kept} {
		port := netip.MustParseAddrPort(f.LocalAddr().String()).Port()
		b.until("lb-b knows the connections", func() bool {
			ask(f, "at first") // a packet now and then is what the other director is told of
			return strings.Contains(b.run(cluster.LBB, "ipvsadm", "-Lnc"), fmt.Sprintf("%s:%d", farClient4, port))
		})
	}
	// Two are in the middle of an answer. The other director does not know how to translate
	// that until the client has said something, and must not tear it down.
	for _, f := range []*far{pushed, kept} {
		if _, err := f.ask("push\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.CutLAN(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	backup.wait(changedState, "to=master")
	before := b.retransmitted(cluster.RS1)
	b.until("the real server has spoken to lb-b", func() bool { return b.retransmitted(cluster.RS1) > before+3 })
	if again := ask(quiet, "after the failover"); again != first {
		t.Errorf("after the failover the real server saw %s, before it %s", again, first)
	}
	for _, f := range []*far{pushed, kept} {
		if err := f.goesOn(); err != nil {
			t.Errorf("a connection to %s with an answer on its way ended with the failover: %v", f.RemoteAddr(), err)
		}
	}
	// More than a window of data goes by the other director.
	for range 20 {
		if _, err := quiet.Write([]byte(strings.Repeat("x", 60_000) + "\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := quiet.hear(); err != nil {
			t.Fatal(err)
		}
	}
	master.now()
	if err := b.MendLAN(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	master.wait(changedState, "to=master")
	b.until("lb-b is Backup again", func() bool { return !b.holds(cluster.LBB) })
	if again := ask(quiet, "after the failback"); again != first {
		t.Errorf("after the failback the real server saw %s, before it %s", again, first)
	}
	for _, f := range []*far{pushed, kept} {
		if err := f.goesOn(); err != nil {
			t.Errorf("a connection to %s with an answer on its way ended with the failback: %v", f.RemoteAddr(), err)
		}
	}
}

// retransmitted is how many segments a machine has sent again so far.
func (b *bed) retransmitted(machine string) int {
	b.t.Helper()
	out, n := b.run(machine, "nstat", "--zeros", "--ignore", "--noupdate", "TcpRetransSegs"), 0
	for line := range strings.Lines(out) {
		_, _ = fmt.Sscanf(line, "TcpRetransSegs %d", &n)
	}
	return n
}

// goesOn says something, and then hears more than was under way.
func (f *far) goesOn() error {
	if _, err := f.Write([]byte("still here\n")); err != nil {
		return err
	}
	for begin := time.Now(); time.Since(begin) < time.Second; {
		if _, err := f.hear(); err != nil {
			return err
		}
	}
	return nil
}
