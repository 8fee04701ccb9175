package director

import "context"

// runner is a part's goroutine and the way to stop it.
type runner struct {
	cancel context.CancelFunc
	done   chan error
}

// spawn runs a part under a context of its own, which ends with stop: the parts stop
// one after the other.
func spawn(run func(context.Context) error) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- run(ctx) }()
	return r
}

func (r *runner) stop() error {
	r.cancel()
	return <-r.done
}
