//go:build integration

package syncconn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/syncd"
)

// These tests play the kernel's daemons by sockets like theirs (make_send_sock and
// make_receive_sock in net/netfilter/ipvs/ip_vs_sync.c).

// udpSocket opens a socket on the private interface, with more done to it.
func udpSocket(t *testing.T, ns *netnstest.NS, more func(fd, index int) error) *os.File {
	t.Helper()
	return opened(t, ns, func() (*os.File, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		ifi, err := net.InterfaceByName(syncd.PrivateInterface)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "UDP socket"), errors.Join(unix.BindToDevice(fd, ifi.Name), more(fd, ifi.Index))
	})
}

// backupDaemon is the backup daemon's socket, with room for so many bytes.
func backupDaemon(t *testing.T, ns *netnstest.NS, room int) *os.File {
	t.Helper()
	return udpSocket(t, ns, func(fd, index int) error {
		group := syncd.Group.Addr().As4()
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room/2), // the kernel doubles it
			unix.Bind(fd, &unix.SockaddrInet4{Addr: group, Port: int(syncd.Group.Port())}),
			unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group, Ifindex: int32(index)}),
		)
	})
}

// masterDaemon is the master daemon's socket, or one like it that sends elsewhere.
func masterDaemon(t *testing.T, ns *netnstest.NS, to netip.AddrPort, loop int) *os.File {
	t.Helper()
	return udpSocket(t, ns, func(fd, index int) error {
		return errors.Join(
			unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)}),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, loop),
			unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}),
		)
	})
}

func messages(n, length int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = numbered(7, i, length)
	}
	return all
}

// taken has the daemon read until it is asked what it got.
func taken(daemon *os.File) (got func() []int) {
	done := make(chan []int, 1)
	go func() {
		var order []int
		b := make([]byte, 2000)
		for {
			n, err := daemon.Read(b)
			if err != nil {
				done <- order
				return
			}
			order = append(order, int(binary.BigEndian.Uint32(b[8:n])))
		}
	}()
	return func() []int {
		_ = daemon.SetReadDeadline(time.Now()) // what waits has been read: Inject has returned
		order := <-done
		_ = daemon.SetReadDeadline(time.Time{})
		return order
	}
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// The daemon's queue is ten times too small for what is injected at once.
func TestInjectorKeepsToTheQueue(t *testing.T) {
	ns := newPrivate(t, "b")
	for _, tt := range []struct {
		name         string
		room, length int
	}{
		{"large messages", 212992, 1448},
		{"small messages", 212992, 44},
		{"room for one", 2304, 1448},
	} {
		t.Run(tt.name, func(t *testing.T) {
			daemon := backupDaemon(t, ns, tt.room)
			defer daemon.Close()
			n := 10*tt.room/charge(tt.length) + 10
			got := taken(daemon)
			i := newTestInjector(t, ns, 7)
			must(t, i.Inject(t.Context(), messages(n, tt.length)))
			if order := got(); !slices.Equal(order, numbers(n)) {
				t.Errorf("%d of %d arrived, or not in their order", len(order), n)
			}
			if want := (Injected{Datagrams: uint64(n)}); i.Did() != want {
				t.Errorf("did %+v, want %+v", i.Did(), want)
			}
		})
	}
}

func TestInjectorSendsAgainWhatWasDropped(t *testing.T) {
	ns := newPrivate(t, "b")
	daemon := backupDaemon(t, ns, 20000)
	i := newTestInjector(t, ns, 7)
	i.charge = func(int) int { return 0 } // all at once
	const n = 200
	// The daemon begins to read when the queue is full.
	injected := make(chan error, 1)
	go func() { injected <- i.Inject(t.Context(), messages(n, 1448)) }()
	for {
		q, err := newTestInjector(t, ns, 7).queue.read()
		must(t, err)
		if q.drops > 0 {
			break
		}
	}
	got := taken(daemon)
	must(t, <-injected)
	order := got()
	slices.Sort(order)
	if !slices.Equal(slices.Compact(order), numbers(n)) {
		t.Errorf("not all of %d are in %v", n, order)
	}
	if did := i.Did(); did.Dropped == 0 || did.Again < did.Dropped || did.Datagrams != n+did.Again {
		t.Errorf("did %+v", did)
	}
}

// Until the daemon has taken everything Inject does not return.
func TestInjectorWaitsForTheDaemon(t *testing.T) {
	ns := newPrivate(t, "b")
	daemon := backupDaemon(t, ns, 212992)
	i := newTestInjector(t, ns, 7)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := i.Inject(ctx, messages(1, 44)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the daemon reads nothing: %v", err)
	}
	got := taken(daemon)
	must(t, i.Inject(t.Context(), nil))
	got()
}

func TestInjectorNoticesLateDrops(t *testing.T) {
	ns := newPrivate(t, "b")
	daemon := backupDaemon(t, ns, 20000)
	i := newTestInjector(t, ns, 7)
	got := taken(daemon)
	must(t, i.Inject(t.Context(), messages(1, 44)))
	got()
	other := masterDaemon(t, ns, syncd.Group, 1)
	for range 100 {
		_, err := other.Write(numbered(7, 0, 1448))
		must(t, err)
	}
	got = taken(daemon)
	if err := i.Inject(t.Context(), messages(2, 44)); !errors.Is(err, ErrDropped) {
		t.Errorf("after drops between two calls: %v", err)
	}
	got()
	if i.Did().Dropped == 0 {
		t.Error("no drops are counted")
	}
	must(t, i.Inject(t.Context(), nil))
}

func TestInjectorRefuses(t *testing.T) {
	ns := newPrivate(t, "b")
	seven := newTestInjector(t, ns, 7)
	if err := seven.Inject(t.Context(), messages(1, 44)); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("without a daemon: %v", err)
	}
	daemon := backupDaemon(t, ns, 212992)
	got := taken(daemon)
	must(t, seven.Inject(t.Context(), [][]byte{
		numbered(8, 10, 44), numbered(7, 11, 44)[:40], numbered(7, 13, syncd.MaxMessage+1), {0, 7, 0}, nil, numbered(7, 12, 44),
	}))
	if order := got(); !slices.Equal(order, []int{12}) || seven.Did() != (Injected{Datagrams: 1, Refused: 5}) {
		t.Errorf("arrived %v, did %+v", order, seven.Did())
	}
	got = taken(daemon)
	must(t, newTestInjector(t, ns, 0).Inject(t.Context(), [][]byte{numbered(8, 10, 44)}))
	got()
	if _, err := NewInjector("nosuch0", 7); err == nil {
		t.Error("an interface that is not there is no error")
	}
}

