package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/clusterkey"
)

// newKeygen is "hadirector keygen".
func newKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "make a cluster key",
		Long: `keygen makes the secret that the directors of a cluster share and writes it to
FILE, which must not exist yet and which only its owner can read, or prints it.
Copy the file to every director, to the place that [sync] key_file names.`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				fmt.Fprint(cmd.OutOrStdout(), clusterkey.Generate().Text())
				return nil
			}
			key, err := clusterkey.WriteNew(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s, key %s\n", args[0], key.ID())
			return nil
		},
	}
}
