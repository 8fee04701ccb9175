package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// daemon is "hadirector ipvs daemon".
func (t ipvsTool) daemon() *cobra.Command {
	return &cobra.Command{
		Use:   "daemon",
		Short: "the kernel's sync daemons, as ipvsadm -Ln --daemon",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.with(func(k ipvsKernel) error {
				daemons, err := k.Daemons(cmd.Context())
				if err != nil {
					return err
				}
				for _, d := range daemons {
					if _, err := fmt.Fprint(cmd.OutOrStdout(), d.Listed()); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}
