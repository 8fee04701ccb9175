package syncconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/syncd"
)

// Ticker makes the kernel's master daemon send what it holds back. The daemon keeps the
// last connection that it was told of in a buffer until the next one does not fit in, or
// for two to three seconds (IPVS_SYNC_FLUSH_TIME and IPVS_SYNC_CHECK_PERIOD). The ticker
// is that next one: a TCP connection of its own, through the service
// [syncd.TickService] to a real server that does not exist, that closes at each tick in
// another way. The kernel is told of every close at once, whatever
// net.ipv4.vs.sync_threshold and sync_refresh_period are.
//
// It needs the service in the kernel's table and the private interface. Without the
// service its packets end in the private interface.
type Ticker struct {
	fd    int
	reset bool // the next tick is a reset
	seq   uint32
}

// tickPort is the source port of the flow.
const tickPort = 8848

// TCP flags.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// NewTicker opens the socket of a ticker on an interface, the private one.
func NewTicker(ifname string) (*Ticker, error) {
	// Bound to the interface and its address: without either nothing is ever sent.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("tick on %s: open raw socket: %w", ifname, err)
	}
	err = unix.BindToDevice(fd, ifname)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: syncd.PrivatePrefix.Addr().As4()})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: syncd.TickService.Addr().As4()})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tick on %s: bind to %v: %w", ifname, syncd.PrivatePrefix.Addr(), err), unix.Close(fd))
	}
	return &Ticker{fd: fd}, nil
}

// Close closes the socket.
func (t *Ticker) Close() error { return os.NewSyscallError("close", unix.Close(t.fd)) }

// Run ticks until ctx ends or the kernel refuses, as it does when the interface is gone.
func (t *Ticker) Run(ctx context.Context, every time.Duration) error {
	clock := time.NewTicker(every)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
		}
		if err := t.Tick(); err != nil {
			return err
		}
	}
}

// Tick makes the daemon send what it has been told of so far, within 20 ms
// (IPVS_SYNC_SEND_DELAY).
//
// The ways to close are: FIN on a connection that was just begun, which becomes TIME_WAIT,
// and a reset of that one, which becomes CLOSE (tcp_states, net/netfilter/ipvs/
// ip_vs_proto_tcp.c). Only ESTABLISHED is held back by thresholds, and SYN_RECV is not
// told at all.
//
// A packet that is dropped on its way out, which EPERM says, is no error: IPVS does so when the
// service has just gone and its connection has not. A firewall does it too, and then nothing is
// heard of the daemon.
func (t *Ticker) Tick() error {
	packets := []byte{flagSYN, flagFIN | flagACK}
	if t.reset {
		packets = []byte{flagRST}
	}
	for _, flags := range packets {
		t.seq++
		_, err := unix.Write(t.fd, segment(t.seq, flags))
		if err != nil && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("tick on the private interface: %w", err)
		}
	}
	t.reset = !t.reset
	return nil
}

// segment is a TCP header without options or data.
func segment(seq uint32, flags byte) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, tickPort)
	binary.BigEndian.PutUint16(b[2:], syncd.TickService.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	b[12] = 5 << 4 // header length in words
	b[13] = flags
	binary.BigEndian.PutUint16(b[14:], 1024) // window
	src, dst := syncd.PrivatePrefix.Addr().As4(), syncd.TickService.Addr().As4()
	pseudo := append(append(append([]byte{}, src[:]...), dst[:]...), 0, unix.IPPROTO_TCP, 0, byte(len(b)))
	binary.BigEndian.PutUint16(b[16:], checksum(append(pseudo, b...)))
	return b
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
