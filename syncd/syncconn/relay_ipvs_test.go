//go:build ipvs

package syncconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/syncd"
)

const (
	syncID = 7
	// patience is how long a test waits for what it was told will happen.
	patience = 20 * time.Second
)

// services are the virtual servers of both directors.
const services = `-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m
-A -t [fd00::1]:80 -s rr
-a -t [fd00::1]:80 -r [fd00:1::2]:80 -m
-A -t 10.0.0.1:81 -s rr -p 300
-a -t 10.0.0.1:81 -r 10.0.1.2:81 -m
-A -u 10.0.0.1:53 -s rr
-a -u 10.0.0.1:53 -r 10.0.1.2:53 -m`

// newDirector makes a namespace set up as for a relay, with a kernel sync daemon on the
// private interface unless the role is 0.
func newDirector(t *testing.T, name, services string, role syncd.Role) *netnstest.NS {
	t.Helper()
	ns := newPrivate(t, name)
	ns.Run(t, "sh", "-c", "ipvsadm -R <<.\n"+services+"\n.")
	for _, p := range syncd.RelayParameters() {
		ns.Sysctl(t, strings.ReplaceAll(p.Name, ".", "/"), p.Value)
	}
	if role != 0 {
		startDaemon(t, ns, role)
	}
	return ns
}

func startDaemon(t *testing.T, ns *netnstest.NS, role syncd.Role) {
	t.Helper()
	for _, d := range syncd.RelayDaemons(syncID, role == syncd.RoleMaster, role == syncd.RoleBackup) {
		ns.Run(t, "ipvsadm", append([]string{"--start-daemon"}, strings.Fields(d.String())...)...)
	}
}

// site is a director that is Master, with a client and a real server that answers
// nothing but handshakes.
type site struct{ director, client *netnstest.NS }

func newSite(t *testing.T) site {
	t.Helper()
	tick := fmt.Sprintf("\n-A -t %v -s rr\n-a -t %v -r %v -g", syncd.TickService, syncd.TickService, syncd.TickServer)
	s := site{newDirector(t, "a", services+tick, syncd.RoleMaster), netnstest.New(t, "client")}
	rs := netnstest.New(t, "rs")
	netnstest.Cable(t, s.director, "eth0", s.client, "eth0")
	netnstest.Cable(t, s.director, "eth1", rs, "eth0")
	s.director.Sysctl(t, "net/ipv4/ip_forward", "1")
	s.director.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	ip(t, s.director, "addr add 10.0.0.1/24 dev eth0", "addr add fd00::1/64 dev eth0 nodad",
		"addr add 10.0.1.1/24 dev eth1", "addr add fd00:1::1/64 dev eth1 nodad")
	ip(t, s.client, "addr add 10.0.0.2/24 dev eth0", "addr add fd00::2/64 dev eth0 nodad")
	ip(t, rs, "addr add 10.0.1.2/24 dev eth0", "addr add fd00:1::2/64 dev eth0 nodad",
		"route add default via 10.0.1.1", "route add default via fd00:1::1")
	for _, a := range []string{"10.0.1.2:80", "10.0.1.2:81", "[fd00:1::2]:80"} {
		// The kernel answers handshakes of a socket that is never asked for them.
		opened(t, rs, func() (net.Listener, error) { return net.Listen("tcp", a) })
	}
	opened(t, rs, func() (net.Conn, error) {
		return net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(10, 0, 1, 2), Port: 53})
	})
	return s
}

// ip runs several commands of iproute2 at once: starting programs takes long in the
// virtual machine.
func ip(t *testing.T, ns *netnstest.NS, lines ...string) {
	t.Helper()
	ns.Run(t, "sh", "-c", "ip -batch - <<.\n"+strings.Join(lines, "\n")+"\n.")
}

// connect opens a connection from the client and returns its port and when it was open.
func (s site) connect(t *testing.T, network, to string) (uint16, time.Time) {
	t.Helper()
	var at time.Time
	c := opened(t, s.client, func() (net.Conn, error) {
		c, err := net.Dial(network, to)
		at = time.Now()
		if err == nil && network == "udp" {
			_, err = c.Write([]byte("question"))
		}
		return c, err
	})
	return netip.MustParseAddrPort(c.LocalAddr().String()).Port(), at
}

