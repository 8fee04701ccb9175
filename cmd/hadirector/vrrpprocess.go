package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/nft"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
	"github.com/hadirector/hadirector/vrrp/routerproc"
	"github.com/hadirector/hadirector/vrrp/vrrpconn"
)

// vrrpCommand is the command that the daemon starts itself with for its virtual routers.
const vrrpCommand = "vrrp-process"

// devicesFlag tells it where to note the virtual routers' own links.
const devicesFlag = "devices"

// How the process shows itself in ps and top, while it waits and while it runs virtual
// routers: at most 15 characters.
const (
	spareName  = "hadirector-idle"
	activeName = "hadirector-vrrp"
)

// showAs gives the process a name. It is only a name.
func showAs(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

// newVRRPProcess is "hadirector vrrp-process", which nobody types.
func newVRRPProcess() *cobra.Command {
	var devices string
	cmd := &cobra.Command{
		Use: vrrpCommand, Short: "the virtual routers' process, started by the daemon", Args: noArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return serveVRRP(cmd.ErrOrStderr(), devices) },
	}
	cmd.Flags().StringVar(&devices, devicesFlag, "", "file of the virtual routers' own links")
	return cmd
}

// serveVRRP is the virtual routers' process. devices is the file of their own links.
func serveVRRP(stderr io.Writer, devices string) error {
	// What a terminal or a supervisor sends to all processes of the service is for the
	// daemon to decide about.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM, syscall.SIGINT)
	showAs(spareName)
	// Two threads: one for the advertisements, while the other collects garbage or
	// writes an answer. More would only take real time from other programs.
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	// The heap is a few megabytes; half of that in garbage is enough.
	debug.SetGCPercent(50)

	conn, err := routerproc.Inherited()
	if err != nil {
		return err
	}
	var set *vrrpSet
	err = routerproc.Serve(conn, terminate, func(start routerproc.Start) routerproc.Service {
		level := new(slog.LevelVar)
		level.Set(start.LogLevel)
		logger := newLogger(stderr, start.LogFormat, level)
		return routerproc.Service{
			Facts: becomeRealtime(logger), Logger: logger, LogLevel: level,
			Open: func() (routerproc.Set, <-chan vrrp.Report, error) {
				showAs(activeName)
				reports := make(chan vrrp.Report, reportQueue)
				var err error
				set, err = newVRRPSet(reports, devices, logger)
				return set, reports, err
			},
			Release: func(instances map[string]vrrp.Instance) { set.release(instances) },
		}
	})
	if set != nil {
		set.close()
	}
	return err
}

// vrrpSet is the virtual routers with what they need.
type vrrpSet struct {
	*router.Set
	links    *netif.Watcher
	kernel   *vrrpKernel
	announce *netif.Announcer
	filter   *nft.Filter
	logger   *slog.Logger
}

func newVRRPSet(reports chan<- vrrp.Report, notes string, logger *slog.Logger) (*vrrpSet, error) {
	filter := nft.New()
	devices, err := netif.NewDevices(logger, notes, filter)
	if err != nil {
		logger.Warn("links of an earlier vrrp process are not known", "err", err)
	}
	s := &vrrpSet{
		filter: filter,
		links:  netif.NewWatcher(logger), kernel: newVRRPKernel(logger), announce: netif.NewAnnouncer(), logger: logger,
	}
	s.Set, err = router.NewSet(router.Options{
		Open: vrrpconn.NewHub(logger).Open, Addresser: s.kernel, Announcer: s.announce,
		Links: s.links, Devices: devices, Routing: s.kernel, Filter: filter, Reports: reports, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("set up vrrp: %w", err)
	}
	return s, nil
}

// Run runs the virtual routers, and as long as they need them the watcher of their links
// and who looks after the packet filter.
func (s *vrrpSet) Run(ctx context.Context) error {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var helpers sync.WaitGroup
	helpers.Go(func() { keepFilter(watching, s.filter.Restore, s.logger) })
	helpers.Go(func() {
		if err := s.links.Run(watching); err != nil {
			s.logger.Error("part of the vrrp process ended", "part", "link watcher", "err", err)
		}
	})
	err := s.Set.Run(ctx)
	stop()
	helpers.Wait()
	return err
}

// release takes away what instances may have left.
func (s *vrrpSet) release(instances map[string]vrrp.Instance) {
	if err := s.kernel.release(holdings(instances), nil); err != nil {
		s.logger.Warn("addresses not released", "err", err)
	}
}

// close brings back what was changed beside the virtual routers' own.
func (s *vrrpSet) close() {
	for _, err := range []error{s.kernel.close(), s.announce.Close(), s.filter.Close()} {
		if err != nil {
			s.logger.Warn("the machine is not quite as it was", "err", err)
		}
	}
}
