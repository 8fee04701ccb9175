package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/ipvs"
)

// shareTimeout bounds how long a live change waits for the other directors. It takes some
// tenths of a second.
const shareTimeout = 3 * time.Second

// override makes a live change and waits until the kernel has it, or has refused it, and
// the other directors have it.
func (d *daemon) override(ctx context.Context, req director.OverrideRequest) (admin.Overridden, error) {
	done, err := d.director.Override(ctx, req)
	if err != nil {
		return admin.Overridden{}, err
	}
	settle, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	d.director.Settle(settle)
	share, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	reach := d.director.Reach(share)
	s := d.director.Status()
	out := admin.Overridden{
		Servers: []admin.OverriddenServer{}, Warnings: append([]string{}, done.Warnings...), Refused: s.IPVS.Errors,
		AppliedOn: reach.On, Missing: reach.Missing,
	}
	for _, v := range s.VirtualServers {
		for _, r := range v.RealServers {
			if slices.Contains(done.Servers, director.ServerID{VirtualServer: v.Name, RealServer: r.Name}) {
				out.Servers = append(out.Servers, admin.OverriddenServer{VirtualServer: v.Name, RealStatus: r})
			}
		}
	}
	return out, nil
}

// The help that drain, disable, weight and enable share.
const overrideHelp = `

VS is a virtual server and RS one of its real servers; VS alone is all of them, and
--everywhere RS is that one in all virtual servers that have it ("*/RS").

It is a change of all directors that share [sync] key_file, on whichever it is made; one
that is away gets it when it is back. It holds until "hadirector enable", or for the
time of --for; it survives a failover, a reload, a restart and a reboot. The health
check goes on: a real server that fails it leaves the table in any case. Status shows
who has made which change, where and why.`

// overrideCommand is a command that changes real servers.
type overrideCommand struct {
	req        director.OverrideRequest
	socket     string
	everywhere bool
	wait       bool
}

// run makes the change and prints what came of it.
func (o *overrideCommand) run(cmd *cobra.Command, target string) error {
	o.req.Target = target
	if o.everywhere {
		if strings.Contains(target, "/") {
			return usageError{fmt.Errorf("--everywhere takes a real server's name, not %q", target)}
		}
		o.req.Target = "*/" + target
	}
	client := admin.NewClient(o.socket)
	out, err := client.Override(cmd.Context(), o.req)
	if err != nil {
		return err
	}
	for _, w := range out.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	now, self := time.Now(), ""
	if len(out.AppliedOn) > 0 {
		self = out.AppliedOn[0]
	}
	for _, s := range out.Servers {
		text := fmt.Sprintf("as configured, weight %d", s.Weight)
		if s.Override != nil {
			text = overrideText(now, self, s.RealStatus)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s/%s: %s\n", s.VirtualServer, s.Name, text)
	}
	if len(out.AppliedOn) > 1 || len(out.Missing) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "applied on %s\n", and(out.AppliedOn))
	}
	for _, m := range out.Missing {
		fmt.Fprintln(cmd.ErrOrStderr(), m)
	}
	for _, e := range out.Refused {
		fmt.Fprintf(cmd.ErrOrStderr(), "the kernel refused: %s\n", e)
	}
	if len(out.Refused) > 0 {
		return errReported
	}
	if o.wait {
		return waitSafe(cmd.Context(), client, cmd.OutOrStdout(), out.Servers)
	}
	return nil
}

// and joins names as a sentence does.
func and(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// waitPause is between two looks at what is left.
const waitPause = time.Second

// waitSafe waits until all of the real servers are safe to stop. It fails when one of
// them is not drained any more, or if another director counts its connections.
func waitSafe(ctx context.Context, client *admin.Client, out io.Writer, servers []admin.OverriddenServer) error {
	waiting := make(map[director.ServerID]bool)
	for _, s := range servers {
		if s.Override == nil || !s.Override.SafeToStop {
			waiting[director.ServerID{VirtualServer: s.VirtualServer, RealServer: s.Name}] = true
		}
	}
	for tick := time.Tick(waitPause); len(waiting) > 0; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick:
		}
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		seen := make(map[director.ServerID]bool)
		for _, v := range s.VirtualServers {
			for _, r := range v.RealServers {
				id := director.ServerID{VirtualServer: v.Name, RealServer: r.Name}
				if !waiting[id] || r.Override == nil {
					continue
				}
				seen[id] = true
				if on := r.Override.CountedOn; slices.ContainsFunc(on, func(name string) bool { return name != s.Director }) {
					return fmt.Errorf("%s: its connections are counted where its addresses are, on %s: ask there", id, and(on))
				}
				if r.Override.SafeToStop {
					fmt.Fprintf(out, "%s: safe to stop\n", id)
					delete(waiting, id)
				}
			}
		}
		for id := range waiting {
			if !seen[id] {
				return fmt.Errorf("%s is not drained any more", id)
			}
		}
	}
	return nil
}

