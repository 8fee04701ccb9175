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
	tunnel tunnelFlags
	state  string
	dryRun bool
}

// newRealServer is "hadirector realserver".
func newRealServer() *cobra.Command {
	var f realServerFlags
	cmd := &cobra.Command{
		Use:   "realserver",
		Short: "on a real server: virtual addresses, ARP and tunnels",
		Long: `realserver makes this machine a real server for direct routing and tunnels. For
direct routing the virtual addresses are on lo as /32, and have a host route. For a
tunnel there is an interface at which it ends, with the virtual addresses on it, whose
rp_filter is not strict, and for gue a UDP port. In both cases the machine does not
answer ARP for them (arp_ignore = 1, arp_announce = 2).

The addresses are those of the virtual servers in the configuration that forward
to one of this machine's addresses by direct routing or a tunnel, or those given by
--vip, for direct routing unless --tunnel is given too. start is for these addresses
and no others: it takes back what an earlier start did for addresses that are not
among them.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", defaultConfig, "configuration `FILE`")
	cmd.PersistentFlags().StringArrayVar(&f.vips, "vip", nil, "virtual `ADDRESS`, instead of the configuration's; may be repeated")
	f.tunnel.add(cmd)
	cmd.PersistentFlags().StringVar(&f.state, "state-file", realserver.DefaultStateFile, "`FILE` that remembers what stop has to bring back")
	start := &cobra.Command{
		Use: "start", Short: "put in place what is missing, take back what is wanted no more", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.start(cmd) },
	}
	start.Flags().BoolVar(&f.dryRun, "dry-run", false, "print what start would do, and change nothing")
	cmd.AddCommand(
		start,
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
	virtuals, err := f.virtuals(cmd)
	if err != nil {
		return err
	}
	if err := f.checkOwn(); err != nil {
		return err
	}
	do := realserver.Start
	if f.dryRun {
		do = realserver.Plan
	}
	done, err := do(virtuals, f.options())
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
	tunnels, err := netif.Tunnels()
	if err != nil {
		return err
	}
	for _, t := range tunnels {
		delete(byInterface, t.Name)
	}
	if err := realserver.CheckOwn(vips, byInterface); err != nil {
		return usageError{fmt.Errorf("--vip: %w", err)}
	}
	return nil
}

func (f realServerFlags) status(cmd *cobra.Command) error {
	virtuals, err := f.virtuals(cmd)
	if err != nil {
		return err
	}
	items, err := realserver.Status(virtuals, f.options())
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

// virtuals are the virtual addresses that this machine is a real server for.
func (f realServerFlags) virtuals(cmd *cobra.Command) ([]realserver.Virtual, error) {
	vips, err := f.given()
	if err != nil {
		return nil, err
	}
	local, err := netif.LocalAddresses()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	if err := f.tunnel.check(len(vips) > 0); err != nil {
		return nil, usageError{err}
	}
	if len(vips) > 0 {
		return f.tunnel.virtuals(vips, local)
	}
	cfg, err := load(f.config, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	virtuals := virtualsOf(cfg, local)
	if len(virtuals) == 0 {
		return nil, fmt.Errorf("no virtual server in %s forwards to this machine (%s) by direct routing or a tunnel: choose with --vip, or take back an earlier start with 'hadirector realserver stop'", f.config, joinAddrs(local))
	}
	return virtuals, nil
}

// virtualsOf returns the addresses of the virtual servers that forward to one of the
// local addresses by direct routing or a tunnel. The virtual addresses themselves may be
// local already.
func virtualsOf(cfg *conf.Config, local []netip.Prefix) []realserver.Virtual {
	var virtuals []realserver.Virtual
	for _, vs := range cfg.VirtualServers {
		servers := vs.RealServers
		if vs.SorryServer != nil {
			servers = append(slices.Clone(servers), *vs.SorryServer)
		}
		for _, rs := range servers {
			own := rs.Address.Addr()
			if !slices.ContainsFunc(local, func(p netip.Prefix) bool { return p.Addr() == own }) {
				continue
			}
			v := realserver.Virtual{Forward: rs.Forward}
			switch rs.Forward {
			case ipvs.ForwardDirect:
			case ipvs.ForwardTunnel:
				v.Tunnel = realserver.Tunnel{Type: rs.Tunnel.Type, Local: own, Port: rs.Tunnel.Port, Checksum: rs.Tunnel.Flags&ipvs.TunnelChecksum != 0}
			default:
				continue
			}
			for _, v.Addr = range vs.VIPs() {
				if !slices.Contains(virtuals, v) {
					virtuals = append(virtuals, v)
				}
			}
		}
	}
	return virtuals
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
