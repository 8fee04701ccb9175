package main

import (
	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/ipvs"
)

// clear is "hadirector ipvs clear".
func (t ipvsTool) clear() *cobra.Command {
	var f ownerFlags
	cmd := &cobra.Command{
		Use:   "clear",
		Short: "delete all services, as ipvsadm -C",
		Long: `clear deletes every service of the kernel's table, whoever made it, without
asking. It refuses as long as a hadirector runs here that owns some of them, since
that one would put them back.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := t.refuseOwned(cmd.Context(), f, func(ipvs.ServiceKey) bool { return true }); err != nil {
				return err
			}
			return t.with(func(k ipvsKernel) error { return k.Flush(cmd.Context()) })
		},
	}
	f.add(cmd)
	return cmd
}

// zero is "hadirector ipvs zero".
func (t ipvsTool) zero() *cobra.Command {
	var f serviceFlags
	cmd := &cobra.Command{
		Use:   "zero [SERVICE]",
		Short: "set the counters to zero, of one service or of all, as ipvsadm -Z",
		Long:  "zero sets the counters of one service, or of all, to zero.\n\n" + serviceUsage,
		RunE: func(cmd *cobra.Command, words []string) error {
			key, one, err := f.key(words)
			if err != nil {
				return err
			}
			return t.with(func(k ipvsKernel) error {
				if one {
					return k.ZeroService(cmd.Context(), key)
				}
				return k.Zero(cmd.Context())
			})
		},
	}
	f.add(cmd)
	return cmd
}
