package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/admin"
)

// newReload is "hadirector reload".
func newReload() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "have the daemon load its configuration again",
		Long: `reload has the running daemon read its configuration file again, as SIGHUP does,
and prints the first keys that changed and what was done about them, in the words of
"hadirector plan". A file with a mistake changes nothing: the
mistakes are printed and the exit status is 1. It is also 1 if the kernel refuses
a part of the new configuration; the daemon then goes on trying.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := admin.NewClient(socket).Reload(cmd.Context())
			if err != nil {
				return err
			}
			for _, w := range r.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), w)
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "reloaded %s, configuration %s\n", r.File, r.Hash)
			writeChanged(out, r.Changed, "")
			for _, s := range r.Steps {
				fmt.Fprintln(out, s)
			}
			for _, e := range r.Refused {
				fmt.Fprintf(cmd.ErrOrStderr(), "the kernel refused: %s\n", e)
			}
			if len(r.Refused) > 0 {
				return errReported
			}
			return nil
		},
	}
	socketFlag(cmd, &socket)
	return cmd
}
