package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/vrrp"
)

// errChanges ends a plan that is not empty.
var errChanges = errors.New("there are changes")

// planOptions are the flags of "hadirector plan".
type planOptions struct {
	runOptions
	given  bool // the configuration was named, so it need not be the daemon's own
	asJSON bool
}

// newPlan is "hadirector plan".
func newPlan() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "what a reload would change, as ip and ipvsadm lines",
		Long: `plan prints what "hadirector reload" would do, in its order, and changes nothing. A
line is a command as an operator would type it, or a comment: about what no command
does, or about what is done later, when something else has happened.

With a daemon running it compares the file with the configuration in force and with the
kernel's table; without -c the file is the daemon's own. Without a daemon it is what a
start of the daemon would do to the kernel as it is.

The exit status is 0 if nothing would change, 2 if something would, and 1 if the file
has a mistake, would be refused, or would fail in part.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.given = cmd.Flags().Changed("config")
			p, err := o.plan(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return o.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), p)
		},
	}
	configFlag(cmd, &o.config)
	socketFlag(cmd, &o.socket)
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print everything as JSON")
	cmd.Flags().StringVar(&o.director, "director", "", "without a daemon: as the director `NAME` of the file")
	cmd.Flags().StringVar(&o.runtime, "runtime-dir", defaultRuntime, "without a daemon: its `DIR` for what ends with the boot")
	cmd.Flags().StringVar(&o.state, "state-dir", defaultState, "without a daemon: its `DIR` for what survives a reboot")
	return cmd
}

// plan asks the daemon, or works out itself what a start would do.
func (o planOptions) plan(ctx context.Context, stderr io.Writer) (director.Plan, error) {
	client := admin.NewClient(o.socket)
	p, err := o.ask(ctx, client, stderr)
	if !errors.Is(err, admin.ErrNotRunning) {
		return p, err
	}
	p, why := o.planStart(ctx, stderr)
	if why != nil && !errors.Is(why, errReported) {
		return director.Plan{}, fmt.Errorf("%w; and what a start would do cannot be told: %w", err, why)
	}
	return p, why
}

// ask has the daemon make the plan.
func (o planOptions) ask(ctx context.Context, client *admin.Client, stderr io.Writer) (director.Plan, error) {
	var p admin.Planned
	var err error
	if o.given {
		var text []byte
		if text, err = conf.Read(o.config); err != nil {
			fmt.Fprintln(stderr, err)
			return director.Plan{}, errReported
		}
		p, err = client.PlanOf(ctx, o.config, text)
	} else {
		p, err = client.Plan(ctx)
	}
	if err != nil {
		return director.Plan{}, err
	}
	for _, m := range slices.Concat(p.Mistakes, p.Warnings) {
		fmt.Fprintln(stderr, m)
	}
	if len(p.Mistakes) > 0 {
		return director.Plan{}, errReported
	}
	return p.Plan, nil
}

// planStart works out what a start of the daemon would do.
func (o planOptions) planStart(ctx context.Context, stderr io.Writer) (director.Plan, error) {
	cfg, err := load(o.config, stderr)
	if err != nil {
		return director.Plan{}, err
	}
	if err := o.requireStopped(); err != nil {
		return director.Plan{}, err
	}
	local, err := localAddresses()
	if err != nil {
		return director.Plan{}, err
	}
	self, err := identify(cfg, o.director, local)
	if err != nil {
		return director.Plan{}, err
	}
	left, err := leftSteps(o.addresses(), director.Instances(cfg, self, false), local)
	if err != nil {
		return director.Plan{}, err
	}
	params, err := sysctl.NewKeeper(o.parameters())
	if err != nil {
		return director.Plan{}, err
	}
	k := &lazyKernel{open: func() (kernel, error) { return ipvsnl.Open(ipvsnl.Options{}) }}
	defer k.close()
	err = k.need(ctx, cfg)
	var p director.Plan
	if err == nil {
		p, err = director.PlanStart(ctx, director.Options{
			Config: cfg, Self: self, Kernel: k, Params: keptParameters{params}, InterfaceOf: netif.InterfaceOf, Interfaces: netif.AddressesByInterface,
			Ledger: director.FileLedger{Path: o.ledger()}, Overrides: director.FileOverrides{Path: o.overrides()},
			Statuses: director.FileStatuses{Path: o.statuses()},
		}, left)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, os.ErrPermission) {
		return director.Plan{}, fmt.Errorf("the kernel's table is shown only to root: %w", err)
	}
	if err != nil {
		return director.Plan{}, err
	}
	for _, w := range hostWarnings(cfg, self) {
		fmt.Fprintln(stderr, w)
	}
	return p, nil
}

// leftSteps are what a start does about the addresses that a killed run has left, of those
// that are there: see inheritance.
func leftSteps(path string, instances map[string]vrrp.Instance, local []netip.Addr) ([]director.Step, error) {
	left, err := leftovers(path)
	if err != nil {
		return nil, err
	}
	var steps []director.Step
	for _, in := range left {
		for _, a := range in.Held() {
			stays := false
			for _, now := range instances {
				stays = stays || now.Link() == in.Link() && slices.Contains(now.Held(), a)
			}
			switch {
			case !slices.Contains(local, a.Addr()):
			case stays:
				steps = append(steps, director.Step{Comment: fmt.Sprintf("vrrp %s: %v is there from an earlier run, and stays until another director is heard as Master", in.Name, a)})
			default:
				steps = append(steps, director.Step{Command: fmt.Sprintf("ip addr del %v dev %s", a, in.Link()), Comment: "vrrp " + in.Name + ", of an earlier run"})
			}
		}
	}
	return steps, nil
}

// requireStopped fails if a daemon holds the runtime directory though none answers on the
// socket: what its start would do is not the question then.
func (o planOptions) requireStopped() error {
	f, err := os.Open(filepath.Join(o.runtime, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether a daemon runs: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("a hadirector is running with %s, and does not answer on %s: --socket names its admin socket", o.runtime, o.socket)
	}
	return err
}

// print prints a plan and returns what the exit status has to say.
func (o planOptions) print(out, stderr io.Writer, p director.Plan) error {
	var b strings.Builder
	if o.asJSON {
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(p); err != nil {
			return err
		}
	} else {
		o.write(&b, p)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	for _, e := range p.Refused {
		fmt.Fprintf(stderr, "this would fail: %s\n", e)
	}
	switch {
	case len(p.Refused) > 0:
		return errReported
	case !p.Empty():
		return errChanges
	}
	return nil
}

// write writes a plan for a person, or a shell.
func (o planOptions) write(b *strings.Builder, p director.Plan) {
	what := "a reload of " + p.File
	if !p.Running {
		fmt.Fprintf(b, "# no hadirector is running: nothing answers on %s\n", o.socket)
		what = "a start with " + p.File
	}
	if p.Empty() {
		fmt.Fprintf(b, "# %s would change nothing\n", what)
		return
	}
	fmt.Fprintf(b, "# %s would do this:\n", what)
	writeChanged(b, p.Changed, "# ")
	for _, s := range p.Steps {
		fmt.Fprintln(b, s)
	}
}

// writeChanged names the keys that differ.
func writeChanged(w io.Writer, keys []string, prefix string) {
	for _, key := range keys {
		fmt.Fprintf(w, "%schanged %s\n", prefix, key)
	}
	if len(keys) == conf.MaxDiffKeys {
		fmt.Fprintf(w, "%sand perhaps more\n", prefix)
	}
}

// plan says what a reload would do, with the daemon's own file or with a given text.
func (d *daemon) plan(ctx context.Context, name string, text []byte) (admin.Planned, error) {
	var cfg *conf.Config
	var err error
	if text == nil {
		cfg, err = conf.Load(d.o.config)
	} else {
		cfg, err = conf.Parse(text, name)
	}
	if err != nil {
		return admin.Planned{Mistakes: strings.Split(err.Error(), "\n")}, nil
	}
	if err := d.kernel.need(ctx, cfg); err != nil {
		return admin.Planned{}, err
	}
	p, err := d.director.Plan(ctx, cfg)
	if err != nil {
		return admin.Planned{}, err
	}
	p.Warnings = warnings(cfg, d.self)
	return admin.Planned{Mistakes: []string{}, Plan: p}, nil
}
