package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/conf"
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
daemon would run with the file, 1 if not.`,
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
