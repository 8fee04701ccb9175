//go:build ipvs

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/lab/cluster"
)

// forwardingRow is a way of a virtual server's packets to its real servers.
type forwardingRow struct {
	name     string
	settings string
	second   string // settings of rs-2 alone
	// port is the virtual server's for every protocol; to is the real servers', which only
	// nat can change.
	port, to uint16
	ipvsadm  [2]string // by real server
	// devices are the real servers' interfaces that the packets have to come out of.
	devices [2]string // by family
}

var forwardingRows = []forwardingRow{
	{"dr", `forward = "dr"`, "", 8001, 8001, [2]string{"-g -w 1", "-g -w 1"}, [2]string{}},
	{"nat", `forward = "nat"`, "", 8002, 9002, [2]string{"-m -w 1", "-m -w 1"}, [2]string{}},
	{"tun ipip", `forward = "tun"`, "", 8003, 8003,
		[2]string{"-i -w 1 --tun-type ipip", "-i -w 1 --tun-type ipip"}, [2]string{"ha-ipip", "ha-ip6tnl"}},
	{"tun gue", "forward = \"tun\"\ntunnel = \"gue\"\ntunnel_port = 6080", `, tunnel_port = 6081, tunnel_checksum = "remote"`, 8004, 8004,
		[2]string{"-i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum", "-i -w 1 --tun-type gue --tun-port 6081 --tun-remcsum"},
		[2]string{"ha-ipip", "ha-ip6tnl"}},
	{"tun gre", "forward = \"tun\"\ntunnel = \"gre\"", `, tunnel_checksum = "plain"`, 8005, 8005,
		[2]string{"-i -w 1 --tun-type gre --tun-nocsum", "-i -w 1 --tun-type gre --tun-csum"}, [2]string{"ha-gre", "ha-ip6gre"}},
}

// forwardingFamilies are the lab's addresses of both families: the virtual one, the
// client's and the real servers', and another one of the client's, to which the way from
// the real servers is over the director. nat needs that.
var forwardingFamilies = []struct {
	name             string
	vip, client, far string
	real             [2]string
}{
	{"IPv4", "10.0.0.100", "10.0.0.1", "10.9.0.1", [2]string{"10.0.0.21", "10.0.0.22"}},
	{"IPv6", "2001:db8::100", "2001:db8::1", "2001:db8:9::1", [2]string{"2001:db8::21", "2001:db8::22"}},
}

// forwardingConfig has a virtual server for each method, family and protocol, and the
// rules that ipvsadm should have for them.
func forwardingConfig() (text string, rules []string) {
	var b strings.Builder
	fmt.Fprintf(&b, "[director.lb-a]\naddress = \"10.0.0.11\"\n[admin]\nsocket = %q\n[check.port]\ntype = \"tcp\"\ninterval = \"10s\"\n", cluster.Socket)
	for i, row := range forwardingRows {
		for _, f := range forwardingFamilies {
			for protocol, flag := range map[string]string{"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"} {
				vip := netip.AddrPortFrom(netip.MustParseAddr(f.vip), row.port)
				fmt.Fprintf(&b, "[virtual_server.%s-%s-%d]\naddress = %q\nprotocol = %q\nscheduler = \"rr\"\ncheck = \"port\"\n%s\nreal_server = {",
					protocol, f.name, i, vip, protocol, row.settings)
				rules = append(rules, fmt.Sprintf("-A %s %s -s rr", flag, vip))
				for j, a := range f.real {
					rs := netip.AddrPortFrom(netip.MustParseAddr(a), row.to)
					fmt.Fprintf(&b, "%s rs-%d = { address = %q%s }", [2]string{"", ","}[j], j+1, rs, [2]string{"", row.second}[j])
					rules = append(rules, fmt.Sprintf("-a %s %s -r %s %s", flag, vip, rs, row.ipvsadm[j]))
				}
				b.WriteString(" }\n")
			}
		}
	}
	b.WriteString(singlePackets)
	return b.String(), append(rules,
		"-A -u 10.0.0.100:8010 -s wlc -o", "-a -u 10.0.0.100:8010 -r 10.0.0.21:9010 -m -w 1",
		"-A -u 10.0.0.100:8011 -s wlc -p 60 --pe sip -o", "-a -u 10.0.0.100:8011 -r 10.0.0.21:9011 -m -w 1")
}

// singlePackets are balanced each by itself, and reach their real server by nat.
const singlePackets = `
[virtual_server.logs]
address    = "10.0.0.100:8010"
protocol   = "udp"
one_packet = true
forward    = "nat"
real_server = { rs-1 = { address = "10.0.0.21:9010" } }

[virtual_server.calls]
address     = "10.0.0.100:8011"
protocol    = "udp"
one_packet  = true
forward     = "nat"
persistence = "60s"
persistence_engine = "sip"
real_server = { rs-1 = { address = "10.0.0.21:9011" } }
`

