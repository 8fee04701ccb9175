package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hadirector/hadirector/internal/atomicfile"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

// addressLedger is the virtual routers with a memory: a file in the runtime directory
// names everything that they may have put into the kernel, so that a daemon that follows
// a killed one can take it away, also what the configuration no longer names.
type addressLedger struct {
	director.VRRP
	path    string
	kernel  releaser
	devices func(keep []vrrp.Instance) error // takes away the links of an earlier run
	logger  *slog.Logger
	written string // the list as it stands in the file
	err     string // of the last write, so that each is said once

	claimed atomic.Bool // there are virtual routers, whose process is supervised
	mu      sync.Mutex  // guards what follows
	last    map[string]vrrp.Instance
	noted   []vrrp.Instance

	releasing sync.Mutex      // guards what follows, and is held while the kernel is written
	left      []vrrp.Instance // by an earlier run
	settled   bool            // it is today's, or gone
}

// releaser takes away what instances left in the kernel, but for what those of keep hold.
type releaser interface {
	release(left []vrrp.Instance, keep map[string]vrrp.Instance) error
}

// Apply notes what the instances hold before the virtual routers get them. What those of
// the Apply before hold stays noted, because the virtual routers let go of it in their own
// time; as long as none has been heard of, everything does.
func (l *addressLedger) Apply(in map[string]vrrp.Instance) {
	l.claimed.Store(true)
	heard := len(l.VRRP.Snapshots()) > 0
	noted := holdings(in)
	l.mu.Lock()
	before := l.noted
	if heard {
		before = holdings(l.last)
	}
	noted = append(noted, without(before, noted, vrrp.Instance.Equal)...)
	l.last, l.noted = in, noted
	l.mu.Unlock()
	l.save(noted)
	l.VRRP.Apply(in)
}

// holdings are what instances put into the kernel, and nothing else of them: no secret,
// and nothing that changes while they run.
func holdings(instances map[string]vrrp.Instance) []vrrp.Instance {
	var list []vrrp.Instance
	for _, name := range slices.Sorted(maps.Keys(instances)) {
		in := instances[name]
		list = append(list, vrrp.Instance{
			Name: in.Name, ID: in.ID, VMAC: in.VMAC, Routes: in.Routes, Rules: in.Rules, Refuse: in.Refuse,
			Params: vrrp.Params{Addresses: in.Addresses, Excluded: in.Excluded},
		})
	}
	return list
}

// Run runs the virtual routers and forgets what they held when all of it is released.
func (l *addressLedger) Run(ctx context.Context) error {
	err := l.VRRP.Run(ctx)
	if rerr := os.Remove(l.path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		l.logger.Warn("list of virtual addresses not removed", "err", rerr)
	}
	return err
}

// releaseNoted takes away what is noted, but for what the instances of keep hold: the
// process that had put it there is gone. No virtual router runs.
func (l *addressLedger) releaseNoted(keep map[string]vrrp.Instance) {
	l.releasing.Lock()
	defer l.releasing.Unlock()
	l.mu.Lock()
	noted := l.noted
	l.mu.Unlock()
	first := !l.settled
	if first {
		// An owner is Master as soon as it takes part, and releases nothing until then.
		keep = maps.Clone(keep)
		maps.DeleteFunc(keep, func(_ string, in vrrp.Instance) bool { return in.Priority == vrrp.PriorityOwner })
		l.settled = true
	}
	err := l.kernel.release(noted, keep)
	if err != nil {
		l.logger.Warn("addresses of an ended vrrp process not released", "err", err)
	}
	if first {
		l.settle(keep, err == nil)
	}
}

// save writes the list. A full disk costs only the clean-up after a crash.
func (l *addressLedger) save(list []vrrp.Instance) {
	b, err := json.Marshal(list)
	if err == nil && string(b) == l.written {
		return // most Applies change a priority or the readiness
	}
	if err == nil {
		err = atomicfile.Write(l.path, append(b, '\n'), 0o600)
	}
	text := ""
	if err != nil {
		text = err.Error()
	} else {
		l.written = string(b)
	}
	if text != "" && text != l.err {
		l.logger.Warn("list of virtual addresses not written, a crash now could leave some behind", "err", text)
	}
	l.err = text
}
