package healthcheck_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// BenchmarkMonitor runs 10 000 targets with checks that answer at once. One
// operation is one probe, from the agenda to the published verdict.
func BenchmarkMonitor(b *testing.B) {
	const n = 10_000
	var probes atomic.Int64
	enough := make(chan struct{})
	m, events := quietMonitor(b, func(context.Context) error {
		if probes.Add(1) == int64(b.N) {
			close(enough)
		}
		return nil
	})
	sp := spec()
	sp.Interval = time.Millisecond // always due: as fast as it can
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	m.Apply(targets(n, sp))
	b.ResetTimer()
	go func() { done <- m.Run(ctx) }()
	<-enough
	b.StopTimer()
	cancel()
	<-done
	close(events)
}

// BenchmarkMonitorAtRest runs 10 000 targets, each asked once a second, for one
// second per operation, and reports the processor time that takes, the memory they
// hold, and how many goroutines there are between probes.
func BenchmarkMonitorAtRest(b *testing.B) {
	const n = 10_000
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var probes atomic.Int64
	m, events := quietMonitor(b, func(context.Context) error { probes.Add(1); return nil })
	sp := spec()
	sp.Interval = time.Second
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	goroutines := runtime.NumGoroutine()
	m.Apply(targets(n, sp))
	go func() { done <- m.Run(ctx) }()
	for probes.Load() < n {
		time.Sleep(10 * time.Millisecond)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	asked, cpu, seconds := probes.Load(), processorTime(b), 0
	b.ResetTimer()
	for range b.N {
		time.Sleep(time.Second)
		seconds++
	}
	b.StopTimer()
	used := processorTime(b) - cpu
	b.ReportMetric(float64(probes.Load()-asked)/float64(seconds), "probes/s")
	b.ReportMetric(100*used.Seconds()/float64(seconds), "%cpu")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/target")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
	cancel()
	<-done
	close(events)
}

// quietMonitor makes a Monitor whose events somebody reads and ignores.
func quietMonitor(b *testing.B, check healthcheck.CheckerFunc) (*healthcheck.Monitor, chan healthcheck.Event) {
	b.Helper()
	events := make(chan healthcheck.Event)
	go func() {
		for range events {
		}
	}()
	m, err := healthcheck.NewMonitor(healthcheck.Options{
		NewChecker: func(healthcheck.Spec, healthcheck.Target) (healthcheck.Checker, error) { return check, nil },
		Events:     events,
	})
	if err != nil {
		b.Fatal(err)
	}
	return m, events
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSnapshots(b *testing.B) {
	m, events := quietMonitor(b, func(context.Context) error { return nil })
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	m.Apply(targets(10_000, spec()))
	go func() { done <- m.Run(ctx) }()
	for len(m.Snapshots()) < 10_000 {
		time.Sleep(time.Millisecond)
	}
	for b.Loop() {
		m.Snapshots()
	}
	cancel()
	<-done
	close(events)
}
