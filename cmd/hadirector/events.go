package main

import (
	"encoding/json"
	"fmt"
	"os/signal"
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
		since          time.Duration
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "the event journal: what happened and why",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			var from time.Time
			if since > 0 {
				from = time.Now().Add(-since)
			}
			out := cmd.OutOrStdout()
			enc := json.NewEncoder(out)
			err := admin.NewClient(socket).Events(ctx, from, follow, func(r journal.Record) error {
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
	cmd.Flags().DurationVar(&since, "since", 0, "only what happened in the last `DURATION`, such as 2h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}
