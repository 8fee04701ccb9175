package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/healthcheck/probe"
	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/sdnotify"
	"github.com/hadirector/hadirector/internal/telemetry"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
	"github.com/hadirector/hadirector/vrrp/vrrpconn"
)

// The queues between the parts and the director loop. The parts keep what does not
// fit; a longer queue only means that they do so less often.
const (
	reportQueue = 64
	healthQueue = 256
)

// daemon is the wired program.
type daemon struct {
	o        runOptions
	level    *slog.LevelVar
	logger   *slog.Logger
	director *director.Director
	journal  *journal.Journal
	admin    *admin.Server
	metrics  *telemetry.Server // nil: not served
	links    *netif.Watcher
	addrs    *netif.Addresses
	announce *netif.Announcer
}

// wire puts the parts together. Nothing runs yet, and nothing in the kernel has
// changed when it fails.
func wire(o runOptions, cfg *conf.Config, self string, level *slog.LevelVar, logger *slog.Logger) (*daemon, error) {
	if err := o.makeDirs(logger); err != nil {
		return nil, err
	}
	d := &daemon{o: o, level: level, logger: logger, links: netif.NewWatcher(logger), addrs: netif.NewAddresses(logger), announce: netif.NewAnnouncer()}

	kernel := &lazyKernel{open: func() (director.Kernel, error) { return ipvsnl.Open(ipvsnl.Options{}) }}
	if len(cfg.VirtualServers) > 0 || cfg.Sync != nil {
		if _, err := kernel.get(); err != nil {
			return nil, err // a director that cannot balance says so at once
		}
	}
	reports := make(chan vrrp.Report, reportQueue)
	routers, err := router.NewSet(router.Options{
		Open: vrrpconn.NewHub(logger).Open, Addresser: d.addrs, Announcer: d.announce,
		Links: d.links, Reports: reports, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("set up vrrp: %w", err)
	}
	events := make(chan healthcheck.Event, healthQueue)
	monitor, err := healthcheck.NewMonitor(healthcheck.Options{NewChecker: probe.New, Events: events})
	if err != nil {
		return nil, fmt.Errorf("set up health checks: %w", err)
	}
	d.journal = journal.Open(journal.Options{Dir: o.state, Logger: logger})
	d.director, err = director.New(director.Options{
		Config: cfg, Self: self, Version: versionText(),
		Kernel: kernel, Ledger: director.FileLedger{Path: o.ledger()},
		VRRP: routers, Health: monitor, Reports: reports, HealthEvents: events,
		NewPeers: newMembership(logger), InterfaceOf: netif.InterfaceOf,
		Recorder: recorder{d.journal}, Logger: logger, Started: d.started,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Admin.Metrics.IsValid() {
		if d.metrics, err = telemetry.Listen(cfg.Admin.Metrics, d.director.Status); err != nil {
			return nil, err
		}
	}
	// The socket comes last: it is the one thing that would stay on the disk.
	d.admin, err = admin.Listen(admin.Options{
		Path: cmp.Or(o.socket, cfg.Admin.Socket), Status: d.director.Status, Events: d.journal, Reload: d.reload, Logger: logger,
	})
	return d, err
}

// run works until ctx ends.
func (d *daemon) run(ctx context.Context, hangups <-chan os.Signal) error {
	// The services outlive ctx: the director needs links and journal to stop cleanly.
	services, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	parts := []func(context.Context) error{d.links.Run, d.journal.Run, d.admin.Run}
	if d.metrics != nil {
		parts = append(parts, d.metrics.Run)
	}
	background := make(chan error, len(parts))
	for _, run := range parts {
		go func() { background <- run(services) }()
	}
	go d.hangups(ctx, hangups)
	context.AfterFunc(ctx, func() { d.notify(sdnotify.Stopping()) })

	d.logger.Info("starting", "version", versionText(), "file", d.o.config)
	err := d.director.Run(ctx)
	stop()
	for range cap(background) {
		err = errors.Join(err, <-background)
	}
	err = errors.Join(err, d.addrs.Close(), d.announce.Close())
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
			_ = d.reload(ctx) // its error has been logged and is in status
		}
	}
}

// reload reads the configuration again and puts it in force. On any mistake the old
// one stays.
func (d *daemon) reload(ctx context.Context) error {
	d.notify(sdnotify.Reloading())
	defer func() { d.notify(sdnotify.Ready()) }()
	cfg, err := conf.Load(d.o.config)
	if err != nil {
		err = logMistakes(d.logger, err)
	} else {
		for _, w := range cfg.Warnings {
			d.logger.Warn("questionable configuration", "err", w.Error())
		}
		err = d.director.Reload(ctx, cfg)
	}
	if err != nil {
		d.director.RejectReload(d.o.config, err)
		return err
	}
	d.level.Set(cfg.Log.Level)
	return nil
}

// started tells systemd.
func (d *daemon) started() { d.notify(sdnotify.Ready()) }

// notify logs that systemd could not be told; there is nothing else to do about it.
func (d *daemon) notify(err error) {
	if err != nil {
		d.logger.Warn("systemd not notified", "err", err)
	}
}
