package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/nft"
	"github.com/hadirector/hadirector/vrrp"
)

// inheritPatience is how long what a killed predecessor left waits for the first virtual
// routers. If another director has taken over, both of them answer for the addresses
// meanwhile; if none has, without them nobody does.
const inheritPatience = time.Second

// inherit finds out what a killed predecessor has left in the kernel. The virtual routers of
// today take over what is theirs, and go on or take it away as soon as they know whether
// another director is Master. The rest goes before they start, or before long if there are
// none.
func (l *addressLedger) inherit() {
	left, err := leftovers(l.path)
	if err != nil {
		l.logger.Warn("addresses of an earlier run are not known", "err", err)
	}
	l.noted, l.left = left, left // nobody else is there yet
	time.AfterFunc(inheritPatience, func() {
		if !l.claimed.Load() {
			l.releaseNoted(nil)
		}
	})
}

// settle says what becomes of what was left, if the rest was released, and takes away the
// links that nobody needs.
func (l *addressLedger) settle(keep map[string]vrrp.Instance, released bool) {
	for _, in := range l.left {
		gone := in.Held()
		for _, other := range keep {
			if other.Link() == in.Link() {
				gone = without(gone, other.Held(), samePrefix)
			}
		}
		log := l.logger.With("virtual_router", in.Name, "interface", in.Link())
		if len(gone) > 0 && released {
			log.Info("addresses of an earlier run released", "addresses", gone)
		}
		if stay := without(in.Held(), gone, samePrefix); len(stay) > 0 {
			log.Info("addresses of an earlier run stay until another director is heard as master", "addresses", stay)
		}
	}
	if err := l.devices(holdings(keep)); err != nil {
		l.logger.Warn("links of an earlier run not deleted", "err", err)
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
