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
to one of this machine's addresses by direct routing, or those given by --vip.
start is for these addresses and no others: it takes back what an earlier start
did for addresses that are not among them.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", defaultConfig, "configuration `FILE`")
	cmd.PersistentFlags().StringArrayVar(&f.vips, "vip", nil, "virtual `ADDRESS`, instead of the configuration's; may be repeated")
	cmd.PersistentFlags().StringVar(&f.state, "state-file", realserver.DefaultStateFile, "`FILE` that remembers what stop has to bring back")
	cmd.AddCommand(
		&cobra.Command{
			Use: "start", Short: "put in place what is missing, take back what is wanted no more", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return f.start(cmd) },
		},
		&cobra.Command{
			Use: "stop", Short: "bring back what was there before start", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				done, err := realserver.Stop(f.options())
				return printSteps(cmd, done, err, "nothing to take back")
			},
		},
		&cobra.Command{
			Use: "status", Short: "what is in place; exit status 1 if something is wrong", Args: noArgs,
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
	if err := f.checkOwn(); err != nil {
		return err
	}
	done, err := realserver.Start(vips, f.options())
	return printSteps(cmd, done, err, "everything is in place already")
}

// checkOwn refuses an address of --vip that is this machine's own. One of the
// configuration's may be on another interface, where a director is a real server
// too; status tells of it.
func (f realServerFlags) checkOwn() error {
	vips, err := f.given()
	if err != nil || len(vips) == 0 {
		return err
	}
	byInterface, err := netif.AddressesByInterface()
	if err != nil {
		return fmt.Errorf("list this machine's addresses: %w", err)
	}
	if err := realserver.CheckOwn(vips, byInterface); err != nil {
		return usageError{fmt.Errorf("--vip: %w", err)}
	}
	return nil
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
	for _, item := range items {
		fmt.Fprintln(cmd.OutOrStdout(), item)
	}
	if advice := advise(items); advice != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "hadirector: "+advice)
		return errReported
	}
	return nil
}

// advise says what to do about the items that are not as they should be; nothing if
// all are.
func advise(items []realserver.Item) string {
	var wrong, byHand int
	for _, item := range items {
		switch {
		case item.OK:
		case item.ByHand:
			byHand++
			wrong++
		default:
			wrong++
		}
	}
	head := fmt.Sprintf("%d of %d not as they should be: ", wrong, len(items))
	const start, hand = "run 'hadirector realserver start'", "remove by hand what is on another interface or has another prefix length"
	switch {
	case wrong == 0:
		return ""
	case byHand == 0:
		return head + start
	case byHand == wrong:
		return head + hand
	}
	return head + start + ", and " + hand
}

// printSteps prints what was done as the commands that do the same, or that nothing
// was to be done, which an error leaves open. It returns the error.
func printSteps(cmd *cobra.Command, done []realserver.Step, err error, nothing string) error {
	if len(done) == 0 && err == nil {
		fmt.Fprintln(cmd.OutOrStdout(), nothing)
	}
	for _, s := range done {
		fmt.Fprintln(cmd.OutOrStdout(), s)
	}
	return err
}

// given are the addresses of --vip.
func (f realServerFlags) given() ([]netip.Addr, error) {
	var vips []netip.Addr
	for _, text := range f.vips {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--vip %s is not an IP address", text)}
		}
		if err := realserver.CheckAddress(a); err != nil {
			return nil, usageError{fmt.Errorf("--vip: %w", err)}
		}
		vips = append(vips, a)
	}
	return vips, nil
}

// addresses are the virtual addresses that this machine is a real server for.
func (f realServerFlags) addresses(cmd *cobra.Command) ([]netip.Addr, error) {
	if vips, err := f.given(); err != nil || len(vips) > 0 {
		return vips, err
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
		return nil, fmt.Errorf("no virtual server in %s forwards to this machine (%s) by direct routing: choose with --vip, or take back an earlier start with 'hadirector realserver stop'", f.config, joinAddrs(local))
	}
	return vips, nil
}

// directRoutes returns the addresses of the virtual servers that forward to one of
// the local addresses by direct routing, each once. The virtual addresses themselves
// may be local already.
func directRoutes(cfg *conf.Config, local []netip.Prefix) []netip.Addr {
	var vips []netip.Addr
	for _, vs := range cfg.VirtualServers {
		here := slices.ContainsFunc(vs.RealServers, func(rs conf.RealServer) bool {
			return rs.Forward == ipvs.ForwardDirect &&
				slices.ContainsFunc(local, func(p netip.Prefix) bool { return p.Addr() == rs.Address.Addr() })
		})
		if !here {
			continue
		}
		for _, vip := range vs.VIPs() {
			if !slices.Contains(vips, vip) {
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
