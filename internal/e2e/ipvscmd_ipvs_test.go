//go:build ipvs

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/lab/cluster"
)

// These tests compare "hadirector ipvs" with ipvsadm on the same kernel, byte for byte.

// everything is a table of all that ipvsadm saves without loss. Its addresses lie so that
// ipvsadm's order runs in circles.
const everything = `-A -t 10.0.0.100:7 -s wrr
-a -t 10.0.0.100:7 -r 10.0.0.21:7 -g -w 1
-a -t 10.0.0.100:7 -r 10.0.0.22:7 -g -w 2
-A -t 10.0.0.100:8007 -s rr -p 300 -M 255.255.255.0
-a -t 10.0.0.100:8007 -r 10.0.0.21:7 -m -w 1
-a -t 10.0.0.100:8007 -r 10.0.0.22:7 -m -w 0
-A -t 10.0.0.100:81 -s wlc
-a -t 10.0.0.100:81 -r 10.0.0.21:81 -i -w 0 --tun-type ipip
-a -t 10.0.0.100:81 -r 10.0.0.22:81 -i -w 0 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.0.0.100:81 -r 10.0.0.23:81 -i -w 0 --tun-type gue --tun-port 65535 --tun-remcsum
-a -t 10.0.0.100:81 -r 10.0.0.24:81 -i -w 0 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.0.0.100:81 -r 10.0.0.25:81 -i -w 0 --tun-type gre --tun-csum
-a -t 10.0.0.100:81 -r 10.0.0.26:81 -i -w 65535 --tun-type gre --tun-nocsum
-a -t 10.0.0.100:81 -r [fd00::1]:81 -i -w 65535 --tun-type ipip
-A -t 10.0.0.101:0 -s mh -p 360 -M 255.0.255.0 -b mh-fallback,mh-port
-A -t 100.64.0.1:80 -s lblcr
-a -t 100.64.0.1:80 -r 10.0.0.21:80 -g -w 1
-a -t 100.64.0.1:80 -r 100.64.0.21:80 -g -w 1
-a -t 100.64.0.1:80 -r 192.168.1.21:80 -g -w 1
-a -t 100.64.0.1:80 -r 203.0.113.21:80 -g -w 1
-A -t 192.168.1.1:80 -s dh
-A -t 203.0.113.1:65535 -s sed
-A -t 127.0.0.5:80 -s nq
-A -u 10.0.0.100:53 -s sh -o -b sh-fallback,sh-port
-a -u 10.0.0.100:53 -r 10.0.0.21:53 -g -w 1
-A -u 10.0.0.100:5060 -s rr -p 360 --pe sip -o -b flag-3
-a -u 10.0.0.100:5060 -r 10.0.0.21:5060 -g -w 1
-A -u 10.0.0.100:5061 -s rr -b flag-1,flag-2,flag-3
-A --sctp-service 10.0.0.102:80 -s lc
-a --sctp-service 10.0.0.102:80 -r 10.0.0.21:80 -m -w 1
-A -t [fd00::100]:80 -s rr -p 300 -M 64
-a -t [fd00::100]:80 -r [fd00::21]:80 -g -w 1
-a -t [fd00::100]:80 -r [2001:db8:1234:5678:9abc:def0:1234:5678]:80 -g -w 0
-A -u [fd00::100]:53 -s fo
-A -t [2001:db8::1]:80 -s ovf
-A -t [8000::1]:80 -s rr
-A -f 10 -s rr -p 600
-a -f 10 -r 10.0.0.21:0 -g -w 1
-A -f 11 -6 -s rr -p 5
-a -f 11 -6 -r [fd00::21]:0 -g -w 1
`

// more is what ipvsadm lists and does not save as it is.
const more = `-A -t 10.0.0.103:80 -s sh -b sh-fallback,flag-3
-a -t 10.0.0.103:80 -r 10.0.0.21:80 -m -w 1 -x 4294967 -y 5
-a -t 10.0.0.103:80 -r 10.0.0.22:80 -m -w 1 -x 10
-A -t 10.0.0.104:80 -s mh -b flag-3
-A -f 4294967295 -s rr
-A -f 2147483648 -s rr
`

