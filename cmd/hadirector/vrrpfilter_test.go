package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A filter that somebody deletes is put back within five seconds and said; a failure
// that lasts is said once.
func TestFilterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var mu sync.Mutex // guards what follows
		there, failure := true, error(nil)
		restore := func() (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			was := there
			there = there || failure == nil
			return there && !was, failure
		}
		// is changes how things are, and returns whether the filter is there a while later.
		is := func(gone bool, err error, wait time.Duration) bool {
			mu.Lock()
			there, failure = there && !gone, err
			mu.Unlock()
			time.Sleep(wait)
			mu.Lock()
			defer mu.Unlock()
			return there
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			keepFilter(ctx, restore, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		time.Sleep(time.Second) // not at the very moment of a look
		if !is(true, nil, filterInterval) {
			t.Error("not put back")
		}
		if is(true, errors.New("no memory"), 3*filterInterval) {
			t.Error("put back by a kernel that refuses")
		}
		if !is(false, nil, filterInterval) {
			t.Error("not put back afterwards")
		}
		cancel()
		<-ended
		if n, m := strings.Count(log.String(), "put back"), strings.Count(log.String(), "no memory"); n != 2 || m != 1 {
			t.Errorf("the log is\n%s", log.String())
		}
	})
}
