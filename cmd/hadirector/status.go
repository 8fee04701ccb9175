package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/admin"
)

// newStatus is "hadirector status".
func newStatus() *cobra.Command {
	var (
		socket string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "role, virtual addresses, virtual and real servers, sync, peers",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := admin.NewClient(socket).Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(s)
			}
			return writeStatus(cmd.OutOrStdout(), s)
		},
	}
	socketFlag(cmd, &socket)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return cmd
}
