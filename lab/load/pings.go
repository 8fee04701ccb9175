package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Pings sends an ICMP echo request to Target every Interval. It asks the kernel of whoever
// holds the address, so that a gap of a few milliseconds can be seen, and needs neither
// IPVS nor a service. Run it in one goroutine; the other methods may be called from any.
type Pings struct {
	Target   netip.Addr // IPv4
	Interval time.Duration
	Enter    func() error // as in Requests

	mu      sync.Mutex // guards sent and answers
	sent    int
	answers []time.Time // when they arrived
}

// Run sends until ctx is done.
func (p *Pings) Run(ctx context.Context) error {
	conn, err := listen("ip4:icmp", "0.0.0.0", p.Enter, nil)
	if err != nil {
		return err
	}
	id := uint16(rand.Uint32())
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		p.send(ctx, conn, id)
	}()
	err = each(ctx, conn, func(d datagram) {
		if len(d.payload) < echoSize || d.payload[0] != echoReply || binary.BigEndian.Uint16(d.payload[4:]) != id {
			return
		}
		p.mu.Lock()
		p.answers = append(p.answers, d.at)
		p.mu.Unlock()
	})
	<-sender
	return err
}

// The echo messages of RFC 792.
const (
	echoReply   = 0
	echoRequest = 8
	echoSize    = 8
)

// send keeps its own clock on a thread of real-time priority: were it late, the pause would
// look like a gap.
func (p *Pings) send(ctx context.Context, conn *net.IPConn, id uint16) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	// Without the privilege the meter is coarser on a busy machine, no more.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 90}, 0)
	to := &net.IPAddr{IP: p.Target.AsSlice()}
	var next unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &next)
	for seq := uint16(0); ctx.Err() == nil; seq++ {
		// An error is a request without an answer.
		_, _ = conn.WriteToIP(echoMessage(id, seq), to)
		p.mu.Lock()
		p.sent++
		p.mu.Unlock()
		next = unix.NsecToTimespec(next.Nano() + p.Interval.Nanoseconds())
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &next, nil) == unix.EINTR {
		}
	}
}

// echoMessage is an echo request with its checksum (RFC 1071).
func echoMessage(id, seq uint16) []byte {
	b := make([]byte, echoSize)
	b[0] = echoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	sum := uint32(echoRequest)<<8 + uint32(id) + uint32(seq)
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum>>16+sum))
	return b
}

// Gap is the client-visible gap between two times: the longest one without an answer.
func (p *Pings) Gap(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return gap(p.answers, from, to)
}

func gap(answers []time.Time, from, to time.Time) time.Duration {
	var longest time.Duration
	last := from
	for _, at := range answers {
		if at.Before(from) {
			continue
		}
		if !at.Before(to) {
			break
		}
		longest = max(longest, at.Sub(last))
		last = at
	}
	return max(longest, to.Sub(last))
}

// Counts returns how many requests were sent and how many answers came.
func (p *Pings) Counts() (sent, answered int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, len(p.answers)
}

// WaitFor waits for n answers that arrived at or after from, one after the other, and
// returns when the last of them arrived.
func (p *Pings) WaitFor(ctx context.Context, from time.Time, n int) (time.Time, error) {
	for ticker := time.Tick(max(p.Interval, time.Millisecond)); ; {
		p.mu.Lock()
		first, _ := slices.BinarySearchFunc(p.answers, from, time.Time.Compare)
		if len(p.answers) >= first+n {
			at := p.answers[first+n-1]
			p.mu.Unlock()
			return at, nil
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("no answer from %v: %w", p.Target, context.Cause(ctx))
		case <-ticker:
		}
	}
}
