package healthcheck_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// certified is a Noticer whose successes say what is written down for them, and "-" for
// nothing; "x" is a failure.
type certified struct {
	answers []string
	next    int
}

func (c *certified) Check(context.Context) error {
	c.next++
	if c.answers[min(c.next, len(c.answers))-1] == "x" {
		return errRefused
	}
	return nil
}

func (c *certified) Notice() healthcheck.Notice {
	// Each success has an end of its own, which alone is no event.
	n := healthcheck.Notice{Expires: time.Unix(int64(c.next), 0)}
	if text := c.answers[min(c.next, len(c.answers))-1]; text != "-" {
		n.Text = text
	}
	return n
}

// A notice is known as long as the target is up, and every other text is an event.
func TestMonitorNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &certified{answers: strings.Fields("- - a a x a b x x x b b -")} // spec: rise 2, fall 3
		events := make(chan healthcheck.Event, 20)
		m, err := healthcheck.NewMonitor(healthcheck.Options{
			Events:     events,
			NewChecker: func(healthcheck.Spec, healthcheck.Target) (healthcheck.Checker, error) { return c, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		m.Apply(targets(1, spec()))
		var got, held []string
		for n := range c.answers {
			for s := (healthcheck.Snapshot{}); s.OK+s.Failed <= uint64(n); s = m.Snapshots()[target(0)] {
				sleep(100 * time.Millisecond)
			}
			for len(events) > 0 {
				ev := <-events
				got = append(got, fmt.Sprintf("%d: %v %q", n+1, ev.Status, ev.Notice.Text))
			}
			s := m.Snapshots()[target(0)]
			held = append(held, fmt.Sprintf("%s%d", s.Notice.Text, max(s.Notice.Expires.Unix(), 0)))
		}
		cancel()
		<-done
		want := []string{`1: up ""`, `3: up "a"`, `7: up "b"`, `10: down ""`, `12: up "b"`, `13: up ""`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(strings.Fields("1 2 a3 a4 a4 a6 b7 b7 b7 0 0 b12 13"), held); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
	})
}
