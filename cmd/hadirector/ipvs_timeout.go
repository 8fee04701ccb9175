package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/ipvs"
)

// maxTimeout is ipvsadm's greatest timeout, 31 days, in seconds.
const maxTimeout = 31 * 24 * 60 * 60

// timeout is "hadirector ipvs timeout".
func (t ipvsTool) timeout() *cobra.Command {
	var set bool
	cmd := &cobra.Command{
		Use:   "timeout [--set TCP TCPFIN UDP]",
		Short: "how long idle connections stay, as ipvsadm -Ln --timeout",
		Long: `timeout prints after how many seconds the kernel forgets an idle TCP connection,
one that a FIN has ended, and a UDP connection. With --set it changes them; 0 leaves
one as it is.`,
		RunE: func(cmd *cobra.Command, words []string) error {
			if !set {
				if err := noArgs(cmd, words); err != nil {
					return err
				}
				return t.with(func(k ipvsKernel) error {
					timeouts, err := k.Timeouts(cmd.Context())
					if err != nil {
						return err
					}
					_, err = fmt.Fprintln(cmd.OutOrStdout(), timeouts)
					return err
				})
			}
			timeouts, err := parseTimeouts(words)
			if err != nil {
				return usageError{err}
			}
			return t.with(func(k ipvsKernel) error { return k.SetTimeouts(cmd.Context(), timeouts) })
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&set, "set", false, "set the three timeouts, in seconds")
	return cmd
}

// parseTimeouts reads three numbers of seconds.
func parseTimeouts(words []string) (ipvs.Timeouts, error) {
	var t ipvs.Timeouts
	if len(words) != 3 {
		return t, errors.New("--set needs three numbers of seconds: TCP TCPFIN UDP")
	}
	for i, d := range []*time.Duration{&t.TCP, &t.TCPFin, &t.UDP} {
		n, err := strconv.ParseUint(words[i], 10, 32)
		if err != nil || n > maxTimeout {
			return t, fmt.Errorf("--set: %q is not a number of seconds from 0 to %d", words[i], maxTimeout)
		}
		*d = time.Duration(n) * time.Second
	}
	return t, nil
}
