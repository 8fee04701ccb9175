package vrrptest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Schedule returns a script of 2 to 5 directors to which, as the seed has it, everything
// happens that happens to directors. Now and then, and at the end, it settles.
func Schedule(seed uint64) string {
	b := &scheduler{Rand: rand.New(rand.NewPCG(seed, 3))}
	b.line("seed %d", seed)
	b.directors()
	b.line("net %s", b.weather())
	for _, d := range b.dirs {
		b.line("start %s", d.name)
		if b.chance(30) {
			b.pass()
		}
	}
	for range 1 + b.IntN(3) {
		for range 1 + b.IntN(10) {
			b.trouble()
			b.pass()
		}
		b.mend()
		b.line("settle")
	}
	return b.script.String()
}

// scheduler writes a schedule.
type scheduler struct {
	*rand.Rand
	script   strings.Builder
	dirs     []*simulated
	labels   []string
	interval time.Duration // the shortest of the first configuration
	version  int
}

// simulated is what the scheduler has done to a director.
type simulated struct {
	name         string
	down, asleep bool
	failed       string // which virtual router
	priority     int
}

func (b *scheduler) line(format string, args ...any) {
	fmt.Fprintf(&b.script, format+"\n", args...)
}

func (b *scheduler) chance(percent int) bool { return b.IntN(100) < percent }

func pick[T any](b *scheduler, from ...T) T { return from[b.IntN(len(from))] }

// directors configures them: alone or with two virtual routers each, which move
// together or on their own.
func (b *scheduler) directors() {
	b.version = 3
	b.interval = pick(b, 10*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond, time.Second)
	if b.chance(15) {
		b.version, b.interval = 2, time.Second
	}
	b.labels = []string{""}
	group := ""
	if b.chance(40) {
		b.labels = []string{"v4", "v6"}
		if b.chance(75) {
			group = "group=pair "
		}
	}
	common := 50 + b.IntN(150)
	different := pick(b, 0, 75, 75, 100)
	for i := range 2 + b.IntN(4) {
		d := &simulated{name: string(rune('a' + i)), priority: common}
		if b.chance(different) {
			d.priority = 1 + b.IntN(254)
		}
		if i == 0 && b.chance(10) {
			d.priority = 255
		}
		settings := fmt.Sprintf("priority=%d preempt=%v interval=%v version=%d", d.priority, b.chance(70), b.someInterval(), b.version)
		if b.chance(20) {
			settings += fmt.Sprintf(" delay=%v", b.some(10))
		}
		if b.chance(20) {
			settings += fmt.Sprintf(" startdelay=%v", b.some(10))
		}
		for k, label := range b.labels {
			name, addr, vip := d.name, i+1, 100+k
			if label != "" {
				name += "/" + label
			}
			if k == 1 && b.chance(50) {
				addr = 9 - i // who has the higher address is not the same for both
			}
			b.line("router %s %saddr=192.0.%d.%d vips=192.0.%d.%d/24 %s", name, group, 2+k, addr, 2+k, vip, settings)
		}
		b.dirs = append(b.dirs, d)
	}
}

// someInterval is the common one, or, in version 3, one of a router that is configured
// otherwise.
func (b *scheduler) someInterval() time.Duration {
	if b.version == 2 || !b.chance(10) {
		return b.interval
	}
	return b.interval * time.Duration(1+b.IntN(5))
}

// some is a time of up to so many advertisement intervals, in milliseconds.
func (b *scheduler) some(intervals int) time.Duration {
	return time.Duration(b.Int64N(int64(intervals)*int64(b.interval/time.Millisecond)+1)) * time.Millisecond
}

// weather is how frames travel.
func (b *scheduler) weather() string {
	loss := pick(b, 0, 0, 0.01, 0.1, 0.3, 0.6)
	dup := pick(b, 0, 0, 0.05, 0.5)
	delay := time.Duration(b.Int64N(int64(b.interval / 8)))
	jitter := time.Duration(b.Int64N(int64(b.interval / 8)))
	return fmt.Sprintf("loss=%v dup=%v delay=%v jitter=%v", loss, dup, delay, jitter)
}

func (b *scheduler) pass() {
	most := pick(b, 2, 5, 12)
	b.line("run %v", b.some(most))
}

// mend puts some of what is broken in order; whatever is left, the rest has to agree.
func (b *scheduler) mend() {
	for _, d := range b.dirs {
		if d.asleep && !b.chance(10) {
			b.resume(d)
		}
		if d.down && b.chance(80) {
			b.start(d)
		}
		if d.failed != "" && b.chance(80) {
			b.line("recover %s", d.failed)
			d.failed = ""
		}
	}
	if b.chance(80) {
		b.line("heal")
	}
}
