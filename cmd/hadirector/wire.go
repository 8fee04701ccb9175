package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/healthcheck/probe"
	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/nft"
	"github.com/hadirector/hadirector/internal/sdnotify"
	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/internal/telemetry"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/vrrp"
)

// The queues between the parts and the director loop. The parts keep what does not
// fit; a longer queue only means that they do so less often.
const (
	reportQueue = 64
	healthQueue = 256
	trackQueue  = 16
)

// daemon is the wired program.
type daemon struct {
	o        runOptions
	self     string // which director this is
	level    *slog.LevelVar
	logger   *slog.Logger
	kernel   *lazyKernel
	director *director.Director
	journal  *journal.Journal
	routers  *addressLedger
	vrrp     *vrrpKernel                            // only for what a process that is gone has left
	parts    map[string]func(context.Context) error // what runs beside the director

	reloading sync.Mutex  // one reload after the other: the file that was read last is in force
	started   atomic.Bool // systemd has been told
}

// wire puts the parts together. Nothing runs yet, and nothing in the kernel has
// changed when it fails.
func wire(ctx context.Context, o runOptions, cfg *conf.Config, self string, vrrpLock *os.File, level *slog.LevelVar, logger *slog.Logger) (*daemon, error) {
	d := &daemon{
		o: o, self: self, level: level, logger: logger,
		kernel:  &lazyKernel{open: func() (kernel, error) { return ipvsnl.Open(ipvsnl.Options{}) }},
		journal: journal.Open(journal.Options{Dir: o.state, Logger: logger}),
		vrrp:    newVRRPKernel(logger),
	}
	if err := d.kernel.need(ctx, cfg); err != nil {
		return nil, err // a director that cannot balance says so at once
	}
	reports := make(chan vrrp.Report, reportQueue)
	process := d.superviseVRRP(cfg, vrrpLock, reports)
	events := make(chan healthcheck.Event, healthQueue)
	prober := new(probe.Prober)
	monitor, err := healthcheck.NewMonitor(healthcheck.Options{NewChecker: prober.New, Events: events})
	if err != nil {
		return nil, fmt.Errorf("set up health checks: %w", err)
	}
	trackEvents := make(chan healthcheck.Event, trackQueue)
	tracks, err := healthcheck.NewMonitor(healthcheck.Options{NewChecker: prober.New, Events: trackEvents})
	if err != nil {
		return nil, fmt.Errorf("set up tracks: %w", err)
	}
	links := netif.NewWatcher(logger)
	params, err := sysctl.NewKeeper(o.parameters())
	if err != nil {
		logger.Warn("kernel parameters that an earlier run has changed are not put back", "err", err)
	}
	d.director, err = director.New(director.Options{
		Config: cfg, Self: self, Version: versionText(),
		Kernel: d.kernel, Marker: nft.NewMarks(), Translator: nft.NewFullNAT(), Params: keptParameters{params}, PrivateLink: newPrivateLink(), Ledger: director.FileLedger{Path: o.ledger()},
		Overrides: director.FileOverrides{Path: o.overrides()}, Statuses: director.FileStatuses{Path: o.statuses()},
		VRRP: d.routers, Health: monitor, ProbePaths: prober, Reports: reports, HealthEvents: events, Process: process,
		Tracks: tracks, TrackEvents: trackEvents, Links: trackLinks{links},
		NewPeers: newMembership(logger), NewRelay: newConnRelay(logger), KeyIDs: keyIDs, InterfaceOf: netif.InterfaceOf, Interfaces: netif.AddressesByInterface, Prober: netif.Prober{},
		RunHook:  runHook,
		Recorder: recorder{d.journal}, Journalled: journalled(d.journal), Logger: logger, Started: d.ready,
	})
	if err != nil {
		return nil, err
	}
	d.parts = map[string]func(context.Context) error{"journal": d.journal.Run, "link watcher": links.Run}
	if cfg.Admin.Metrics.IsValid() {
		d.parts["metrics"] = telemetry.New(cfg.Admin.Metrics, d.director.Status, d.director.InSync, logger).Run
	}
	// The socket comes last: it is the one thing that would stay on the disk.
	socket, err := admin.Listen(admin.Options{
		Path: cmp.Or(o.socket, cfg.Admin.Socket), Status: d.director.Status, Events: d.journal, Reload: d.reload, Plan: d.plan,
		Switchover: d.director.Switchover, Override: d.override, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	d.parts["admin socket"] = socket.Run
	return d, nil
}

// run works until ctx ends.
func (d *daemon) run(ctx context.Context, hangups <-chan os.Signal) error {
	// The parts outlive ctx: the director needs the journal to stop cleanly.
	services, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	for name, run := range d.parts {
		running.Go(func() {
			if err := run(services); err != nil {
				d.logger.Error("part of the daemon ended", "part", name, "err", err)
			}
		})
	}
	go d.hangups(ctx, hangups)
	context.AfterFunc(ctx, func() { d.notify(sdnotify.Stopping()) })

	d.logger.Info("starting", "version", versionText(), "file", d.o.config)
	d.routers.inherit()
	err := d.director.Run(ctx)
	stop()
	running.Wait()
	// The virtual routers' process has ended, whichever way.
	err = errors.Join(err, cleanDevices(d.o.devices(), nil, d.logger), d.vrrp.close())
	if err == nil {
		d.logger.Info("stopped")
	}
	return err
}

// hangups reloads for each SIGHUP.
func (d *daemon) hangups(ctx context.Context, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			_, _ = d.reload(ctx) // its error has been logged and is in status
		}
	}
}

