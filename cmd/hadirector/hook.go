package main

import (
	"context"

	"github.com/hadirector/hadirector/healthcheck/probe"
	"github.com/hadirector/hadirector/internal/director"
)

// runHook runs a command that an operator has given, as scripts are run.
func runHook(ctx context.Context, h director.Hook) error {
	return probe.Command{Args: h.Args, User: h.User, Env: h.Env, Timeout: h.Timeout}.Run(ctx)
}