// bothFamilies gives the lab the addresses and routes of the matrix. The director has the
// virtual addresses, as a file without [vrrp] leaves it to the operator. With preferred_lft
// 0, as a virtual router has it, the director does not send from the IPv6 one.
func (b *bed) bothFamilies() {
	b.t.Helper()
	ip := func(machine, script string) {
		b.t.Helper()
		if err := b.IP(machine, script); err != nil {
			b.t.Fatal(err)
		}
	}
	ip(cluster.Client, `addr add 2001:db8::1/64 dev eth0 nodad
		addr add 10.9.0.1/32 dev lo
		addr add 2001:db8:9::1/128 dev lo nodad`)
	ip(cluster.LBA, `addr add 2001:db8::11/64 dev eth0 nodad
		addr add 10.0.0.100/32 dev eth0
		addr add 2001:db8::100/128 dev eth0 nodad preferred_lft 0
		route add 10.9.0.0/24 via 10.0.0.1
		route add 2001:db8:9::/64 via 2001:db8::1`)
	// A director that sends packets back to the wire they came from must not tell of the
	// shorter way, or nobody must listen.
	b.sysctls(cluster.LBA, map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
		"net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/eth0/send_redirects": "0",
	})
	for i, rs := range realServers {
		ip(rs, fmt.Sprintf(`addr add %s/64 dev eth0 nodad
			route add 10.9.0.0/24 via 10.0.0.11
			route add 2001:db8:9::/64 via 2001:db8::11`, forwardingFamilies[1].real[i]))
		b.sysctls(rs, map[string]string{
			"net/ipv4/conf/all/rp_filter": "1", "net/ipv6/conf/all/accept_redirects": "0", "net/ipv6/conf/eth0/accept_redirects": "0",
		})
	}
}

// sysctls sets kernel parameters of a machine.
func (b *bed) sysctls(machine string, values map[string]string) {
	b.t.Helper()
	err := b.Do(machine, func() error {
		for name, value := range values {
			if err := sysctl.Set(name, value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// listen has the real servers answer every request of the rows with their names. For TCP
// they do at any address; UDP answers come from the address that they are bound to, and an
// SCTP association is with all that they are bound to.
func (b *bed) listen(rows []forwardingRow) {
	b.t.Helper()
	for i, rs := range realServers {
		for _, row := range rows {
			var l net.Listener
			if err := b.Do(rs, func() (err error) { l, err = net.Listen("tcp", fmt.Sprintf(":%d", row.to)); return err }); err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { l.Close() })
			go answerTCP(l, rs)
			for _, f := range forwardingFamilies {
				a := f.vip
				if row.to != row.port {
					a = f.real[i]
				}
				var c net.PacketConn
				if err := b.Do(rs, func() (err error) {
					c, err = net.ListenPacket("udp", net.JoinHostPort(a, fmt.Sprint(row.to)))
					return err
				}); err != nil {
					b.t.Fatal(err)
				}
				b.t.Cleanup(func() { c.Close() })
				go answerUDP(c, rs)
				go answerTCP(b.sctpListen(rs, netip.AddrPortFrom(netip.MustParseAddr(a), row.to)), rs)
			}
		}
	}
}

// requestSize is more than one segment.
const requestSize = 4000

func answerTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.CopyN(io.Discard, c, requestSize); err == nil {
				_, _ = io.WriteString(c, name)
			}
		}()
	}
}

func answerUDP(c net.PacketConn, name string) {
	buf := make([]byte, 1500)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteTo([]byte(name), from)
	}
}

