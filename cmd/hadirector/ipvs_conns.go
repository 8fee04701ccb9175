package main

import (
	"bufio"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/ipvs"
)

// conns is "hadirector ipvs conns".
func (t ipvsTool) conns() *cobra.Command {
	var engines bool
	cmd := &cobra.Command{
		Use:   "conns",
		Short: "the connection table, as ipvsadm -Lnc",
		Long: `conns prints the kernel's connection table as it is read, so that a great one
takes time and no memory.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Opening loads ip_vs where it is not loaded yet.
			return t.with(func(ipvsKernel) error {
				return buffered(cmd.OutOrStdout(), func(w *bufio.Writer) error { return t.printConns(w, engines) })
			})
		},
	}
	cmd.Flags().BoolVar(&engines, "persistent-conn", false, "with the persistence engines' data")
	cmd.Flags().BoolP("numeric", "n", true, "addresses and ports as numbers; this is so always")
	return cmd
}

func (t ipvsTool) printConns(w *bufio.Writer, engines bool) error {
	titles := ipvs.ConnectionTitles(engines)
	for c, err := range t.connections() {
		if err != nil {
			return err
		}
		w.WriteString(titles)
		titles = ""
		if _, err := w.WriteString(c.Listed(engines)); err != nil {
			return err
		}
	}
	_, err := w.WriteString(titles)
	return err
}