// settleTimeout bounds how long a reload waits for the kernel.
const settleTimeout = 5 * time.Second

// reload reads the configuration again and puts it in force. On any mistake the old
// one stays.
func (d *daemon) reload(ctx context.Context) (admin.Reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.started.Load() { // before that, systemd is waiting for the start
		d.notify(sdnotify.Reloading())
		defer func() {
			if ctx.Err() == nil {
				d.notify(sdnotify.Ready())
			}
		}()
	}
	out, err := d.load(ctx)
	if err != nil && ctx.Err() == nil {
		d.director.RejectReload(d.o.config, err)
	}
	return out, err
}

func (d *daemon) load(ctx context.Context) (admin.Reloaded, error) {
	cfg, err := conf.Load(d.o.config)
	if err != nil {
		return admin.Reloaded{}, err
	}
	if err := d.kernel.need(ctx, cfg); err != nil {
		return admin.Reloaded{}, err
	}
	reloaded, err := d.director.Reload(ctx, cfg)
	if err != nil {
		return admin.Reloaded{}, err
	}
	d.level.Set(cfg.Log.Level)
	out := admin.Reloaded{File: cfg.File, Changed: reloaded.Changed, Warnings: warnings(cfg, d.self)}
	for _, w := range out.Warnings {
		d.logger.Warn("questionable configuration", "err", w)
	}
	settle, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	d.director.Settle(settle)
	out.Steps = d.director.Steps(reloaded)
	s := d.director.Status()
	out.Hash, out.Refused = s.Config.Hash, s.IPVS.Errors
	if s.Sync != nil {
		out.Refused = append(out.Refused, s.Sync.Errors...)
	}
	for _, p := range s.Parameters {
		if p.Error != "" {
			out.Refused = append(out.Refused, p.Error)
		}
	}
	return out, nil
}

// ready tells systemd that the daemon has started.
func (d *daemon) ready() {
	d.started.Store(true)
	d.notify(sdnotify.Ready())
}

// notify logs that systemd could not be told; there is nothing else to do about it.
func (d *daemon) notify(err error) {
	if err != nil {
		d.logger.Warn("systemd not notified", "err", err)
	}
}
