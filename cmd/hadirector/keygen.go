package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/clusterkey"
)

// newKeygen is "hadirector keygen".
func newKeygen() *cobra.Command {
	var rotate, retire bool
	cmd := &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "make a cluster key",
		Long: `keygen makes the secret that the directors of a cluster share and writes it to
FILE, which must not exist yet and which only its owner can read, or prints it.
Copy the file to every director, to the place that [sync] key_file names.

With --rotate FILE gets a new key, and the one in it is still accepted. With
--retire that one is taken out. After each of the two copy the file to every
director and reload them, one after the other: they go on talking to each other
all the time.`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (rotate || retire) && len(args) == 0 {
				return usageError{errors.New("--rotate and --retire want the key's FILE")}
			}
			if rotate {
				keys, err := clusterkey.Rotate(args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "wrote %[1]s, key %[2]s, and %[3]s still accepted\n"+
					"copy it to every director and reload each; when all have it: hadirector keygen --retire %[1]s\n", args[0], keys[0].ID(), keys[1].ID())
				return nil
			}
			if retire {
				keys, err := clusterkey.Retire(args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "wrote %s, key %s, without %s\ncopy it to every director and reload each\n", args[0], keys[0].ID(), keys[1].ID())
				return nil
			}
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
	cmd.Flags().BoolVar(&rotate, "rotate", false, "put a new key into FILE, and accept the old one still")
	cmd.Flags().BoolVar(&retire, "retire", false, "take the old key out of FILE; every director has the new one")
	cmd.MarkFlagsMutuallyExclusive("rotate", "retire")
	return cmd
}
