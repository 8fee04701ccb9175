package director

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// longTOML is a configuration of n virtual servers with m real servers each.
func longTOML(n, m int) string {
	var toml strings.Builder
	toml.WriteString("[director.lb-a]\naddress = \"10.0.0.11\"\n[check.alive]\ntype = \"tcp\"\n")
	for i := range n {
		fmt.Fprintf(&toml, "[virtual_server.vs-%d]\naddress = \"10.1.%d.%d:80\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\ncheck = \"alive\"\nsorry_server = { address = \"10.9.0.1:80\" }\n[virtual_server.vs-%d.real_server]\n", i, i/250, i%250+1, i)
		for j := range m {
			fmt.Fprintf(&toml, "rs-%d = { address = \"10.%d.%d.%d:80\" }\n", j, 20+j, i/250, i%250+1)
		}
	}
	return toml.String()
}

// BenchmarkLongTable is what the loop and the reconciler do with long tables, beside what
// the kernel takes: for a real server that fails, a whole comparison, a reload, a reader.
func BenchmarkLongTable(b *testing.B) {
	for _, size := range [][2]int{{1000, 10}, {10_000, 2}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			text := longTOML(size[0], size[1])
			d := benchmarkDirector(b, text, make(chan healthcheck.Event))
			d.compile()
			failing := d.force.users
			b.Run("event", func(b *testing.B) {
				status := healthcheck.Down
				for b.Loop() {
					for t := range failing {
						d.healthBatch(healthcheck.Event{Target: t, Status: status})
						break
					}
					status = healthcheck.Up + healthcheck.Down - status
				}
			})
			b.Run("difference", func(b *testing.B) {
				is := d.desired.Table.Clone()
				for b.Loop() {
					ipvs.Diff(d.desired.Table, is, nil)
				}
			})
			b.Run("reload", func(b *testing.B) {
				more := longTOML(size[0]+1, size[1])
				for b.Loop() {
					cfg, err := conf.Parse([]byte(more), "bench.toml")
					if err != nil {
						b.Fatal(err)
					}
					next := newInForce(cfg)
					if len(conf.DiffKeys(d.force.text, next.text)) != 1 {
						b.Fatal("not one difference")
					}
					Compile(cfg, "lb-a", d.facts).since(d.desired)
				}
			})
			b.Run("reload of the same", func(b *testing.B) {
				for b.Loop() {
					cfg, err := conf.Parse([]byte(text), "bench.toml")
					if err != nil {
						b.Fatal(err)
					}
					before := d.desired.Generation
					if out, err := d.apply(newInForce(cfg)); err != nil || len(out.Changed) > 0 || d.desired.Generation != before {
						b.Fatal(out.Changed, err)
					}
				}
			})
			b.Run("status", func(b *testing.B) {
				for b.Loop() {
					d.Status()
				}
			})
		})
	}
}

// BenchmarkFirstVerdicts is what the loop does for each of the first verdicts of 20 000
// checks after a start, and for each failure among them: one at a time, as they come when
// the checks are spread over their interval, and as many as a batch holds.
func BenchmarkFirstVerdicts(b *testing.B) {
	text := longTOML(10_000, 2)
	for _, batch := range []int{1, healthBatchMax} {
		for _, status := range []healthcheck.Status{healthcheck.Up, healthcheck.Down} {
			b.Run(fmt.Sprintf("%d/%v", batch, status), func(b *testing.B) {
				events := make(chan healthcheck.Event, healthBatchMax)
				d := benchmarkDirector(b, text, events)
				d.configure()
				var targets []healthcheck.Target
				for b.Loop() {
					if len(targets) == 0 {
						b.StopTimer()
						targets = slices.Collect(maps.Keys(d.force.users))
						d.restartChecks()
						b.StartTimer()
					}
					events <- healthcheck.Event{Target: targets[0], Status: status}
					if targets = targets[1:]; len(events) == batch || len(targets) == 0 {
						d.healthBatch(<-events)
						d.publish()
					}
				}
			})
		}
	}
}

// BenchmarkFailure is what it costs that a real server fails, from its check to the kernel
// and to readers.
func BenchmarkFailure(b *testing.B) {
	for _, size := range [][2]int{{1000, 10}, {10_000, 2}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			d := benchmarkDirector(b, longTOML(size[0], size[1]), make(chan healthcheck.Event))
			d.configure()
			d.rec.want.Table = make(ipvs.Table)
			d.rec.pass(b.Context(), Compile(d.force.cfg, "lb-a", d.facts))
			<-d.rec.desired
			targets := slices.Collect(maps.Keys(d.force.users))
			for n := 0; b.Loop(); n++ {
				if n%256 == 0 { // as once a second or so
					b.StopTimer()
					d.rec.during = make(map[ipvs.ServiceKey]bool)
					d.rec.learn(d.rec.read(b.Context(), nil))
					b.StartTimer()
				}
				d.healthBatch(healthcheck.Event{Target: targets[n/2%len(targets)], Status: healthcheck.Down - healthcheck.Status(n%2)})
				d.publish()
				d.rec.take(b.Context(), <-d.rec.desired)
				d.rec.work(b.Context())
				p, told := d.rec.finish(b.Context())
				if !told || !p.Reached {
					b.Fatal(p.Errs)
				}
				d.passed(p)
				d.publish()
			}
		})
	}
}

// restartChecks makes all checks such as have no verdict yet.
func (d *Director) restartChecks() {
	clear(d.facts.Health)
	d.verdicts, d.waiting = verdicts{}, len(d.force.targets)
	d.publish()
}
