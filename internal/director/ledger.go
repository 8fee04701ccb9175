package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/hadirector/hadirector/internal/atomicfile"
	"github.com/hadirector/hadirector/ipvs"
)

// Owned is what this daemon, or the one that ran before it, made in the kernel.
type Owned struct {
	Services map[ipvs.ServiceKey]bool
	// SyncDaemons says that the kernel's sync daemons are ours. A kernel has only
	// one pair of them.
	SyncDaemons bool
}

// FileLedger keeps the ledger in one small file. It belongs where the kernel's own
// table ends too: under /run, which a reboot empties.
type FileLedger struct{ Path string }

// ledgerFile is the file's form. The services are in ipvsadm's syntax, so that an
// operator can read what the daemon takes to be its own.
type ledgerFile struct {
	Services    []string `json:"services"`
	SyncDaemons bool     `json:"sync_daemons"`
}

// Load reads the ledger. A file that is not there is an empty ledger.
func (l FileLedger) Load() (Owned, error) {
	owned := Owned{Services: make(map[ipvs.ServiceKey]bool)}
	b, err := os.ReadFile(l.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return owned, nil
	}
	if err != nil {
		return owned, fmt.Errorf("read ledger of own kernel objects: %w", err)
	}
	var f ledgerFile
	if err := json.Unmarshal(b, &f); err != nil {
		return owned, fmt.Errorf("read ledger of own kernel objects %s: %w", l.Path, err)
	}
	t, err := ipvs.ParseSave(strings.NewReader(strings.Join(f.Services, "\n")))
	if err != nil {
		return owned, fmt.Errorf("read ledger of own kernel objects %s: %w", l.Path, err)
	}
	for k := range t {
		owned.Services[k] = true
	}
	owned.SyncDaemons = f.SyncDaemons
	return owned, nil
}

// Save replaces the ledger at once: a reader sees the old one or the new one.
func (l FileLedger) Save(o Owned) error {
	t := make(ipvs.Table, len(o.Services))
	for k := range o.Services {
		t[k] = ipvs.Entry{Service: ipvs.Service{Key: k, Scheduler: "rr"}}
	}
	f := ledgerFile{Services: []string{}, SyncDaemons: o.SyncDaemons}
	for line := range strings.Lines(t.String()) {
		f.Services = append(f.Services, strings.TrimSpace(line))
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("write ledger of own kernel objects: %w", err)
	}
	if err := atomicfile.Write(l.Path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write ledger of own kernel objects: %w", err)
	}
	return nil
}