func newTestCapture(t *testing.T, ns *netnstest.NS, buffer int) *Capture {
	t.Helper()
	return opened(t, ns, func() (*Capture, error) { return newCapture(syncd.PrivateInterface, buffer) })
}

// What the capture shows first is what it was the first to be shown.
func TestCaptureHearsTheMasterDaemonAlone(t *testing.T) {
	ns := newPrivate(t, "a")
	c := newTestCapture(t, ns, captureBuffer)
	daemon := backupDaemon(t, ns, 212992)
	got := taken(daemon)
	must(t, newTestInjector(t, ns, 7).Inject(t.Context(), messages(1, 44)))
	got()
	for _, to := range []string{"224.0.0.81:8849", "224.0.0.82:8848", "169.254.88.50:8848"} {
		_, err := masterDaemon(t, ns, netip.MustParseAddrPort(to), 0).Write(numbered(7, 1, 44))
		must(t, err)
	}
	master := masterDaemon(t, ns, syncd.Group, 0)
	before := time.Now()
	for _, m := range [][]byte{tickMessage(), numbered(7, 2, 1448)} {
		_, err := master.Write(m)
		must(t, err)
	}
	if !c.Heard().IsZero() {
		t.Errorf("heard at %v, before anything was read", c.Heard())
	}
	d, err := c.Read()
	must(t, err)
	if !c.Heard().Equal(d.At) {
		t.Errorf("heard at %v, want %v", c.Heard(), d.At)
	}
	if !bytes.Equal(d.Payload, numbered(7, 2, 1448)) || d.Lost != 0 {
		t.Errorf("%d lost, then %x", d.Lost, d.Payload)
	}
	if d.At.Before(before) || d.At.After(time.Now()) {
		t.Errorf("sent at %v, not since %v", d.At, before)
	}
}

func TestCaptureTellsWhereItHasLostSome(t *testing.T) {
	ns := newPrivate(t, "a")
	c := newTestCapture(t, ns, 10000)
	master := masterDaemon(t, ns, syncd.Group, 0)
	send := func(number int) {
		_, err := master.Write(numbered(7, number, 44))
		must(t, err)
	}
	const n = 100
	for i := range n {
		send(i)
	}
	// All that fitted in, the first of them, come without a gap; the one after them tells.
	heard := 0
	for ; ; heard++ {
		if heard == 1 {
			send(n) // there is room again
		}
		d, err := c.Read()
		must(t, err)
		if number := int(binary.BigEndian.Uint32(d.Payload[8:])); number == n {
			if int(d.Lost) != n-heard || heard == 0 {
				t.Errorf("%d were heard, %d lost of %d", heard, d.Lost, n)
			}
			break
		} else if number != heard || d.Lost != 0 {
			t.Fatalf("message %d, %d lost, want message %d", number, d.Lost, heard)
		}
	}
}

func TestCaptureEnds(t *testing.T) {
	ns := newPrivate(t, "a")
	c := newTestCapture(t, ns, captureBuffer)
	ended := make(chan error, 1)
	read := func() {
		_, err := c.Read()
		ended <- err
	}
	go read()
	ns.IP(t, "link del hasync0")
	if err := <-ended; !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("the interface is gone: %v", err)
	}
	go read()
	must(t, c.Close())
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	ns.Do(func() {
		if _, err := NewCapture("hasync0"); err == nil {
			t.Error("an interface that is not there is no error")
		}
	})
}

// A tick that finds no interface is an error, and nothing leaves by another one.
func TestTickerNeedsItsInterface(t *testing.T) {
	ns, out := newPrivate(t, "a"), netnstest.New(t, "out")
	netnstest.Cable(t, ns, "eth0", out, "eth0")
	ns.IP(t, "addr add 10.0.0.1/24 dev eth0")
	ns.IP(t, "route add default via 10.0.0.2")
	ticker := opened(t, ns, func() (*Ticker, error) { return NewTicker(syncd.PrivateInterface) })
	must(t, ticker.Tick())
	for _, change := range []string{"addr flush dev hasync0", "link set hasync0 down", "link del hasync0"} {
		ns.IP(t, change)
		if err := ticker.Tick(); err == nil {
			t.Errorf("after ip %s a tick is no error", change)
		}
	}
	if err := ticker.Run(t.Context(), time.Millisecond); err == nil {
		t.Error("Run goes on without the interface")
	}
}
