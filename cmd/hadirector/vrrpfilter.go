package main

import (
	"context"
	"log/slog"
	"time"
)

// filterInterval is how often it is looked whether the packet filter is still there:
// whoever loads a firewall's rules anew often flushes everybody's first.
const filterInterval = 5 * time.Second

// keepFilter writes the packet filter again when somebody has deleted it, until ctx ends.
func keepFilter(ctx context.Context, restore func() (restored bool, err error), logger *slog.Logger) {
	tick := time.NewTicker(filterInterval)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		restored, err := restore()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != "" && text != said {
			logger.Warn("packet filter not looked after", "err", err)
		}
		said = text
		if restored {
			logger.Warn("packet filter was removed by another program, put back")
		}
	}
}