// many is one service with more destinations than fit into a netlink message.
func many() string {
	var b strings.Builder
	b.WriteString("-A -t 10.0.0.105:80 -s wlc\n")
	for i := range 300 {
		fmt.Fprintf(&b, "-a -t 10.0.0.105:80 -r %d.0.%d.9:%d -m -w %d\n", i*37%200+1, i%256, 80+i, i)
	}
	return b.String()
}

// ipvsBed is a director whose table only the test changes.
type ipvsBed struct{ *bed }

// feed runs a command on lb-a with some input, and returns its output.
func (b ipvsBed) feed(input, name string, args ...string) (stdout, stderr string, err error) {
	args = append([]string{"netns", "exec", b.Namespace(cluster.LBA), name}, args...)
	cmd := exec.CommandContext(b.ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// ours runs "hadirector ipvs".
func (b ipvsBed) ours(input string, args ...string) string {
	b.t.Helper()
	out, errs, err := b.feed(input, b.daemon.Binary, append([]string{"ipvs"}, args...)...)
	if err != nil || errs != "" {
		b.t.Fatalf("hadirector ipvs %s: %v: %s", strings.Join(args, " "), err, errs)
	}
	return out
}

// refused runs "hadirector ipvs", which must fail, and returns what it says.
func (b ipvsBed) refused(input string, args ...string) string {
	b.t.Helper()
	out, errs, err := b.feed(input, b.daemon.Binary, append([]string{"ipvs"}, args...)...)
	if err == nil || err.Error() != "exit status 1" || out != "" {
		b.t.Fatalf("hadirector ipvs %s: %v, want exit status 1: %s%s", strings.Join(args, " "), err, out, errs)
	}
	return errs
}

// ipvsadm runs ipvsadm.
func (b ipvsBed) ipvsadm(input string, args ...string) string {
	b.t.Helper()
	out, errs, err := b.feed(input, "ipvsadm", args...)
	if err != nil || errs != "" {
		b.t.Fatalf("ipvsadm %s: %v: %s", strings.Join(args, " "), err, errs)
	}
	return out
}

// same compares the output of "hadirector ipvs" with ipvsadm's, and returns it. What
// changes meanwhile is read again: ours counts if ipvsadm says the same before and after.
func (b ipvsBed) same(ours, theirs string) string {
	b.t.Helper()
	var before, got, after string
	b.until("ipvsadm "+theirs+" says the same twice", func() bool {
		before = timeless(theirs, b.ipvsadm("", strings.Fields(theirs)...))
		got = timeless(theirs, b.ours("", strings.Fields(ours)...))
		after = timeless(theirs, b.ipvsadm("", strings.Fields(theirs)...))
		return before == after
	})
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(got, "\n")); diff != "" {
		b.t.Errorf("ipvsadm %s, hadirector ipvs %s (-ipvsadm +hadirector):\n%s", theirs, ours, diff)
	}
	return got
}

// The expiry of a connection, and five rates of nine characters each.
var (
	expiry = regexp.MustCompile(`(?m)^([A-Z]+ +)[0-9][0-9]:[0-9][0-9] `)
	rates  = regexp.MustCompile(`(?m)(?: +[0-9]+){5}$`)
)

// timeless takes out what never stands still. Of rates the width of all five stays.
func timeless(command, text string) string {
	text = expiry.ReplaceAllString(text, "${1}mm:ss ")
	if strings.Contains(command, "--rate") {
		text = rates.ReplaceAllStringFunc(text, func(five string) string { return strings.Repeat("#", len(five)) })
	}
	return text
}

// pairs are our commands and ipvsadm's, those first whose answers are soon gone.
var pairs = [][2]string{
	{"conns", "-Lnc"},
	{"conns --persistent-conn", "-Lnc --persistent-conn"},
	{"rate", "-Ln --rate"},
	{"rate --nosort", "-Ln --rate --nosort"},
	{"list", "-Ln"},
	{"list -n --sort --exact", "-Ln --sort --exact"},
	{"list --nosort", "-Ln --nosort"},
	{"list --thresholds", "-Ln --thresholds"},
	{"list --persistent-conn", "-Ln --persistent-conn"},
	{"list --tun-info", "-Ln --tun-info"},
	{"list -t 10.0.0.100:7", "-Ln -t 10.0.0.100:7"},
	{"list fwmark 11 ipv6", "-Ln -f 11 -6"},
	{"stats", "-Ln --stats"},
	{"stats --exact", "-Ln --stats --exact"},
	{"list --stats", "-Ln --stats"},
	{"stats udp 10.0.0.100:53", "-Ln --stats -u 10.0.0.100:53"},
	{"timeout", "-Ln --timeout"},
}

func TestIPVSCommandPrintsAsIPVSADM(t *testing.T) {
	b := ipvsBed{newBed(t)}
	for _, p := range [][2]string{{"list", "-Ln"}, {"stats", "-Ln --stats"}, {"conns", "-Lnc"}, {"daemon", "-Ln --daemon"}, {"save", "-Sn"}} {
		b.same(p[0], p[1]) // an empty table
	}
	b.ipvsadm(everything+more+many(), "-R")
	b.connect()
	said := make(map[string]string)
	for _, p := range pairs {
		said[p[0]] = b.same(p[0], p[1])
	}
	for command, kinds := range map[string][]string{
		"conns": {
			"TCP mm:ss  ESTABLISHED 10.0.0.1:", "TCP mm:ss  NONE        10.0.0.0:0 ", "TCP mm:ss  SYN_RECV    [fd00::1]:",
			" [fd00::1]:81\n", "IP  mm:ss  NONE        10.0.0.1:0         0.0.0.10:0         10.0.0.21:0\n",
		},
		"conns --persistent-conn": {"UDP mm:ss  NONE        10.0.0.1:0         10.0.0.100:5060    10.0.0.21:5060   sip                3848276298220188511@atlanta.example.com\n"},
		"list --persistent-conn":  {"  -> 10.0.0.21:7                  1         1           1          0         \n"},
		"list --thresholds":       {"4294967    5 "},
		"list --tun-info":         {"Tunnel  gue:65535:r+c 0 "},
		"stats":                   {"TCP  10.0.0.100:7                        5 "},
	} {
		for _, kind := range kinds {
			if !strings.Contains(said[command], kind) {
				t.Errorf("%s has no %q, so that was not compared:\n%s", command, kind, said[command])
			}
		}
	}
	// No sync daemon starts beside a destination of another family than its service.
	b.run(cluster.LBA, "ipvsadm", "-d", "-t", "10.0.0.100:81", "-r", "[fd00::1]:81")
	b.run(cluster.LBA, "ipvsadm", "--start-daemon", "master", "--mcast-interface", "eth1", "--syncid", "7", "--sync-maxlen", "1000")
	b.run(cluster.LBA, "ipvsadm", "--start-daemon", "backup", "--mcast-interface", "eth1",
		"--mcast-group", "ff05::81", "--mcast-port", "9000", "--mcast-ttl", "3")
	if got := b.same("daemon", "-Ln --daemon"); strings.Count(got, "\n") != 2 {
		t.Errorf("two daemons run, listed are:\n%s", got)
	}

	if got := b.refused("", "list", "tcp", "10.9.9.9:1"); got != "hadirector: the kernel has no service tcp 10.9.9.9:1\n" {
		t.Errorf("a service that is not there: %s", got)
	}
	_, errs, _ := b.feed("", "setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", b.daemon.Binary, "ipvs", "list")
	if want := "hadirector: the kernel shows and changes its IPVS table only with CAP_NET_ADMIN: run this as root\n"; errs != want {
		t.Errorf("without CAP_NET_ADMIN: %q, want %q", errs, want)
	}
}

// connect makes connections of every kind through lb-a. Only those to the echo service
// are answered.
func (b ipvsBed) connect() {
	b.t.Helper()
	for _, args := range []string{
		"addr add 10.0.0.100/24 dev eth0",
		"addr add fd00::2/64 dev eth0 nodad",
		"addr add fd00::100/64 dev eth0 nodad",
	} {
		b.run(cluster.LBA, "ip", strings.Fields(args)...)
	}
	b.run(cluster.Client, "ip", "addr", "add", "fd00::1/64", "dev", "eth0", "nodad")
	b.run(cluster.LBA, "nft", "add table ip marks; add chain ip marks in { type filter hook prerouting priority mangle; }; "+
		"add rule ip marks in tcp dport 9000 meta mark set 10")
	for _, rs := range []string{cluster.RS1, cluster.RS2} {
		if err := b.AddVIP(rs); err != nil {
			b.t.Fatal(err)
		}
		if err := b.StartEcho(rs); err != nil {
			b.t.Fatal(err)
		}
	}
	err := b.Do(cluster.Client, func() error {
		for range 5 {
			conn, err := net.DialTimeout("tcp4", "10.0.0.100:7", 20*time.Second)
			if err != nil {
				return err
			}
			b.t.Cleanup(func() { conn.Close() })
		}
		for _, to := range []string{"10.0.0.100:8007", "10.0.0.100:81", "10.0.0.100:9000", "[fd00::100]:80"} {
			if conn, err := net.DialTimeout("tcp", to, 300*time.Millisecond); err == nil {
				conn.Close()
			}
		}
		for to, text := range map[string]string{
			"10.0.0.100:53":   "query",
			"10.0.0.100:5060": "OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\r\n",
		} {
			var d net.Dialer
			conn, err := d.DialContext(context.Background(), "udp4", to)
			if err != nil {
				return err
			}
			if _, err := conn.Write([]byte(text)); err != nil {
				return err
			}
			conn.Close()
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestIPVSCommandChangesAsIPVSADM(t *testing.T) {
	t.Parallel()
	b := ipvsBed{newBed(t)}

	// What one saves the other restores. The order in which a circle is listed depends on
	// that in which the kernel was told, so lines are compared sorted.
	b.ipvsadm(everything+many(), "-R")
	saved := b.ipvsadm("", "-Sn")
	b.same("save", "-Sn")
	b.ours("", "clear")
	if got := b.ipvsadm("", "-Sn"); got != "" {
		t.Errorf("after clear ipvsadm still lists\n%s", got)
	}
	b.ours(saved, "restore")
	if diff := cmp.Diff(sortedLines(saved), sortedLines(b.ipvsadm("", "-Sn"))); diff != "" {
		t.Errorf("ipvsadm -Sn, saved by ipvsadm and restored by hadirector (-before +after):\n%s", diff)
	}
	b.ours(saved+more, "restore", "-") // again, and what ipvsadm does not save
	all := b.ours("", "save")
	b.ours("", "clear")
	b.ipvsadm(all, "-R")
	if diff := cmp.Diff(sortedLines(all), sortedLines(b.ours("", "save"))); diff != "" {
		t.Errorf("hadirector ipvs save, restored by ipvsadm (-before +after):\n%s", diff)
	}
	b.same("list --thresholds", "-Ln --thresholds")

	// All mistakes are named, and nothing changes.
	got := b.refused("-A -t 10.0.0.106:80 -s rr\n-a -t 10.0.0.106:80 -r web -m\n-A -t 10.0.0.107:80 -p 0\n", "restore", "-")
	want := "-:2:24: -r web: not a numeric address and port (ipvsadm -S needs -n)\n-:3:24: -p 0: not a number from 1 to 2147483647\n"
	if got != want {
		t.Errorf("restore with mistakes says %q, want %q", got, want)
	}
	// A refusal by the kernel is undone.
	got = b.refused("-A -t 10.0.0.100:7 -s lc\n-a -t 10.0.0.100:7 -r 10.0.0.21:7 -g -w 9\n-A -t 10.0.0.106:80 -s rr\n-A -t 10.0.0.107:80 -s nosuch\n", "restore")
	if !strings.Contains(got, "the kernel has no scheduler nosuch") || !strings.Contains(got, "everything is as it was before") {
		t.Errorf("restore of an unknown scheduler says %q", got)
	}
	if diff := cmp.Diff(sortedLines(all), sortedLines(b.ours("", "save"))); diff != "" {
		t.Errorf("after refused restores (-before +after):\n%s", diff)
	}
	// The services that are named become what they are said to be, the others stay, or go.
	web := "-A -t 10.0.0.100:7 -s lc\n-a -t 10.0.0.100:7 -r 10.0.0.22:7 -m -w 3\n"
	b.ours(web, "restore")
	if got := b.ours("", "save"); !strings.Contains(got, web) || strings.Count(got, "\n") != strings.Count(all, "\n")-1 {
		t.Errorf("after the restore of one service:\n%s", got)
	}
	b.ours(web, "restore", "--clear")
	if diff := cmp.Diff(web, b.ipvsadm("", "-Sn")); diff != "" {
		t.Errorf("ipvsadm -Sn after restore --clear (-want +got):\n%s", diff)
	}

	// Counters and timeouts.
	b.ours("", "clear")
	b.ipvsadm(everything, "-R")
	b.connect()
	b.until("counted connections", func() bool {
		return strings.Contains(b.ipvsadm("", "-Ln", "--stats", "-t", "10.0.0.100:7"), "       5 ") &&
			!strings.Contains(b.ipvsadm("", "-Ln", "--stats", "-u", "10.0.0.100:53"), "        0        0        0        0        0")
	})
	b.ours("", "zero", "udp", "10.0.0.100:53")
	if got := b.same("stats", "-Ln --stats"); !strings.Contains(got, "UDP  10.0.0.100:53                       0        0") || !strings.Contains(got, "TCP  10.0.0.100:7                        5") {
		t.Errorf("after zero of one service:\n%s", got)
	}
	b.ours("", "zero")
	if got := b.same("stats", "-Ln --stats"); !strings.Contains(got, "TCP  10.0.0.100:7                        0") {
		t.Errorf("after zero:\n%s", got)
	}
	if got := b.refused("", "zero", "-t", "10.9.9.9:1"); !strings.Contains(got, "the kernel has no such service") {
		t.Errorf("zero of a service that is not there: %s", got)
	}
	b.ours("", "timeout", "--set", "901", "0", "2678400")
	if got := b.same("timeout", "-Ln --timeout"); got != "Timeout (tcp tcpfin udp): 901 120 2678400\n" {
		t.Errorf("after timeout --set: %s", got)
	}
}

// What a running director owns is not changed by the way.
func TestIPVSCommandLeavesADirectorsServices(t *testing.T) {
	t.Parallel()
	b := ipvsBed{newBed(t)}
	b.serve()
	b.configureServices("")
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, labTable)
	socket := b.SocketPath(cluster.LBA)
	rules := "-A -t 10.9.9.9:25 -s rr\n"
	b.ours(rules, "restore", "--socket", socket) // nobody's

	for _, args := range [][]string{{"clear"}, {"restore", "--clear"}} {
		got := b.refused(rules, append(args, "--socket", socket)...)
		want := "hadirector: the hadirector that runs here owns tcp 10.0.0.100:7, tcp 10.0.0.100:80 and would repair them at once: " +
			"stop it or change its configuration (--force goes on all the same)\n"
		if got != want {
			t.Errorf("%s says %q, want %q", args, got, want)
		}
	}
	if got := b.refused("-A -t 10.0.0.100:80 -s rr\n", "restore", "--socket", socket); !strings.Contains(got, "owns tcp 10.0.0.100:80 and") {
		t.Errorf("restore of a director's service says %q", got)
	}
	b.ours("", "clear", "--force", "--socket", socket)
	n.wait("ipvs table was changed by another program, repaired")
	b.waitTable(cluster.LBA, labTable)
}
