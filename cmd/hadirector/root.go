package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/conf"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitChanges is that of a plan that is not empty.
	exitChanges = 2
)

// The places that the daemon and its commands share.
const (
	defaultConfig  = "/etc/hadirector/hadirector.toml"
	defaultRuntime = "/run/hadirector"
	defaultState   = "/var/lib/hadirector"
)

// errReported ends a command that has already said on standard error what is wrong.
var errReported = errors.New("reported")

// usageError is a mistake in the command line itself.
type usageError struct{ error }

// execute runs one command line and returns its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	out := &checkedWriter{w: stdout}
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if err == nil && out.err != nil {
		err = fmt.Errorf("write the output: %w", out.err)
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "hadirector: %v\nSee '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(stderr, "hadirector: %v\n", err)
	return exitFailed
}

// checkedWriter remembers that something could not be written: a key that a full disk
// has cut short must not count as made.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err != nil {
		c.err = err
	}
	return n, err
}

// newRoot is the tree of commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "hadirector",
		Short: "a highly available IPVS director",
		Long: `hadirector makes two or a few Linux directors into one dependable load balancer.
It moves virtual addresses between them by VRRP, checks real servers, keeps the
kernel's IPVS table in step with both, and shares connection state.`,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newRun(), newCheck(), newPlan(), newReload(), newSwitchover(), newDrain(), newEnable(), newDisable(), newWeight(),
		newStatus(), newConns(), newEvents(), newDoctor(), newRealServer(), newIPVS(), newKeygen(), newVersion(), newVRRPProcess(),
	)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" { // cobra's would take an unknown shell for a question
			cmd.Args, cmd.RunE = noArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

// noArgs refuses words that a command does not take, with a word of help where one
// of its commands was meant.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return usageError{fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[0])}
	}
	text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf(" (did you mean %q?)", near[0])
	}
	return usageError{errors.New(text)}
}

// atMostOneArg refuses more than one word.
func atMostOneArg(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%s takes one argument, not %d", cmd.CommandPath(), len(args))}
	}
	return nil
}

// configFlag adds -c to a command.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", defaultConfig, "configuration `FILE`")
}

// socketFlag adds --socket to a command that talks to the daemon.
func socketFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "socket", conf.DefaultSocket, "the daemon's admin `SOCKET`")
}

// newVersion is "hadirector version".
func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "hadirector", versionText())
			return nil
		},
	}
}
