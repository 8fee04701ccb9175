package vrrptest

import (
	"fmt"
	"strings"
	"time"
)

// trouble does something to the segment.
func (b *scheduler) trouble() {
	d := pick(b, b.dirs...)
	switch n := b.IntN(100); {
	case n < 25:
		b.process(d)
	case n < 40:
		b.clock(d)
	case n < 65:
		b.network(d)
	case n < 78:
		b.link(d)
	default:
		b.reload(d)
	}
}

// process starts, ends or moves what runs on a director.
func (b *scheduler) process(d *simulated) {
	if d.down {
		b.start(d)
		return
	}
	switch b.IntN(6) {
	case 0:
		b.end(d, "kill")
	case 1:
		b.end(d, "crash")
	case 2:
		if d.asleep {
			b.resume(d)
		}
		b.end(d, "stop")
	case 3: // the supervisor starts it again at once
		b.end(d, "kill")
		b.line("run %v", b.some(3))
		b.line("adopt %s", d.name)
		d.down = false
	case 4:
		b.line("switchover %s", d.name)
	case 5: // a clean stop, which hands over first
		b.line("switchover %s", d.name)
		b.pass()
		if d.asleep {
			b.resume(d)
		}
		b.end(d, "stop")
	}
}

func (b *scheduler) end(d *simulated, how string) {
	b.line("%s %s", how, d.name)
	d.down, d.asleep, d.failed = true, false, ""
}

func (b *scheduler) start(d *simulated) {
	b.line("%s %s", pick(b, "start", "start", "start", "adopt"), d.name)
	d.down = false
}

// clock stops a director, or lets it go on.
func (b *scheduler) clock(d *simulated) {
	if d.down {
		return
	}
	if d.asleep {
		b.resume(d)
		return
	}
	b.line("%s %s", pick(b, "stall", "suspend"), d.name)
	d.asleep = true
	if b.chance(60) {
		b.pass()
		b.resume(d)
	}
}

func (b *scheduler) resume(d *simulated) {
	b.line("resume %s", d.name)
	d.asleep = false
}

// network changes what reaches whom.
func (b *scheduler) network(d *simulated) {
	other := pick(b, b.dirs...)
	switch b.IntN(7) {
	case 0:
		b.line("cut %s", b.one(d))
	case 1:
		b.line("heal %s", d.name)
	case 2:
		b.line("heal")
	case 3:
		var parts [2][]string
		for _, d := range b.dirs {
			i := b.IntN(2)
			parts[i] = append(parts[i], d.name)
		}
		b.line("partition %s %s", strings.Join(parts[0], ","), strings.Join(parts[1], ","))
	case 4:
		b.line("partition %s>%s", d.name, other.name)
	case 5:
		b.line("net %s", b.weather())
	case 6:
		b.line("path %s %s %s", d.name, other.name, b.weather())
	}
}

// one names one of a director's virtual routers, or all of them.
func (b *scheduler) one(d *simulated) string {
	if len(b.labels) == 1 || b.chance(40) {
		return d.name
	}
	return d.name + "/" + pick(b, b.labels...)
}

// link takes a link or something else that a director tracks away, and brings it back.
func (b *scheduler) link(d *simulated) {
	if d.down {
		return
	}
	if d.failed != "" {
		b.line("recover %s", d.failed)
		d.failed = ""
		return
	}
	d.failed = b.one(d)
	lost := b.chance(50) // with the frames on it
	if lost {
		b.line("cut %s", d.failed)
	}
	b.line("fail %s link eth0 is down", d.failed)
	if b.chance(60) {
		b.pass()
		if lost {
			b.line("heal %s", d.failed)
		}
		b.line("recover %s", d.failed)
		d.failed = ""
	}
}

// reload changes the parameters of one director, or of all.
func (b *scheduler) reload(d *simulated) {
	switch b.IntN(8) {
	case 0, 1: // something that is tracked
		b.line("set %s priority=%d", d.name, 1+b.IntN(254))
	case 2: // and recovers
		b.line("set %s priority=%d", d.name, d.priority)
	case 3:
		b.line("set %s preempt=%v", d.name, b.chance(50))
	case 4: // not ready, then ready
		b.line("set %s priority=1 preempt=false", d.name)
		b.pass()
		b.line("set %s priority=%d preempt=true", d.name, d.priority)
	case 5:
		b.line("set %s hold=%v", d.name, b.chance(30))
	case 6:
		if len(b.labels) == 1 {
			b.line("set %s vips=%s", d.name, pick(b, "192.0.2.100/24", "192.0.2.100/24,192.0.2.101/24", "192.0.2.100/32", "192.0.2.101/24 excluded=192.0.2.102/24"))
			return
		}
		b.line("set %s delay=%v", d.name, b.some(10))
	case 7:
		interval := b.interval * time.Duration(1+b.IntN(3))
		if b.version == 3 && interval%time.Second == 0 && b.chance(20) {
			b.version = 2
		} else if b.version == 2 && b.chance(50) {
			b.version = 3
		}
		b.everywhere(fmt.Sprintf("interval=%v version=%d", interval, b.version))
	}
}

// everywhere changes a parameter on one director after the other.
func (b *scheduler) everywhere(setting string) {
	for _, d := range b.dirs {
		b.line("set %s %s", d.name, setting)
		if b.chance(20) {
			b.pass()
		}
	}
}
