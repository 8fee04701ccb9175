package syncconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/syncd"
)

// ErrDropped says that the kernel's backup daemon did not get everything.
var ErrDropped = errors.New("the backup sync daemon's queue dropped datagrams")

const (
	// pause is the time after which the queue is looked at again; Go's timers are no finer.
	// By default a queue holds 3600 connections, which took a daemon in an emulated machine
	// 18 ms at the least.
	pause = time.Millisecond
	// attempts is how often a datagram is sent, each time with fewer others.
	attempts = 8
)

// Injected counts what an injector has done.
type Injected struct {
	Datagrams uint64 // sent, those sent again included
	Dropped   uint64 // by the daemon's queue
	Again     uint64 // sent again
	Refused   uint64 // not handed over: of another sync id, or no sync message
}

// Injector hands sync messages to the kernel's backup daemon on the private interface.
// One goroutine at a time may use it.
//
// A daemon that is started again has another socket and counts anew; the injector finds
// that out by itself. One for another interface, also for a new one of the same name,
// needs another injector.
type Injector struct {
	fd     int
	syncID uint8
	queue  interface {
		read() (queue, error)
		close() error
	}
	// drops is the daemon's count at the end of the last call.
	drops uint32
	// charge is what a datagram takes of the queue, and write sends one. Tests have others.
	charge func(payload int) int
	write  func([]byte) error
	did    Injected
}

// NewInjector opens an injector on an interface for the daemon with a sync id. 0 is a
// daemon that takes every id.
func NewInjector(ifname string, syncID uint8) (*Injector, error) {
	i, err := newInjector(ifname, syncID)
	if err != nil {
		return nil, fmt.Errorf("inject sync messages on %s: %w", ifname, err)
	}
	return i, nil
}

func newInjector(ifname string, syncID uint8) (*Injector, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if err := setUpInjector(fd, ifi); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	q, err := newQueueReader(ifi.Index)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	i := &Injector{fd: fd, syncID: syncID, queue: q, charge: charge, write: func(b []byte) error {
		_, err := unix.Write(fd, b)
		return err
	}}
	if err := probe(fd, q, ifi.Index); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// probe makes sure that the kernel tells of queues, by the injector's own.
func probe(fd int, q *queueReader, index int) error {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	own, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("the socket has an address of type %T", name)
	}
	return q.probe(index, netip.AddrPortFrom(netip.AddrFrom4(own.Addr), uint16(own.Port)), syncd.Group)
}

// setUpInjector prepares the socket. The TTL is 0: a datagram is looped back to the
// daemon, and not sent (ip_mc_output, net/ipv4/ip_output.c). So no capture sees it, and
// it costs half.
func setUpInjector(fd int, ifi *net.Interface) error {
	if err := unix.BindToDevice(fd, ifi.Name); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(ifi.Index)}); err != nil {
		return fmt.Errorf("choose the interface for multicast: %w", err)
	}
	for option, value := range map[int]int{unix.IP_MULTICAST_LOOP: 1, unix.IP_MULTICAST_TTL: 0} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, option, value); err != nil {
			return fmt.Errorf("set socket option %d: %w", option, err)
		}
	}
	group := &unix.SockaddrInet4{Port: int(syncd.Group.Port()), Addr: syncd.Group.Addr().As4()}
	if err := unix.Connect(fd, group); err != nil {
		return fmt.Errorf("choose the group: %w", err)
	}
	return nil
}

// Close closes the sockets.
func (i *Injector) Close() error {
	return errors.Join(os.NewSyscallError("close", unix.Close(i.fd)), i.queue.close())
}

// Did returns the counts.
func (i *Injector) Did() Injected { return i.did }

