package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/syncd"
)

// ipvsKernel is what the ipvs commands need of [ipvsnl.Client].
type ipvsKernel interface {
	Info(context.Context) (ipvs.Info, error)
	Listing(ctx context.Context, want func(ipvs.ServiceKey) bool) (ipvs.Listing, error)
	Table(context.Context) (ipvs.Table, ipvs.Observed, error)
	Apply(context.Context, ipvs.Op) error
	Zero(context.Context) error
	ZeroService(context.Context, ipvs.ServiceKey) error
	Flush(context.Context) error
	Timeouts(context.Context) (ipvs.Timeouts, error)
	SetTimeouts(context.Context, ipvs.Timeouts) error
	Daemons(context.Context) ([]syncd.Daemon, error)
	Close() error
}

// ipvsTool makes the ipvs commands. They talk to the kernel themselves: no daemon needs
// to run, and one that does is not disturbed.
type ipvsTool struct {
	open        func() (ipvsKernel, error)
	connections func() iter.Seq2[ipvs.Connection, error]
	// owned are the services of the daemon behind the admin socket; none without one.
	owned func(ctx context.Context, socket string) (map[ipvs.ServiceKey]bool, error)
}

// newIPVS is "hadirector ipvs".
func newIPVS() *cobra.Command {
	return ipvsTool{
		open:        func() (ipvsKernel, error) { return ipvsnl.Open(ipvsnl.Options{}) },
		connections: ipvsnl.Connections,
		owned:       ownedServices,
	}.command()
}

func (t ipvsTool) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ipvs",
		Short: "the kernel's IPVS table, with ipvsadm's output and rule syntax",
		Long: `ipvs shows and changes the kernel's IPVS table on any machine, with or without
a daemon. What it prints is what ipvsadm prints for the same table, numerically
(-n), and rules are in ipvsadm's syntax. Changing services and real servers one by
one is the configuration's business.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		t.list(), t.stats(), t.rate(), t.conns(), t.timeout(), t.daemon(),
		t.save(), t.restore(), t.clear(), t.zero(),
	)
	return cmd
}

// with calls f with the kernel's IPVS.
func (t ipvsTool) with(f func(ipvsKernel) error) error {
	k, err := t.open()
	if err != nil {
		return err
	}
	defer k.Close()
	err = f(k)
	if errors.Is(err, unix.EPERM) {
		return errors.New("the kernel shows and changes its IPVS table only with CAP_NET_ADMIN: run this as root")
	}
	return err
}

// buffered calls f with a buffer in front of w.
func buffered(w io.Writer, f func(*bufio.Writer) error) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if err := f(b); err != nil {
		return errors.Join(b.Flush(), err)
	}
	return b.Flush()
}

// serviceFlags choose one service: by words, as logs name it, or by ipvsadm's options.
type serviceFlags struct {
	tcp, udp, sctp, mark string
	ipv6                 bool
}

// serviceUsage says how a service is named.
const serviceUsage = `A SERVICE is named as in the log, "tcp 10.0.0.100:80", "udp [fd00::100]:53",
"fwmark 10", "fwmark 10 ipv6", or by ipvsadm's options: -t 10.0.0.100:80.`

func (f *serviceFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.tcp, "tcp-service", "t", "", "the TCP service at `ADDRESS:PORT`")
	cmd.Flags().StringVarP(&f.udp, "udp-service", "u", "", "the UDP service at `ADDRESS:PORT`")
	cmd.Flags().StringVar(&f.sctp, "sctp-service", "", "the SCTP service at `ADDRESS:PORT`")
	cmd.Flags().StringVarP(&f.mark, "fwmark-service", "f", "", "the service of the firewall mark `N`")
	cmd.Flags().BoolVarP(&f.ipv6, "ipv6", "6", false, "with -f: the IPv6 one")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

// key is the service that was named, if one was.
func (f serviceFlags) key(words []string) (key ipvs.ServiceKey, named bool, err error) {
	var options []string
	for _, o := range []struct{ name, value string }{{"tcp", f.tcp}, {"udp", f.udp}, {"sctp", f.sctp}, {"fwmark", f.mark}} {
		if o.value != "" {
			options = append(options, o.name, o.value)
		}
	}
	if f.ipv6 {
		options = append(options, "ipv6")
	}
	switch {
	case len(options) == 0 && len(words) == 0:
		return key, false, nil
	case len(options) > 0 && len(words) > 0:
		return key, false, usageError{fmt.Errorf("one service, please: %q is one beside that of the options", words[0])}
	}
	key, err = ipvs.ParseServiceKey(strings.Join(append(options, words...), " "))
	if err != nil {
		return key, false, usageError{err}
	}
	return key, true, nil
}
