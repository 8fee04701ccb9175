package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/doctor"
)

// doctorFlags are those of the doctor.
type doctorFlags struct {
	config, director string
	verbose, asJSON  bool
}

// newDoctor is "hadirector doctor".
func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [director|realserver]",
		Short: "what is wrong with this machine's set-up, and the command that mends it",
		Long: `doctor compares this machine with the configuration and names what is wrong, why
that matters, and the command that mends it. It changes nothing and sends nothing,
and needs no running daemon. Without an argument it looks at the machine as what the
file has it for: a director, a real server, or both.

What it may not look at without privileges it says; as root it sees everything. The
exit status is 0 if nothing is wrong, warnings aside, and 1 otherwise.`,
		ValidArgs: []string{string(doctor.Director), string(doctor.RealServer)},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("hadirector doctor takes one argument, not %d", len(args))}
			}
			if len(args) == 1 && args[0] != string(doctor.Director) && args[0] != string(doctor.RealServer) {
				return usageError{fmt.Errorf("hadirector doctor is for a director or a realserver, not %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(&f.director, "director", "", "look at this machine as the director `NAME` of the file")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "list what is fine too")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print everything as JSON")
	return cmd
}

func (f doctorFlags) run(cmd *cobra.Command, args []string) error {
	cfg, err := load(f.config, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	o := doctor.Options{Director: f.director, Version: versionText()}
	for _, arg := range args {
		o.Roles = append(o.Roles, doctor.Role(arg))
	}
	facts, roles, err := doctor.Gather(cmd.Context(), cfg, o)
	if err != nil {
		return err
	}
	report := doctor.Diagnose(cfg, facts, roles...)
	if f.asJSON {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.Write(cmd.OutOrStdout(), f.verbose)
	}
	if err != nil {
		return err
	}
	if report.Count(doctor.Wrong) > 0 {
		return errReported
	}
	return nil
}
