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

// StatusStore keeps which targets are down over a restart and a reboot.
type StatusStore interface {
	Load() (down map[healthcheck.Target]bool, err error)
	Save(down map[healthcheck.Target]bool) error
}

// FileStatuses is a StatusStore in one small file. It belongs into the state directory.
type FileStatuses struct{ Path string }

const (
	// maxStatuses bounds what is written, and maxStatusesFile, in bytes, what is read:
	// more than is ever written.
	maxStatuses     = 1 << 15
	maxStatusesFile = 8 << 20
	// maxCheckName is the parser's.
	maxCheckName = 63
)

// statusesFile is the file's form.
type statusesFile struct {
	Down []keptStatus `json:"down"`
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
func (f FileStatuses) Load() (map[healthcheck.Target]bool, error) {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read health: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxStatusesFile+1))
	if err != nil {
		return nil, fmt.Errorf("read health: %w", err)
	}
	if len(b) > maxStatusesFile {
		return nil, fmt.Errorf("read health %s: more than %d bytes", f.Path, maxStatusesFile)
	}
	down, err := parseStatuses(b)
	if err != nil {
		return nil, fmt.Errorf("read health %s: %w", f.Path, err)
	}
	return down, nil
}

// parseStatuses takes the whole file or nothing of it.
func parseStatuses(b []byte) (map[healthcheck.Target]bool, error) {
	var file statusesFile
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	down := make(map[healthcheck.Target]bool, len(file.Down))
	for _, k := range file.Down {
		if !k.Address.IsValid() || k.Check == "" || len(k.Check) > maxCheckName {
			return nil, fmt.Errorf("%q at %s is no check", k.Check, k.Address)
		}
		down[k.target()] = true
	}
	return down, nil
}

// Save replaces the file at once.
func (f FileStatuses) Save(down map[healthcheck.Target]bool) error {
	sorted := slices.SortedFunc(maps.Keys(down), func(a, b healthcheck.Target) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Check, b.Check), a.Path.VIP.Compare(b.Path.VIP), cmp.Compare(a.Path.Mark, b.Path.Mark))
	})
	file := statusesFile{Down: []keptStatus{}}
	for _, t := range sorted[:min(len(sorted), maxStatuses)] {
		file.Down = append(file.Down, keptStatus{t.Addr, t.Check, t.Path.VIP, t.Path.Mark})
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

// statusKeeper writes beside the loop which targets are down.
type statusKeeper struct {
	store  StatusStore
	logger *slog.Logger
	want   mailbox[map[healthcheck.Target]bool] // never written to again
}

// run works until ctx is canceled, and writes what it has been given by then.
func (k *statusKeeper) run(ctx context.Context) error {
	var failed string
	for {
		var down map[healthcheck.Target]bool
		select {
		case <-ctx.Done():
			select {
			case down = <-k.want:
				return k.store.Save(down)
			default:
				return nil
			}
		case down = <-k.want:
		}
		err := k.store.Save(down)
		if why := errText(err); why != failed {
			if failed = why; why == "" {
				k.logger.Info("health of real servers is written again")
			} else {
				k.logger.Warn("health of real servers not written, a restart now would not know it", "err", why)
			}
		}
		if err != nil {
			k.putBack(down)
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
func (k *statusKeeper) putBack(down map[healthcheck.Target]bool) {
	select {
	case k.want <- down:
	default:
	}
}
