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
		Long: `reload has the running daemon read its configuration file again, as SIGHUP does.
A file with a mistake changes nothing: the mistakes are printed and the exit
status is 1.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := admin.NewClient(socket).Reload(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "reloaded %s, configuration %s\n", s.Config.File, s.Config.Hash)
			return nil
		},
	}
	socketFlag(cmd, &socket)
	return cmd
}
