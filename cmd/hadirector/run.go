package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/netif"
)

// runOptions are the flags of "hadirector run".
type runOptions struct {
	config   string
	director string
	runtime  string // directory of the ledger: ends with the boot
	state    string // directory of the journal: survives it
	socket   string // instead of the configuration's; empty: that one
}

// newRun is "hadirector run".
func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "the daemon, in the foreground",
		Long: `run is the daemon. It stays in the foreground, logs to standard error and tells
systemd when it is ready. SIGHUP loads the configuration again; SIGTERM and
SIGINT hand mastership over and leave a clean machine.

Which director of the file this machine is, is told by --director, else by
HADIRECTOR_NAME, else by the host name, else by the address that is local.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			// After the first signal the second one has its default meaning: an
			// operator who cannot wait for the clean stop can end it.
			// Some supervisors send the first one twice, to the process and to its group.
			context.AfterFunc(ctx, func() { time.AfterFunc(doubleSignal, stop) })
			return runDaemon(ctx, o, cmd.ErrOrStderr())
		},
	}
	configFlag(cmd, &o.config)
	cmd.Flags().StringVar(&o.director, "director", "", "run as the director `NAME` of the file")
	cmd.Flags().StringVar(&o.runtime, "runtime-dir", defaultRuntime, "`DIR` for what ends with the boot")
	cmd.Flags().StringVar(&o.state, "state-dir", defaultState, "`DIR` for what survives a reboot")
	cmd.Flags().StringVar(&o.socket, "socket", "", "admin `SOCKET`, instead of [admin] socket")
	return cmd
}

// doubleSignal is how soon after the first signal another one counts as the same.
const doubleSignal = 500 * time.Millisecond

// runDaemon reads the configuration, wires the daemon and runs it until ctx ends.
func runDaemon(ctx context.Context, o runOptions, stderr io.Writer) error {
	// A log reader that goes away must not take the daemon with it, and leave the
	// addresses behind. (Caught and not ignored: what is ignored would stay so in the
	// scripts that tracks run.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	hangups := make(chan os.Signal, 1) // first of all: an early SIGHUP must not end the process
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	cfg, err := load(o.config, stderr)
	if err != nil {
		return err
	}
	local, err := localAddresses()
	if err != nil {
		return err
	}
	self, err := identify(cfg, o.director, local)
	if err != nil {
		return err
	}
	if err := requirePrivileges(); err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(cfg.Log.Level)
	logger := newLogger(stderr, cfg.Log.Format, level)
	if me, ok := cfg.Director(self); ok && !slices.Contains(local, me.Address) {
		logger.Warn("this director's address is on no interface", "director", self, "address", me.Address)
	}
	for _, w := range hostWarnings(cfg, self) {
		logger.Warn("questionable configuration", "err", w)
	}
	if err := raisePriority(); err != nil {
		logger.Warn("running at normal priority: on a busy machine the peer may take over without need", "err", err)
	}
	if err := o.makeDirs(logger); err != nil {
		return err
	}
	unlock, err := o.lock()
	if err != nil {
		return err
	}
	defer unlock()
	vrrpLock, err := o.openVRRPLock()
	if err != nil {
		return err
	}
	defer vrrpLock.Close()
	d, err := wire(ctx, o, cfg, self, vrrpLock, level, logger)
	if err != nil {
		return err
	}
	if err := takeVRRPLock(vrrpLock, logger); err != nil {
		return err
	}
	return d.run(ctx, hangups)
}

// identify finds out which director of the file this machine is.
func identify(cfg *conf.Config, flag string, local []netip.Addr) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	name, err := cfg.FindDirector(flag, os.Getenv(conf.DirectorVariable), host, local)
	if err == nil && name == "" {
		name = host // a plain load balancer's file names no directors
	}
	return name, err
}

func localAddresses() ([]netip.Addr, error) {
	prefixes, err := netif.LocalAddresses()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	local := make([]netip.Addr, len(prefixes))
	for i, p := range prefixes {
		local[i] = p.Addr()
	}
	return local, nil
}

// makeDirs makes the daemon's directories. One that cannot be made is an error only
// for what cannot do without it.
func (o runOptions) makeDirs(logger *slog.Logger) error {
	if err := os.MkdirAll(o.runtime, 0o755); err != nil {
		return fmt.Errorf("make the runtime directory: %w", err)
	}
	if err := os.MkdirAll(o.state, 0o750); err != nil {
		logger.Warn("no state directory, events and overrides are kept in memory only", "err", err)
	}
	return nil
}

// ledger is the file of what is the daemon's own in the kernel.
func (o runOptions) ledger() string { return filepath.Join(o.runtime, "owned.json") }

// parameters is the file of what kernel parameters were before they were changed.
func (o runOptions) parameters() string { return filepath.Join(o.runtime, "parameters.json") }

// overrides is the file of what operators want instead of the configuration.
func (o runOptions) overrides() string { return filepath.Join(o.state, "overrides.json") }

// statuses is the file of the real servers that are down.
func (o runOptions) statuses() string { return filepath.Join(o.state, "health.json") }

// devices is the file of the links that virtual routers have of their own.
func (o runOptions) devices() string { return filepath.Join(o.runtime, "devices.json") }

// addresses is the file of what the virtual routers may have put into the kernel.
func (o runOptions) addresses() string { return filepath.Join(o.runtime, "vrrp.json") }
