package main

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/clusterkey"
	"github.com/hadirector/hadirector/internal/netif"
)

// newCheck is "hadirector check".
func newCheck() *cobra.Command {
	var (
		path, name       string
		print, reference bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "validate the configuration",
		Long: `check reads the configuration and names every mistake, one per line, as
FILE:LINE:COL: path: message. Nothing is changed. The exit status is 0 if the
file is valid, 1 if not.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reference {
				fmt.Fprint(cmd.OutOrStdout(), conf.Reference())
				return nil
			}
			cfg, err := load(path, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if name != "" {
				if _, ok := cfg.Director(name); !ok {
					_, err := cfg.FindDirector(name, "", "", nil)
					return err
				}
			}
			if print {
				fmt.Fprint(cmd.OutOrStdout(), cfg.String())
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", path)
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&name, "director", "", "also require the director `NAME`")
	cmd.Flags().BoolVar(&print, "print", false, "print the effective configuration, defaults filled in")
	cmd.Flags().BoolVar(&reference, "reference", false, "print the reference configuration, which explains every key")
	return cmd
}

// load reads a configuration and says every mistake and every warning on w.
func load(path string, w io.Writer) (*conf.Config, error) {
	cfg, err := conf.Load(path)
	if err != nil {
		fmt.Fprintln(w, err)
		return nil, errReported
	}
	for _, warning := range cfg.Warnings {
		fmt.Fprintln(w, warning)
	}
	return cfg, nil
}

// warnings are what is questionable about a configuration, in itself and on this host.
func warnings(cfg *conf.Config, self string) []string {
	list := []string{}
	for _, w := range cfg.Warnings {
		list = append(list, w.Error())
	}
	return append(list, hostWarnings(cfg, self)...)
}

// hostWarnings are what a configuration asks of the director self and this host does not have.
// None keeps the daemon from running: interfaces come and go, and a key can be copied later.
func hostWarnings(cfg *conf.Config, self string) []string {
	var list []string
	warn := func(path string, err error) {
		list = append(list, conf.Error{File: cfg.File, Path: path, Text: err.Error(), Warning: true}.Error())
	}
	if cfg.Sync != nil && cfg.Sync.KeyFile != "" {
		if _, err := clusterkey.Load(cfg.Sync.KeyFile); err != nil {
			warn("sync.key_file", err)
		}
	}
	if interfaces, err := netif.AddressesByInterface(); err == nil {
		if err := syncInterface(cfg, self, interfaces); err != nil {
			warn("sync.interface", err)
		}
	}
	for _, vr := range cfg.VirtualRouters {
		if _, err := net.InterfaceByName(vr.Interface); err != nil {
			warn("vrrp."+vr.Name+".interface", fmt.Errorf("there is no interface %s on this machine now", vr.Interface))
		}
	}
	return list
}

// syncInterface says so if the interface that should hold a director's first address for
// connection sync does not. Without a relay the kernel's daemons need no address there.
func syncInterface(cfg *conf.Config, self string, interfaces map[string][]netip.Prefix) error {
	me, ok := cfg.Director(self)
	if !ok || cfg.Sync == nil || cfg.Sync.Mode != conf.SyncRelay || cfg.Sync.Interface == "" {
		return nil
	}
	first, wanted := me.SyncLinks()[0], cfg.Sync.Interface
	holds := func(name string) bool {
		return slices.ContainsFunc(interfaces[name], func(p netip.Prefix) bool { return p.Addr() == first })
	}
	if holds(wanted) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(interfaces)) {
		if holds(name) {
			return fmt.Errorf("%s of director %s is on %s, not on %s", first, self, name, wanted)
		}
	}
	return fmt.Errorf("%s of director %s is not on %s now, nor on any other interface", first, self, wanted)
}
