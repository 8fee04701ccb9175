package director

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/internal/atomicfile"
)

// StatusStore keeps over a restart and a reboot what checks have found.
type StatusStore interface {
	Load() (KeptHealth, error)
	Save(KeptHealth) error
}

// KeptHealth is what the next run is to know of the checks of this one.
type KeptHealth struct {
	// Down are the targets that are down, for checks whose initial is "last".
	Down map[healthcheck.Target]bool
	// Panics are the virtual servers that are in a panic, by name, with the addresses of the
	// real servers that were good when it began.
	Panics map[string]map[netip.AddrPort]bool
}

// clone returns a copy that has maps; nobody writes to those in Panics.
func (k KeptHealth) clone() KeptHealth {
	c := KeptHealth{make(map[healthcheck.Target]bool, len(k.Down)), make(map[string]map[netip.AddrPort]bool, len(k.Panics))}
	maps.Copy(c.Down, k.Down)
	maps.Copy(c.Panics, k.Panics)
	return c
}

// FileStatuses is a StatusStore in one small file. It belongs into the state directory.
type FileStatuses struct{ Path string }

const (
	// maxStatuses bounds what is written of either kind, and maxStatusesFile, in bytes, what
	// is read: more than is ever written.
	maxStatuses     = 1 << 15
	maxStatusesFile = 16 << 20
	// maxName is the parser's.
	maxName = 63
)

// statusesFile is the file's form.
type statusesFile struct {
	Down   []keptStatus `json:"down"`
	Panics []keptPanic  `json:"panics,omitempty"`
}

type keptPanic struct {
	VirtualServer string           `json:"virtual_server"`
	Good          []netip.AddrPort `json:"good,omitempty"`
}

type keptStatus struct {
	Address netip.AddrPort `json:"address"`
	Check   string         `json:"check"`
	VIP     netip.Addr     `json:"vip,omitzero"` // with Mark the target's path
	Mark    uint32         `json:"mark,omitempty"`
}

func (k keptStatus) target() healthcheck.Target {
	return healthcheck.Target{Addr: k.Address, Check: k.Check, Path: healthcheck.Path{VIP: k.VIP, Mark: k.Mark}}
}

// Load reads the file. One that is not there names nobody.
func (f FileStatuses) Load() (KeptHealth, error) {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return KeptHealth{}, nil
	}
	if err != nil {
		return KeptHealth{}, fmt.Errorf("read health: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxStatusesFile+1))
	if err != nil {
		return KeptHealth{}, fmt.Errorf("read health: %w", err)
	}
	if len(b) > maxStatusesFile {
		return KeptHealth{}, fmt.Errorf("read health %s: more than %d bytes", f.Path, maxStatusesFile)
	}
	kept, err := parseStatuses(b)
	if err != nil {
		return KeptHealth{}, fmt.Errorf("read health %s: %w", f.Path, err)
	}
	return kept, nil
}

// parseStatuses takes the whole file or nothing of it.
func parseStatuses(b []byte) (KeptHealth, error) {
	var file statusesFile
	if err := json.Unmarshal(b, &file); err != nil {
		return KeptHealth{}, err
	}
	kept := KeptHealth{}.clone()
	for _, k := range file.Down {
		if !k.Address.IsValid() || k.Check == "" || len(k.Check) > maxName {
			return KeptHealth{}, fmt.Errorf("%q at %s is no check", k.Check, k.Address)
		}
		kept.Down[k.target()] = true
	}
	for _, p := range file.Panics {
		if p.VirtualServer == "" || len(p.VirtualServer) > maxName {
			return KeptHealth{}, fmt.Errorf("%q is no virtual server", p.VirtualServer)
		}
		good := make(map[netip.AddrPort]bool, len(p.Good))
		for _, a := range p.Good {
			if !a.IsValid() {
				return KeptHealth{}, fmt.Errorf("virtual server %s: a real server without an address", p.VirtualServer)
			}
			good[a] = true
		}
		kept.Panics[p.VirtualServer] = good
	}
	return kept, nil
}

// Save replaces the file at once.
func (f FileStatuses) Save(kept KeptHealth) error {
	sorted := slices.SortedFunc(maps.Keys(kept.Down), func(a, b healthcheck.Target) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Check, b.Check), a.Path.VIP.Compare(b.Path.VIP), cmp.Compare(a.Path.Mark, b.Path.Mark))
	})
	file := statusesFile{Down: []keptStatus{}}
	for _, t := range sorted[:min(len(sorted), maxStatuses)] {
		file.Down = append(file.Down, keptStatus{t.Addr, t.Check, t.Path.VIP, t.Path.Mark})
	}
	room := maxStatuses
	for _, name := range slices.Sorted(maps.Keys(kept.Panics)) {
		good := slices.SortedFunc(maps.Keys(kept.Panics[name]), netip.AddrPort.Compare)
		if room -= 1 + len(good); room < 0 {
			break // half of a panic would take the others out
		}
		file.Panics = append(file.Panics, keptPanic{name, good})
	}
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("write health: %w", err)
	}
	if err := atomicfile.Write(f.Path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write health: %w", err)
	}
	return nil
}

// statusPause is the least time between two writes: real servers may come and go, and the
// disk is not to follow each of them.
const statusPause = 10 * time.Second

// statusKeeper writes beside the loop what the next run is to know.
type statusKeeper struct {
	store  StatusStore
	logger *slog.Logger
	want   mailbox[KeptHealth] // never written to again
}

// run works until ctx is canceled, and writes what it has been given by then.
func (k *statusKeeper) run(ctx context.Context) error {
	var failed string
	for {
		var kept KeptHealth
		select {
		case <-ctx.Done():
			select {
			case kept = <-k.want:
				return k.store.Save(kept)
			default:
				return nil
			}
		case kept = <-k.want:
		}
		err := k.store.Save(kept)
		if why := errText(err); why != failed {
			if failed = why; why == "" {
				k.logger.Info("health of real servers is written again")
			} else {
				k.logger.Warn("health of real servers not written, a restart now would not know it", "err", why)
			}
		}
		if err != nil {
			k.putBack(kept)
		}
		pause := time.NewTimer(statusPause)
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
	}
}

// putBack has a write tried again, unless there is something newer to be written.
func (k *statusKeeper) putBack(kept KeptHealth) {
	select {
	case k.want <- kept:
	default:
	}
}
