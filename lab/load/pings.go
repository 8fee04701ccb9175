package load

import (
	"context"
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
	// Closed is a TCP port of Target where the real server behind a virtual server listens
	// to nothing: then its kernel is asked, through the director, with the packets of one
	// connection, and answers each with a reset. From is the address that asks. Zero: echo
	// requests.
	Closed uint16
	From   netip.Addr

	mu       sync.Mutex  // guards the rest
	requests []request   // in the order of sending
	arrivals []time.Time // of answers, in their order
}

// request is one echo request: when it was sent, and when its answer arrived; zero: not.
type request struct{ sent, answered time.Time }

// Run sends until ctx is done.
func (p *Pings) Run(ctx context.Context) error {
	var a asking = icmpEcho{id: uint16(rand.Uint32())}
	network := "ip4:icmp"
	if p.Closed != 0 {
		network = "ip4:tcp"
		a = knock{netip.AddrPortFrom(p.From, 1024+uint16(rand.UintN(30000))), netip.AddrPortFrom(p.Target, p.Closed)}
	}
	conn, err := listen(network, "0.0.0.0", p.Enter, nil)
	if err != nil {
		return err
	}
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		p.send(ctx, conn, a)
	}()
	err = each(ctx, conn, func(d datagram) {
		number, ok := a.answer(d.payload)
		if !ok {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if number < uint64(len(p.requests)) && p.requests[number].answered.IsZero() {
			p.requests[number].answered = d.at
			p.arrivals = append(p.arrivals, d.at)
		}
	})
	<-sender
	return err
}

// send keeps its own clock on a thread of real-time priority, so that the meter is no
// coarser than its interval on a busy machine.
func (p *Pings) send(ctx context.Context, conn *net.IPConn, a asking) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	// Without the privilege it is, and no more.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 90}, 0)
	to := &net.IPAddr{IP: p.Target.AsSlice()}
	var next unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &next)
	for number := uint64(0); ctx.Err() == nil; number++ {
		message := a.message(number)
		p.mu.Lock()
		p.requests = append(p.requests, request{sent: time.Now()})
		p.mu.Unlock()
		_, _ = conn.WriteToIP(message, to) // an error is a request without an answer
		next = unix.NsecToTimespec(next.Nano() + p.Interval.Nanoseconds())
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &next, nil) == unix.EINTR {
		}
	}
}

// Gap is the client-visible gap between two times: the longest that a client who asks in
// there, again and again, waits for an answer. It does not count when the meter itself sent
// nothing.
func (p *Pings) Gap(from, to time.Time) time.Duration {
	begin, end := p.Longest(from, to)
	return end.Sub(begin)
}

// Longest is when that wait began and ended.
func (p *Pings) Longest(from, to time.Time) (begin, end time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return longest(p.requests, from, to)
}

func longest(requests []request, from, to time.Time) (begin, end time.Time) {
	begin, end = from, from
	served := to // when whoever asks from here on has an answer
	for _, r := range slices.Backward(requests) {
		if r.sent.Before(from) {
			break
		}
		if !r.sent.Before(to) {
			continue
		}
		if !r.answered.IsZero() && r.answered.Before(served) {
			served = r.answered
		}
		if served.Sub(r.sent) >= end.Sub(begin) {
			begin, end = r.sent, served
		}
	}
	return begin, end
}

// Count is how many requests were sent so far, and how many answers arrived.
func (p *Pings) Count() (sent, answered int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests), len(p.arrivals)
}

// WaitFor waits for n answers that arrived at or after from, one after the other, and
// returns when the last of them arrived.
func (p *Pings) WaitFor(ctx context.Context, from time.Time, n int) (time.Time, error) {
	for ticker := time.Tick(max(p.Interval, time.Millisecond)); ; {
		p.mu.Lock()
		first, _ := slices.BinarySearchFunc(p.arrivals, from, time.Time.Compare)
		if len(p.arrivals) >= first+n {
			at := p.arrivals[first+n-1]
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
