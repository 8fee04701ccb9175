package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/realserver"
	"github.com/hadirector/hadirector/ipvs"
)

// tunnelFlags say by which tunnel the packets for the addresses of --vip come.
type tunnelFlags struct {
	tunnel   string
	port     uint16
	checksum string
	address  string
}

func (t *tunnelFlags) add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&t.tunnel, "tunnel", "", "the addresses of --vip come by a tunnel of this `TYPE`: ipip, gue or gre")
	flags.Uint16Var(&t.port, "tunnel-port", 0, "UDP `PORT` of a gue tunnel")
	flags.StringVar(&t.checksum, "tunnel-checksum", "", "of a gre tunnel: `none`, the default, or plain")
	flags.StringVar(&t.address, "address", "", "this machine's own `ADDRESS` at which tunnels end; default: the only one of the family")
}

// tunnelChecksums are those of --tunnel-checksum that the end of a tunnel has to know of.
var tunnelChecksums = []string{"", "none", "plain"}

// check looks for contradictions between the flags.
func (t tunnelFlags) check(vips bool) error {
	switch {
	case t == tunnelFlags{}:
		return nil
	case !vips:
		return errors.New("--tunnel, --tunnel-port, --tunnel-checksum and --address are for the addresses of --vip; the configuration has its own")
	case t.tunnel == "":
		return errors.New("--tunnel-port, --tunnel-checksum and --address have no meaning without --tunnel")
	}
	typ, err := ipvs.ParseTunnelType(t.tunnel)
	switch {
	case err != nil:
		return fmt.Errorf("--tunnel %s: %w", t.tunnel, err)
	case typ == ipvs.TunnelGUE && t.port == 0:
		return errors.New("--tunnel gue needs --tunnel-port, such as 6080")
	case typ != ipvs.TunnelGUE && t.port != 0:
		return fmt.Errorf("--tunnel-port has no meaning with --tunnel %v: only gue has a port", typ)
	case !slices.Contains(tunnelChecksums, t.checksum):
		return fmt.Errorf("--tunnel-checksum %s: not one of none, plain", t.checksum)
	case typ != ipvs.TunnelGRE && t.checksum != "":
		return fmt.Errorf("--tunnel-checksum has no meaning with --tunnel %v: only the end of a gre tunnel has to know of it", typ)
	}
	return nil
}

// virtuals are the virtual addresses with the tunnel by which their packets come.
func (t tunnelFlags) virtuals(vips []netip.Addr, local []netip.Prefix) ([]realserver.Virtual, error) {
	if t.tunnel == "" {
		return realserver.Direct(vips...), nil
	}
	typ, err := ipvs.ParseTunnelType(t.tunnel)
	if err != nil {
		return nil, usageError{fmt.Errorf("--tunnel %s: %w", t.tunnel, err)}
	}
	var virtuals []realserver.Virtual
	for _, vip := range vips {
		own, err := t.own(vip, vips, local)
		if err != nil {
			return nil, usageError{err}
		}
		virtuals = append(virtuals, realserver.Virtual{Addr: vip, Forward: ipvs.ForwardTunnel, Tunnel: realserver.Tunnel{
			Type: typ, Local: own, Port: t.port, Checksum: t.checksum == "plain",
		}})
	}
	return virtuals, nil
}

// own is the address at which the tunnel for a virtual address ends.
func (t tunnelFlags) own(vip netip.Addr, vips []netip.Addr, local []netip.Prefix) (netip.Addr, error) {
	if t.address != "" {
		a, err := netip.ParseAddr(t.address)
		if err != nil {
			return a, fmt.Errorf("--address %s is not an IP address", t.address)
		}
		return a, nil
	}
	var own []netip.Addr
	for _, p := range local {
		a := p.Addr()
		if a.Is4() == vip.Unmap().Is4() && realserver.CheckAddress(a) == nil && !slices.Contains(vips, a) && !slices.Contains(own, a) {
			own = append(own, a)
		}
	}
	if len(own) != 1 {
		return netip.Addr{}, fmt.Errorf("at which of this machine's addresses (%s) the tunnel for %v ends is not clear: choose with --address", joinAddrs(local), vip)
	}
	return own[0], nil
}