// tick ticks until the end of the test.
func (s site) tick(t *testing.T) {
	t.Helper()
	ticker := opened(t, s.director, func() (*Ticker, error) { return NewTicker(syncd.PrivateInterface) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ticker.Run(ctx, syncd.TickInterval) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (s site) capture(t *testing.T) *Capture {
	t.Helper()
	return opened(t, s.director, func() (*Capture, error) { return NewCapture(syncd.PrivateInterface) })
}

// A site takes longer to make than both tests.
func TestRelay(t *testing.T) {
	a := newSite(t)
	if link := a.director.IP(t, "-d link show dev "+syncd.PrivateInterface); !strings.Contains(link, "dummy") {
		t.Errorf("the private interface is no dummy link:\n%s", link)
	}
	a.tick(t)
	t.Run("new connections leave at once", func(t *testing.T) { newConnectionsLeaveAtOnce(t, a) })
	t.Run("from kernel to kernel", func(t *testing.T) { fromKernelToKernel(t, a) })
}

// On a director on which nothing else happens the kernel holds a new connection back for
// two to three seconds.
func newConnectionsLeaveAtOnce(t *testing.T, a site) {
	c := a.capture(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	context.AfterFunc(ctx, func() { c.Close() })
	n := 10
	if os.Getenv("HADIRECTOR_FULL") != "" {
		n = 100
	}
	var ages []time.Duration
	for range n {
		port, at := a.connect(t, "tcp", "10.0.0.1:80")
		for {
			d, err := c.Read()
			must(t, err)
			if binary.BigEndian.Uint16(d.Payload[messageHeader+10:]) == port {
				ages = append(ages, d.At.Sub(at))
				break
			}
		}
	}
	slices.Sort(ages)
	t.Logf("ages of %d new connections: median %v, worst %v", n, ages[n/2], ages[n-1])
	if ages[n-1] > time.Second {
		t.Errorf("the ticker does not make the daemon send: ages %v", ages)
	}
}

// What the kernel of one director tells its master daemon gets into the other one's
// table, bound to the real server.
func fromKernelToKernel(t *testing.T, a site) {
	b := newDirector(t, "b", services, syncd.RoleBackup)
	c, i := a.capture(t), newTestInjector(t, b, syncID)
	tcp, _ := a.connect(t, "tcp", "10.0.0.1:80")
	six, _ := a.connect(t, "tcp", "[fd00::1]:80")
	persistent, _ := a.connect(t, "tcp", "10.0.0.1:81")
	udp, _ := a.connect(t, "udp", "10.0.0.1:53")
	var missing []*regexp.Regexp
	for _, line := range []string{
		fmt.Sprintf(`TCP 0A000002 %04X 0A000001 0050 0A000102 0050 ESTABLISHED SYNC\s+[1-9]`, tcp),
		fmt.Sprintf(`TCP \S*fd00\S*2\S* %04X \S*fd00\S*1\S* 0050 \S*fd00\S*2\S* 0050 ESTABLISHED SYNC\s+[1-9]`, six),
		fmt.Sprintf(`TCP 0A000002 %04X 0A000001 0051 0A000102 0051 ESTABLISHED SYNC\s+[1-9]`, persistent),
		`TCP 0A000002 0000 0A000001 0051 0A000102 0051 \S+\s+SYNC\s+(29|30)`, // its template
		fmt.Sprintf(`UDP 0A000002 %04X 0A000001 0035 0A000102 0035 UDP         SYNC\s+[1-9]`, udp),
	} {
		missing = append(missing, regexp.MustCompile(line))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	context.AfterFunc(ctx, func() { c.Close() })
	var table string
	for len(missing) > 0 {
		d, err := c.Read()
		if err != nil {
			t.Fatalf("%v\nmissing %q in\n%s", err, missing, table)
		}
		must(t, i.Inject(ctx, [][]byte{d.Payload}))
		table = b.Run(t, "cat", "/proc/net/ip_vs_conn_sync")
		missing = slices.DeleteFunc(missing, func(r *regexp.Regexp) bool { return r.MatchString(table) })
	}
	if i.Did().Dropped > 0 || i.Did().Refused > 0 {
		t.Errorf("did %+v", i.Did())
	}
	listed := b.Run(t, "ipvsadm", "-Ln")
	for _, bound := range []string{`10\.0\.1\.2:80 +Masq +1 +1 +0`, `\[fd00:1::2\]:80 +Masq +1 +1 +0`, `10\.0\.1\.2:81 +Masq +1 +1 +0`, `10\.0\.1\.2:53 +Masq +1 +0 +1`} {
		if !regexp.MustCompile(bound).MatchString(listed) {
			t.Errorf("no %s in\n%s", bound, listed)
		}
	}
	if strings.Contains(table, "A9FE58") {
		t.Errorf("the ticker's flow was relayed:\n%s", table)
	}
}

// records are messages of the kernel's form about n connections to 10.0.0.1:80.
func records(n, perMessage int) [][]byte {
	var all [][]byte
	for k := range n {
		if k%perMessage == 0 {
			all = append(all, []byte{0, syncID, 0, 0, 0, 1, 0, 0})
		}
		m := &all[len(all)-1]
		r := make([]byte, connection4)
		r[1] = 6 // TCP
		binary.BigEndian.PutUint16(r[2:], connection4)
		binary.BigEndian.PutUint16(r[8:], 1)            // ESTABLISHED
		binary.BigEndian.PutUint16(r[10:], uint16(k+1)) // the client's port
		binary.BigEndian.PutUint16(r[12:], 80)
		binary.BigEndian.PutUint16(r[14:], 80)
		binary.BigEndian.PutUint32(r[20:], 900) // seconds
		copy(r[24:], []byte{10, 1, byte(k >> 16), 1})
		copy(r[28:], []byte{10, 0, 0, 1})
		copy(r[32:], []byte{10, 0, 1, 2})
		*m = append(*m, r...)
		(*m)[offsetCount]++
		binary.BigEndian.PutUint16((*m)[2:], uint16(len(*m)))
	}
	return all
}

// bound is how many connections of the first service are bound to its real server.
func bound(t *testing.T, ns *netnstest.NS) string {
	t.Helper()
	m := regexp.MustCompile(`10\.0\.1\.2:80 +Masq +1 +(\d+) +0`).FindStringSubmatch(ns.Run(t, "ipvsadm", "-Ln"))
	if m == nil {
		t.Fatal("the service is not listed")
	}
	return m[1]
}

// The queue of the kernel's default size holds some 90 of the messages.
func TestInjectManyWithoutLoss(t *testing.T) {
	n := 5000
	if os.Getenv("HADIRECTOR_FULL") != "" {
		n = 50000
	}
	b := newDirector(t, "b", services, syncd.RoleBackup)
	i := newTestInjector(t, b, syncID)
	start := time.Now()
	must(t, i.Inject(t.Context(), records(n, 40)))
	took := time.Since(start)
	t.Logf("%d connections in %v, %.0f a second", n, took, float64(n)/took.Seconds())
	if got := bound(t, b); got != fmt.Sprint(n) {
		t.Errorf("%s of %d arrived", got, n)
	}
	if did := i.Did(); did.Dropped != 0 || did.Datagrams != uint64(n/40) {
		t.Errorf("did %+v", did)
	}
}

func TestInjectThroughATinyQueue(t *testing.T) {
	b := newDirector(t, "b", services, 0)
	b.Sysctl(t, "net/ipv4/vs/sync_sock_size", "10000")
	startDaemon(t, b, syncd.RoleBackup)
	i := newTestInjector(t, b, syncID)
	i.charge = func(int) int { return 1 } // as if there were room for 20 000
	const n = 2000
	must(t, i.Inject(t.Context(), records(n, 40)))
	if got := bound(t, b); got != fmt.Sprint(n) {
		t.Errorf("%s of %d arrived", got, n)
	}
	if did := i.Did(); did.Dropped == 0 || did.Again == 0 {
		t.Errorf("nothing was dropped, did %+v", did)
	}
}

// The kernel's daemon does not notice that its interface is gone, and is not listed as
// anything else than before. Who makes the interface anew starts the daemon again.
func TestDaemonOfAnInterfaceThatIsGone(t *testing.T) {
	b := newDirector(t, "b", services, syncd.RoleBackup)
	before := newTestInjector(t, b, syncID)
	must(t, before.Inject(t.Context(), records(1, 1)))
	b.IP(t, "link del "+syncd.PrivateInterface)
	b.Do(func() { ensurePrivate(t) })
	if err := before.Inject(t.Context(), records(1, 1)); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an injector on the old interface: %v", err)
	}
	i := newTestInjector(t, b, syncID)
	if err := i.Inject(t.Context(), records(1, 1)); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("with the old daemon: %v", err)
	}
	b.Run(t, "ipvsadm", "--stop-daemon", "backup")
	startDaemon(t, b, syncd.RoleBackup)
	must(t, i.Inject(t.Context(), records(2, 1)))
	if got := bound(t, b); got != "2" {
		t.Errorf("%s of 2 arrived", got)
	}
}