// request sends one request from an address of the client and returns who answered it.
func (b *bed) request(protocol, from, target string) (string, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	a := netip.AddrPortFrom(netip.MustParseAddr(from), 0)
	body := []byte("x")
	if d.LocalAddr = net.UDPAddrFromAddrPort(a); protocol != "udp" {
		d.LocalAddr, body = net.TCPAddrFromAddrPort(a), make([]byte, requestSize)
	}
	var c net.Conn
	err := b.Do(cluster.Client, func() (err error) {
		if protocol == "sctp" {
			c, err = sctpDial(a, netip.MustParseAddrPort(target))
			return err
		}
		c, err = d.DialContext(b.ctx, protocol, target)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(body); err != nil {
		return "", err
	}
	name := make([]byte, 64)
	n, err := c.Read(name)
	return string(name[:n]), err
}

// received is how many packets an interface of a machine has received.
func (b *bed) received(machine, device string) string {
	b.t.Helper()
	var text string
	// /proc/net would be the main thread's.
	err := b.Do(machine, func() error {
		out, err := os.ReadFile("/proc/thread-self/net/dev")
		text = string(out)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == device {
			return strings.Fields(rest)[1]
		}
	}
	b.t.Fatalf("%s has no interface %s:\n%s", machine, device, text)
	return ""
}

// network is what "realserver stop" has to bring back of a machine, but for the interfaces
// that a kernel module brings with it.
func (b *bed) network(machine string) []string {
	b.t.Helper()
	lines := sortedLines(b.run(machine, "sh", "-c", "ip -br addr; ip route; ip fou show 2>/dev/null; "+
		"cd /proc/sys/net/ipv4/conf && grep -H . all/arp_* lo/arp_* */rp_filter"))
	return slices.DeleteFunc(lines, func(l string) bool {
		for _, own := range []string{"tunl0", "gre0", "gretap0", "erspan0", "ip6tnl0", "ip6gre0"} {
			if strings.HasPrefix(l, own+"@") || strings.HasPrefix(l, own+"/") {
				return true
			}
		}
		return false
	})
}

// realServerCommand runs "realserver" on a real server.
func (b *bed) realServerCommand(rs, command string, args ...string) string {
	b.t.Helper()
	args = append([]string{"realserver", command, "--state-file", filepath.Join(b.MachineDir(rs), "realserver.json")}, args...)
	return b.run(rs, b.daemon.Binary, args...)
}

// Every way to a real server, for both families and both protocols, with real servers that
// "realserver start" has set up from the director's own file. They filter strictly by the
// reverse path, as many distributions do.
func TestForwardingMatrix(t *testing.T) {
	b := newBed(t)
	b.bothFamilies()
	before := b.network(cluster.RS2)
	text, rules := forwardingConfig()
	b.configure(text)
	for _, rs := range realServers {
		b.realServerCommand(rs, "start", "-c", b.daemon.Config)
	}
	b.realServerCommand(cluster.RS1, "status", "-c", b.daemon.Config) // fails if something is missing
	b.listen(forwardingRows)
	n := b.director(cluster.LBA)
	n.wait("msg=ready")
	b.waitTable(cluster.LBA, slices.Sorted(slices.Values(rules)))

	for _, row := range forwardingRows {
		for i, f := range forwardingFamilies {
			for _, protocol := range []string{"tcp", "udp", "sctp"} {
				t.Run(row.name+" "+f.name+" "+protocol, func(t *testing.T) {
					b.checkForwarding(t, row, i, protocol)
				})
			}
		}
	}
	t.Run("single packets nat", func(t *testing.T) {
		const sip = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.9.0.1:5060;branch=z9hG4bK776asdhds\r\nCall-ID: 3848276298220188511@example.com\r\n\r\n"
		for _, tt := range []struct{ target, said, from string }{
			{"10.0.0.100:8010", "a line of a log", "10.0.0.21:9010"}, // as "check" warns
			{"10.0.0.100:8011", sip, "10.0.0.100:8011"},
		} {
			if from := b.echoedFrom(tt.target, tt.said); from != tt.from {
				t.Errorf("the answer to a packet for %s came from %s, want %s", tt.target, from, tt.from)
			}
		}
	})
	n.stop()
	b.realServerCommand(cluster.RS2, "stop")
	if diff := cmp.Diff(before, b.network(cluster.RS2)); diff != "" {
		t.Errorf("rs-2 before start and after stop (-before +after):\n%s", diff)
	}
}

// echoedFrom has rs-1 answer a datagram of the far client with the same text, and returns
// where the answer came from.
func (b *bed) echoedFrom(target, text string) string {
	b.t.Helper()
	_, port, _ := net.SplitHostPort(target)
	open := func(machine, at string) (c net.PacketConn) {
		b.t.Helper()
		if err := b.Do(machine, func() (err error) { c, err = net.ListenPacket("udp4", at); return err }); err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	server := open(cluster.RS1, ":9"+port[1:])
	client := open(cluster.Client, forwardingFamilies[0].far+":0")
	buf := make([]byte, 1500)
	if _, err := client.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(target))); err != nil {
		b.t.Fatal(err)
	}
	n, from, err := server.ReadFrom(buf)
	if err == nil {
		_, err = server.WriteTo(buf[:n], from)
	}
	if err == nil {
		_, from, err = client.ReadFrom(buf)
	}
	if err != nil {
		b.t.Fatalf("a packet for %s: %v", target, err)
	}
	return from.String()
}

func (b *bed) checkForwarding(t *testing.T, row forwardingRow, family int, protocol string) {
	f := forwardingFamilies[family]
	from := f.client
	if row.to != row.port {
		from = f.far
	}
	target := netip.AddrPortFrom(netip.MustParseAddr(f.vip), row.port).String()
	var before [2]string
	if row.devices[family] != "" {
		for i, rs := range realServers {
			before[i] = b.received(rs, row.devices[family])
		}
	}
	taken := map[string]int{}
	for range 4 {
		name, err := b.request(protocol, from, target)
		if err != nil {
			t.Fatalf("a request to %s: %v", target, err)
		}
		taken[name]++
	}
	if taken[cluster.RS1] != 2 || taken[cluster.RS2] != 2 {
		t.Errorf("4 requests to %s went %v, want in turn", target, taken)
	}
	for i, rs := range realServers {
		if row.devices[family] != "" && b.received(rs, row.devices[family]) == before[i] {
			t.Errorf("nothing came out of %s on %s", row.devices[family], rs)
		}
	}
}