func (o *overrideCommand) flags(cmd *cobra.Command) {
	socketFlag(cmd, &o.socket)
	cmd.Flags().BoolVar(&o.everywhere, "everywhere", false, "the argument is a real server's name: in all virtual servers that have it")
}

// laterFlags are the flags of a change that ends again.
func (o *overrideCommand) laterFlags(cmd *cobra.Command) {
	o.flags(cmd)
	cmd.Flags().DurationVar(&o.req.For, "for", 0, "end it after `DURATION`, such as 90s or 2h")
	cmd.Flags().StringVar(&o.req.Reason, "reason", "", "say why, in `TEXT` for status and the journal")
}

// oneServer is the argument of a command that takes nothing else.
func oneServer(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes one VS/RS, such as web/web-1", cmd.CommandPath())}
	}
	return nil
}

// newDrain is "hadirector drain".
func newDrain() *cobra.Command {
	o := overrideCommand{req: director.OverrideRequest{Kind: director.OverrideDrain}}
	cmd := &cobra.Command{
		Use:   "drain VS/RS",
		Short: "no new connections for a real server; those it has go on",
		Long: `drain gives a real server weight 0: it gets no new connections, and those that it has
go on. With --wait it returns when none is left, and the real server is safe to stop.
Clients with persistence come back to it until their persistence ends.

A drained real server does not count to the quorum of its virtual server.` + overrideHelp,
		Args: oneServer,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.laterFlags(cmd)
	cmd.Flags().BoolVar(&o.wait, "wait", false, "return when no connection is left")
	return cmd
}

// newDisable is "hadirector disable".
func newDisable() *cobra.Command {
	o := overrideCommand{req: director.OverrideRequest{Kind: director.OverrideDisable}}
	cmd := &cobra.Command{
		Use:   "disable VS/RS",
		Short: "take a real server out of the table at once",
		Long: `disable takes a real server out of the kernel's table. The connections that it has are
cut off; drain lets them end first.` + overrideHelp,
		Args: oneServer,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.laterFlags(cmd)
	return cmd
}

// newEnable is "hadirector enable".
func newEnable() *cobra.Command {
	o := overrideCommand{req: director.OverrideRequest{Kind: director.OverrideNone}}
	cmd := &cobra.Command{
		Use:   "enable VS/RS",
		Short: "end drain, disable or weight: a real server is as configured again",
		Long: `enable ends what drain, disable or weight has changed: the real server is as the
configuration says again, and in the table if it passes its check. VS alone is all real
servers of a virtual server, and --everywhere RS is that one in all virtual servers that
have it ("*/RS").`,
		Args: oneServer,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.flags(cmd)
	return cmd
}

// newWeight is "hadirector weight".
func newWeight() *cobra.Command {
	o := overrideCommand{req: director.OverrideRequest{Kind: director.OverrideWeight}}
	cmd := &cobra.Command{
		Use:   "weight VS/RS N",
		Short: "another weight for a real server",
		Long: `weight gives a real server another weight than the configured one, 0 to 2147483647.
0 is what drain does.` + overrideHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("%s takes a VS/RS and a weight, such as web/web-1 5", cmd.CommandPath())}
			}
			n, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil || n > ipvs.MaxWeight {
				return usageError{fmt.Errorf("weight %q: want a number from 0 to %d", args[1], ipvs.MaxWeight)}
			}
			o.req.Weight = uint32(n)
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.laterFlags(cmd)
	return cmd
}
