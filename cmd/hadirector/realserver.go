package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/realserver"
	"github.com/hadirector/hadirector/ipvs"
)

// realServerFlags are those of the realserver commands.
type realServerFlags struct {
	config string
	vips   []string
	state  string
}

// newRealServer is "hadirector realserver".
func newRealServer() *cobra.Command {
	var f realServerFlags
	cmd := &cobra.Command{
		Use:   "realserver",
		Short: "on a real server: virtual addresses and ARP for direct routing",
		Long: `realserver makes this machine a real server for direct routing: the virtual
addresses are on lo as /32, it does not answer ARP for them (arp_ignore = 1,
arp_announce = 2), and they have a host route.

The addresses are those of the virtual servers in the configuration that forward
to one of this machine's addresses by direct routing, or those given by --vip.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", defaultConfig, "configuration `FILE`")
	cmd.PersistentFlags().StringArrayVar(&f.vips, "vip", nil, "virtual `ADDRESS`, instead of the configuration's; may be repeated")
	cmd.PersistentFlags().StringVar(&f.state, "state-file", realserver.DefaultStateFile, "`FILE` that remembers what stop has to bring back")
	cmd.AddCommand(
		&cobra.Command{
			Use: "start", Short: "put in place what is missing", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return f.start(cmd) },
		},
		&cobra.Command{
			Use: "stop", Short: "bring back what was there before start", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				done, err := realserver.Stop(f.options())
				printSteps(cmd, done, "nothing to take back")
				return err
			},
		},
		&cobra.Command{
			Use: "status", Short: "what is in place; exit status 1 if something is missing", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return f.status(cmd) },
		},
	)
	return cmd
}

func (f realServerFlags) options() realserver.Options {
	return realserver.Options{StateFile: f.state}
}

func (f realServerFlags) start(cmd *cobra.Command) error {
	vips, err := f.addresses(cmd)
	if err != nil {
		return err
	}
	done, err := realserver.Start(vips, f.options())
	printSteps(cmd, done, "everything is in place already")
	return err
}

func (f realServerFlags) status(cmd *cobra.Command) error {
	vips, err := f.addresses(cmd)
	if err != nil {
		return err
	}
	items, err := realserver.Status(vips, f.options())
	if err != nil {
		return err
	}
	missing := 0
	for _, item := range items {
		if !item.OK {
			missing++
		}
		fmt.Fprintln(cmd.OutOrStdout(), item)
	}
	if missing > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "hadirector: %d of %d not in place: run 'hadirector realserver start'\n", missing, len(items))
		return errReported
	}
	return nil
}

// printSteps prints what was done as the commands that do the same.
func printSteps(cmd *cobra.Command, done []realserver.Step, nothing string) {
	if len(done) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), nothing)
	}
	for _, s := range done {
		fmt.Fprintln(cmd.OutOrStdout(), s)
	}
}

// addresses are the virtual addresses that this machine is a real server for.
func (f realServerFlags) addresses(cmd *cobra.Command) ([]netip.Addr, error) {
	if len(f.vips) > 0 {
		vips := make([]netip.Addr, len(f.vips))
		for i, text := range f.vips {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, usageError{fmt.Errorf("--vip %s is not an IP address", text)}
			}
			vips[i] = a
		}
		return vips, nil
	}
	cfg, err := load(f.config, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	local, err := netif.LocalAddresses()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	vips := directRoutes(cfg, local)
	if len(vips) == 0 {
		return nil, fmt.Errorf("no virtual server in %s forwards to this machine (%s) by direct routing; choose with --vip", f.config, joinAddrs(local))
	}
	return vips, nil
}

// directRoutes returns the addresses of the virtual servers that forward to one of
// the local addresses by direct routing, each once. The virtual addresses themselves
// may be local already.
func directRoutes(cfg *conf.Config, local []netip.Prefix) []netip.Addr {
	var vips []netip.Addr
	for _, vs := range cfg.VirtualServers {
		vip := vs.Service.Key.Addr.Addr()
		for _, rs := range vs.RealServers {
			here := slices.ContainsFunc(local, func(p netip.Prefix) bool { return p.Addr() == rs.Address.Addr() })
			if here && rs.Forward == ipvs.ForwardDirect && vip.IsValid() && !slices.Contains(vips, vip) {
				vips = append(vips, vip)
			}
		}
	}
	return vips
}

func joinAddrs(list []netip.Prefix) string {
	var texts []string
	for _, p := range list {
		if !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			texts = append(texts, p.Addr().String())
		}
	}
	return strings.Join(texts, ", ")
}
