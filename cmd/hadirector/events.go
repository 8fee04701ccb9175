package main

import (
	"encoding/json"
	"fmt"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/journal"
)

// newEvents is "hadirector events".
func newEvents() *cobra.Command {
	var (
		socket         string
		follow, asJSON bool
		since          string
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "the event journal: what happened and why",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			from, err := sinceTime(since, time.Now())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			enc := json.NewEncoder(out)
			err = admin.NewClient(socket).Events(ctx, from, follow, func(r journal.Record) error {
				if asJSON {
					return enc.Encode(r)
				}
				_, err := fmt.Fprintln(out, r.Line(time.Local))
				return err
			})
			if ctx.Err() != nil {
				return nil // the operator has seen enough
			}
			return err
		},
	}
	socketFlag(cmd, &socket)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with each new event")
	cmd.Flags().StringVar(&since, "since", "", "only what happened in the last `DURATION`, such as 90s, 2h or 3d")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// sinceTime is the moment that lies a duration back; without one, the beginning.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	var d time.Duration
	var err error
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		return time.Time{}, usageError{fmt.Errorf("--since %q is not a time such as 90s, 2h or 3d", text)}
	}
	return now.Add(-d), nil
}
