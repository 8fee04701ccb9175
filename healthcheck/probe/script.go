package probe

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hadirector/hadirector/healthcheck"
)

// scriptCheck runs a program and looks at its exit status.
type scriptCheck struct {
	Command
	dynamic bool // the exit status brings a weight
}

func newScript(sp healthcheck.Spec, t healthcheck.Target) (*scriptCheck, error) {
	args := strings.Split(sp.Script.Command, "\x00")
	if !filepath.IsAbs(args[0]) {
		return nil, fmt.Errorf("script %q is not an absolute path", args[0])
	}
	for i := range args[1:] {
		args[1+i] = t.Fill(args[1+i])
	}
	return &scriptCheck{Command{Args: args, User: sp.Script.User, Timeout: sp.Timeout}, sp.Script.DynamicWeight}, nil
}

// Check succeeds when the script's exit status is 0, or one that brings a weight.
func (c *scriptCheck) Check(ctx context.Context) error {
	_, err := c.Measure(ctx)
	return err
}

// Measure returns the weight that the exit status brings, if it is to bring one.
func (c *scriptCheck) Measure(ctx context.Context) (healthcheck.Value, error) {
	e, err := c.run(ctx)
	if err != nil {
		return healthcheck.Value{}, err
	}
	status, err := c.judge(ctx, e)
	if err != nil || status < 2 {
		return healthcheck.Value{}, err
	}
	return healthcheck.Value{Unit: healthcheck.Number, N: status - 2}, nil
}

// judge turns the end of a script into a verdict, with the exit status of a success.
func (c *scriptCheck) judge(ctx context.Context, e end) (int, error) {
	status, ok := e.state.Sys().(syscall.WaitStatus)
	if e.byItself && ok && status.Exited() && (status.ExitStatus() == 0 || c.dynamic && status.ExitStatus() >= 2) {
		return status.ExitStatus(), nil
	}
	return 0, c.failure(ctx, e)
}
