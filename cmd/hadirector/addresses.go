package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"

	"github.com/hadirector/hadirector/internal/atomicfile"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

// virtualAddresses are virtual addresses by interface.
type virtualAddresses map[string][]netip.Prefix

// addressLedger is the virtual routers with a memory: a file in the runtime directory
// names every address that they may have put on an interface, so that a daemon that
// follows a killed one can take them away, also those that the file no longer names.
type addressLedger struct {
	*router.Set
	path    string
	logger  *slog.Logger
	last    virtualAddresses // of the last Apply
	written string           // the list as it stands in the file
	err     string           // of the last write, so that each is said once
}

// Apply notes the addresses before the virtual routers get them. Those of the Apply
// before stay noted, because the virtual routers let go of them in their own time.
func (l *addressLedger) Apply(in map[string]vrrp.Instance) {
	next := make(virtualAddresses)
	for _, i := range in {
		next[i.ID.Interface] = append(next[i.ID.Interface], i.Addresses...)
	}
	noted := make(virtualAddresses)
	for _, m := range []virtualAddresses{l.last, next} {
		for ifname, addrs := range m {
			noted[ifname] = append(noted[ifname], addrs...)
		}
	}
	l.last = next
	l.save(noted)
	l.Set.Apply(in)
}

// Run runs the virtual routers and forgets their addresses when all are released.
func (l *addressLedger) Run(ctx context.Context) error {
	err := l.Set.Run(ctx)
	if rerr := os.Remove(l.path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		l.logger.Warn("list of virtual addresses not removed", "err", rerr)
	}
	return err
}

// save writes the list. A full disk costs only the clean-up after a crash.
func (l *addressLedger) save(m virtualAddresses) {
	for ifname := range m {
		slices.SortFunc(m[ifname], func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		m[ifname] = slices.Compact(m[ifname])
	}
	b, err := json.Marshal(m)
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

// leftovers reads what a killed daemon noted; nothing if the last one ended cleanly.
func (l *addressLedger) leftovers() (virtualAddresses, error) {
	b, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var m virtualAddresses
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of virtual addresses %s: %w", l.path, err)
	}
	return m, nil
}

// releaseLeftovers takes away the virtual addresses that a killed predecessor left.
// The virtual routers would release those of today's configuration too, but they take
// part only when the kernel's table is programmed, and until then both directors would
// answer for the addresses.
func (l *addressLedger) releaseLeftovers(addrs router.Addresser) {
	left, err := l.leftovers()
	if err != nil {
		l.logger.Warn("addresses of an earlier run are not known", "err", err)
	}
	for ifname, list := range left {
		if err := addrs.Release(ifname, list); err != nil {
			l.logger.Warn("addresses of an earlier run not released", "interface", ifname, "addresses", list, "err", err)
			continue
		}
		l.logger.Info("addresses of an earlier run released", "interface", ifname, "addresses", list)
	}
}
