package healthcheck

import (
	"context"
	"errors"
)

// Checker asks a target once. Nil means healthy; an error is the cause, in words
// for the operator: "connect refused", "status 503, want 200-299". A Checker ends
// when ctx does, and is never called concurrently with itself.
type Checker interface {
	Check(ctx context.Context) error
}

// Measurer is a Checker whose success comes with a [Value], such as the number in a file.
// The Monitor then calls Measure in place of Check; with an error the value does not
// count. A success may bring another value than the last one: that is an event too,
// at once, whatever the thresholds.
type Measurer interface {
	Checker
	Measure(ctx context.Context) (Value, error)
}

// CheckerFunc is a function that is a Checker.
type CheckerFunc func(context.Context) error

// Check calls f.
func (f CheckerFunc) Check(ctx context.Context) error { return f(ctx) }

// ErrNotAsked marks an error of a Checker that says nothing about its target: the
// director itself lacked a file descriptor, a local port or memory. Test with
// errors.Is. The Monitor counts such a probe, keeps the target's status and asks
// again an interval later.
var ErrNotAsked = errors.New("target not asked")
