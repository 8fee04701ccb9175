package main

import (
	"os"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/routerproc"
)

// endQueue is how many ends of the virtual routers' process may wait to be logged. They
// come seconds apart.
const endQueue = 16

// superviseVRRP sets up the virtual routers' process, which the director runs as
// d.routers, and returns what the director needs beside that. The process holds the lock.
func (d *daemon) superviseVRRP(cfg *conf.Config, lock *os.File, reports chan<- vrrp.Report) director.VRRPProcess {
	pulse, ends := make(chan struct{}), make(chan director.ProcessEnd, endQueue)
	spawn := routerproc.Command("/proc/self/exe", []string{"hadirector", vrrpCommand, "--" + devicesFlag, d.o.devices()}, os.Stderr, lock)
	d.routers = &addressLedger{path: d.o.addresses(), kernel: d.vrrp, logger: d.logger, devices: func(keep []vrrp.Instance) error {
		return cleanDevices(d.o.devices(), keep, d.logger)
	}}
	process := routerproc.New(routerproc.Options{
		Spawn: spawn, LogFormat: cfg.Log.Format, LogLevel: d.level,
		Reports: reports, Pulse: pulse, Release: d.routers.releaseNoted,
		Runs: func(pid int) {
			if err := noteHolder(lock, pid); err != nil {
				d.logger.Warn("a daemon that follows this one cannot ask its vrrp process to end", "err", err)
			}
		},
		Ended: func(e routerproc.End) {
			select {
			case ends <- director.ProcessEnd(e):
			default: // the director loop hangs, and has other worries
			}
		},
		Logger: d.logger,
	})
	d.routers.VRRP = process
	return director.VRRPProcess{Pulse: pulse, Ends: ends, Status: func() director.ProcessStatus { return processStatus(process.Status()) }}
}

func processStatus(s routerproc.Status) director.ProcessStatus {
	out := director.ProcessStatus{
		Up: s.PID != 0, PID: s.PID, SparePID: s.Spare, Since: s.Since, Locked: s.Locked, Answered: s.Answered, Restarts: s.Restarts,
	}
	switch {
	case s.Realtime:
		out.Scheduling = "rr"
	case s.PID != 0:
		out.Scheduling = "nice"
	}
	return out
}
