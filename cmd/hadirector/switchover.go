package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

// newSwitchover is "hadirector switchover".
func newSwitchover() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "switchover [INSTANCE...]",
		Short: "hand mastership to the peer, gracefully",
		Long: `switchover gives the named virtual routers of which this director is Master to
another director, all of them without a name, and with each the others of its sync
group. This director keeps the virtual addresses until the other one has announced
them, so clients notice next to nothing.

Afterwards it takes nothing back by its priority while the other one lives. To hand
back, run switchover on the other director. If nobody takes over in time, this
director goes on, and the exit status is 1.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			results, err := admin.NewClient(socket).Switchover(cmd.Context(), names)
			if err != nil {
				return err
			}
			failed := false
			for _, r := range results {
				if r.To == "" {
					failed = true
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: nobody took over, this director is %s\n", r.Instance, r.State)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s is Master, after %v\n", r.Instance, r.To, r.Took.Round(time.Millisecond))
			}
			if failed {
				return errReported
			}
			return nil
		},
	}
	socketFlag(cmd, &socket)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		s, err := admin.NewClient(socket).Status(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return switchable(s, args), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// switchable are the virtual routers that could be handed over too, for the shell to
// complete.
func switchable(s director.Status, named []string) []cobra.Completion {
	var names []cobra.Completion
	for _, r := range s.VirtualRouters {
		if r.State == vrrp.Master.String() && !slices.Contains(named, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}
