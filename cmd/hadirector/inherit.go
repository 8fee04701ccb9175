package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/nft"
	"github.com/hadirector/hadirector/vrrp"
)

// inheritPatience is how long what a killed predecessor left may wait for the virtual
// routers. If another director has taken over, both of them answer for the addresses
// meanwhile; if none has, without them nobody does.
const inheritPatience = time.Second

// inheritance is what a killed predecessor has left in the kernel: addresses with their
// routes and rules, links, the packet filter. The virtual routers of today take over what
// is theirs, and go on or take it away as soon as they know whether another director is
// Master. The rest goes before they start.
type inheritance struct {
	kernel  releaser
	devices func(keep []vrrp.Instance) error // takes away the links that nobody needs
	logger  *slog.Logger

	once sync.Once
	left []vrrp.Instance
}

// begin finds out what was left. Without virtual routers all of it goes before long.
func (i *inheritance) begin(path string) {
	var err error
	if i.left, err = leftovers(path); err != nil {
		i.logger.Warn("addresses of an earlier run are not known", "err", err)
	}
	time.AfterFunc(inheritPatience, func() { i.settle(nil) })
}

// settle leaves what the instances hold to the virtual routers, which do not run yet, and
// takes away the rest. Only the first call does anything.
func (i *inheritance) settle(instances map[string]vrrp.Instance) {
	if i == nil {
		return
	}
	i.once.Do(func() {
		for _, left := range i.left {
			i.release(left, instances)
		}
		if err := i.devices(holdings(instances)); err != nil {
			i.logger.Warn("links of an earlier run not deleted", "err", err)
		}
	})
}

func (i *inheritance) release(left vrrp.Instance, instances map[string]vrrp.Instance) {
	same := func(a, b netip.Prefix) bool { return a == b }
	gone := left.Held()
	for _, in := range instances {
		if in.Link() == left.Link() {
			gone = without(gone, in.Held(), same)
		}
	}
	log := i.logger.With("virtual_router", left.Name, "interface", left.Link())
	if err := i.kernel.release([]vrrp.Instance{left}, instances); err != nil {
		log.Warn("addresses of an earlier run not released", "addresses", gone, "err", err)
	} else if len(gone) > 0 {
		log.Info("addresses of an earlier run released", "addresses", gone)
	}
	if stay := without(left.Held(), gone, same); len(stay) > 0 {
		log.Info("addresses of an earlier run stay until another director is heard as master", "addresses", stay)
	}
}

// leftovers reads what a killed daemon noted; nothing if the last one ended cleanly.
func leftovers(path string) ([]vrrp.Instance, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []vrrp.Instance
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of virtual addresses %s: %w", path, err)
	}
	return list, nil
}

// cleanDevices deletes the virtual routers' own links, and the packet filter, that a
// process that is gone has left and none of keep needs, and brings back the settings that
// it changed for them.
func cleanDevices(notes string, keep []vrrp.Instance, logger *slog.Logger) error {
	filter := nft.New()
	devices, err := netif.NewDevices(logger, notes, filter)
	err = errors.Join(err, devices.Clean(keep))
	for _, in := range keep {
		if in.Refuse || in.VMAC != nil {
			return err // whose process puts the filter right
		}
	}
	return errors.Join(err, filter.Close())
}