// Inject hands datagrams to the daemon, in their order, and returns when it has taken
// them: never more are under way than its queue holds, and what it drops all the same is
// sent again. A call takes two milliseconds at least, for one datagram or for fifty.
//
// Messages that the daemon would not take, because they have another sync id, another
// length than they say or one of more than [syncd.MaxMessage], are counted and left out.
//
// [ErrNoDaemon] says that nobody listens, [ErrDropped] that some were dropped again and
// again, or some of an earlier call after it had returned. Then only a full
// resynchronisation makes the tables the same.
func (i *Injector) Inject(ctx context.Context, datagrams [][]byte) error {
	if err := i.inject(ctx, i.accepted(datagrams)); err != nil {
		return fmt.Errorf("inject sync messages: %w", err)
	}
	return nil
}

// accepted leaves out what the daemon would ignore.
func (i *Injector) accepted(datagrams [][]byte) [][]byte {
	ok := make([][]byte, 0, len(datagrams))
	for _, d := range datagrams {
		if len(d) < messageHeader || len(d) > syncd.MaxMessage || int(binary.BigEndian.Uint16(d[2:])) != len(d) || i.syncID != 0 && d[1] != i.syncID {
			i.did.Refused++
			continue
		}
		ok = append(ok, d)
	}
	return ok
}

func (i *Injector) inject(ctx context.Context, ds [][]byte) error {
	q, err := i.queue.read()
	if err != nil {
		return err
	}
	late := i.did.Datagrams > 0 && q.drops > i.drops // fewer: it is another daemon
	if late {
		i.did.Dropped += uint64(q.drops - i.drops)
	}
	i.drops = q.drops
	f := flight{Injector: i, ds: ds}
	for !f.done(q) {
		if err := f.send(q); err != nil {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
		if q, err = i.queue.read(); err != nil {
			return err
		}
		if err := f.look(q); err != nil {
			return err
		}
	}
	if late {
		return ErrDropped
	}
	return nil
}

// flight is the datagrams of one call on their way.
type flight struct {
	*Injector
	ds [][]byte
	// All before known are the daemon's. All before looked had been sent when the queue
	// was looked at last, and all before next have been sent. What is sent counts as
	// received one look later: on a busy machine it may reach the queue after the look.
	known, looked, next int
	// window is how many datagrams go at once; 0: what there is room for. It shrinks when
	// the queue drops some all the same.
	window int
	tries  int // of those after known
}

func (f *flight) done(q queue) bool { return f.known == len(f.ds) && q.empty() }

// send sends what there is room for in the queue, if it has become half empty. In an empty
// queue there is always room for one.
func (f *flight) send(q queue) error {
	first, room := f.next, q.room()
	if !q.empty() && room < int(q.capacity)/2 {
		return nil
	}
	for f.next < len(f.ds) {
		need := f.charge(len(f.ds[f.next]))
		alone := q.empty() && f.next == first
		full := f.window > 0 && f.next-f.known >= f.window
		if !alone && (full || need > room) {
			break
		}
		switch err := f.write(f.ds[f.next]); {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			return nil // the socket's own queue is full
		case err != nil:
			return os.NewSyscallError("write", err)
		}
		room -= need
		f.next++
		f.did.Datagrams++
	}
	return nil
}

// look takes in what has become of the datagrams.
func (f *flight) look(q queue) error {
	if q.drops == f.drops {
		if f.looked > f.known {
			f.known, f.tries = f.looked, 0
		}
		f.looked = f.next
		return nil
	}
	if q.drops < f.drops { // another daemon has taken its place
		f.drops = q.drops
		return ErrDropped
	}
	f.did.Dropped += uint64(q.drops - f.drops)
	f.drops = q.drops
	if f.tries++; f.tries == attempts {
		return ErrDropped
	}
	f.did.Again += uint64(f.next - f.known)
	f.window = max(1, (f.next-f.known)/4)
	f.next, f.looked = f.known, f.known
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// charge is what a datagram with a payload of n bytes takes of a socket's queue at most
// (skb->truesize): the packet and the end of its buffer, which the kernel rounds up to a
// power of two, or for a small one to 640 bytes, and the struct sk_buff.
func charge(n int) int {
	const headers, shared, skb, small = 64, 320, 256, 640
	size := small
	for bucket := 1024; size < n+headers+shared; bucket *= 2 {
		size = bucket
	}
	return size + skb
}
