package main

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/ipvs"
)

// listFlags are those of list, stats and rate. The order of the fields of columns is
// ipvsadm's order of precedence.
type listFlags struct {
	serviceFlags
	stats, rate, thresholds, persistent, tunnel bool
	exact, sort, unsorted                       bool
}

// list is "hadirector ipvs list".
func (t ipvsTool) list() *cobra.Command {
	var f listFlags
	cmd := t.listing(&f, "list", "services and destinations with their connections, as ipvsadm -Ln")
	cmd.Flags().BoolVar(&f.stats, "stats", false, "counters instead, as the command stats")
	cmd.Flags().BoolVar(&f.rate, "rate", false, "rates instead, as the command rate")
	cmd.Flags().BoolVar(&f.thresholds, "thresholds", false, "upper and lower thresholds instead")
	cmd.Flags().BoolVar(&f.persistent, "persistent-conn", false, "weights and persistent connections instead")
	cmd.Flags().BoolVar(&f.tunnel, "tun-info", false, "the tunnels too")
	return cmd
}

// stats is "hadirector ipvs stats".
func (t ipvsTool) stats() *cobra.Command {
	return t.listing(&listFlags{stats: true}, "stats", "connections, packets and bytes counted, as ipvsadm -Ln --stats")
}

// rate is "hadirector ipvs rate".
func (t ipvsTool) rate() *cobra.Command {
	return t.listing(&listFlags{rate: true}, "rate", "connections, packets and bytes per second, as ipvsadm -Ln --rate")
}

// listing is one of the commands that print a listing.
func (t ipvsTool) listing(f *listFlags, name, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " [SERVICE]",
		Short: short,
		Long:  short + ".\n\n" + serviceUsage,
		RunE: func(cmd *cobra.Command, words []string) error {
			key, one, err := f.key(words)
			if err != nil {
				return err
			}
			columns, err := f.columns()
			if err != nil {
				return err
			}
			return t.with(func(k ipvsKernel) error { return f.print(cmd, k, columns, key, one) })
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&f.exact, "exact", "X", false, "great counters in full, not as K, M, G or T")
	cmd.Flags().BoolVar(&f.sort, "sort", false, "sorted by protocol, address and port; this is so anyway")
	cmd.Flags().BoolVar(&f.unsorted, "nosort", false, "in the kernel's order")
	cmd.Flags().BoolP("numeric", "n", true, "addresses and ports as numbers; this is so always")
	return cmd
}

// columns are what the flags choose.
func (f *listFlags) columns() (ipvs.Columns, error) {
	chosen := ipvs.ColumnsPlain
	for _, c := range []struct {
		set     bool
		columns ipvs.Columns
	}{
		{f.stats, ipvs.ColumnsStats}, {f.rate, ipvs.ColumnsRate}, {f.thresholds, ipvs.ColumnsThresholds},
		{f.persistent, ipvs.ColumnsPersistentConn}, {f.tunnel, ipvs.ColumnsTunnel},
	} {
		if c.set && chosen != ipvs.ColumnsPlain {
			return 0, usageError{errors.New("--stats, --rate, --thresholds, --persistent-conn and --tun-info are one or the other")}
		}
		if c.set {
			chosen = c.columns
		}
	}
	return chosen, nil
}

// print prints all services, or one. As with ipvsadm, one comes without the first line.
func (f *listFlags) print(cmd *cobra.Command, k ipvsKernel, columns ipvs.Columns, key ipvs.ServiceKey, one bool) error {
	var want func(ipvs.ServiceKey) bool
	if one {
		want = func(k ipvs.ServiceKey) bool { return k == key }
	}
	listing, err := k.Listing(cmd.Context(), want)
	if err != nil {
		return err
	}
	if one && len(listing) == 0 {
		return fmt.Errorf("the kernel has no service %s", key)
	}
	if !f.unsorted {
		listing.Sort()
	}
	head := ""
	if !one {
		info, err := k.Info(cmd.Context())
		if err != nil {
			return err
		}
		head = info.String() + "\n"
	}
	return buffered(cmd.OutOrStdout(), func(w *bufio.Writer) error {
		w.WriteString(head)
		return listing.Print(w, ipvs.ListFormat{Columns: columns, Exact: f.exact})
	})
}
