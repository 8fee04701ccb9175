package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/hadirector/hadirector/internal/atomicfile"
	"github.com/hadirector/hadirector/ipvs"
)

// Owned is what this daemon, or the one that ran before it, made in the kernel.
type Owned struct {
	Services map[ipvs.ServiceKey]bool
	// SyncDaemons says that the kernel's sync daemons are ours. A kernel has only
	// one pair of them.
	SyncDaemons bool
	// Private says that the private interface of the sync daemons is ours, or may be: it has
	// a mark of its own.
	Private bool
	// Leaving are the real servers that a reload has removed and the table still has.
	Leaving map[identity]Leaving
}

// FileLedger keeps the ledger in one small file. It belongs where the kernel's own
// table ends too: under /run, which a reboot empties.
type FileLedger struct{ Path string }

// ledgerFile is the file's form. The services are in ipvsadm's syntax, so that an
// operator can read what the daemon takes to be its own.
type ledgerFile struct {
	Services    []string      `json:"services"`
	SyncDaemons bool          `json:"sync_daemons"`
	Private     bool          `json:"private_interface,omitempty"`
	Leaving     []keptLeaving `json:"leaving,omitempty"`
}

// keptLeaving is a real server that leaves. Its service and its own rule are in ipvsadm's
// syntax too.
type keptLeaving struct {
	VirtualServer string   `json:"virtual_server"`
	RealServer    string   `json:"real_server"`
	Rules         []string `json:"rules"`
	// FullNAT says that nftables translates its connections too, to Source if that is
	// given.
	FullNAT bool       `json:"full_nat,omitempty"`
	Source  netip.Addr `json:"source_address,omitzero"`

	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
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
	var leaving map[identity]Leaving
	for _, k := range f.Leaving {
		one, err := k.parse()
		if err != nil {
			return Owned{Services: make(map[ipvs.ServiceKey]bool)}, fmt.Errorf("read ledger of own kernel objects %s: %w", l.Path, err)
		}
		if leaving == nil {
			leaving = make(map[identity]Leaving, len(f.Leaving))
		}
		leaving[one.identity()] = one
	}
	owned.SyncDaemons, owned.Private, owned.Leaving = f.SyncDaemons, f.Private, leaving
	return owned, nil
}

// parse reads the rules.
func (k keptLeaving) parse() (Leaving, error) {
	l := Leaving{Server: ServerID{k.VirtualServer, k.RealServer}, Since: k.Since, Until: k.Until}
	t, err := ipvs.ParseSave(strings.NewReader(strings.Join(k.Rules, "\n")))
	if err != nil {
		return l, err
	}
	n := 0
	for _, e := range t {
		for _, d := range e.Destinations {
			l.Service, l.Destination = e.Service, d
			n++
		}
	}
	if n != 1 {
		return l, fmt.Errorf("%s leaves with %d real servers, want one", l.Server, n)
	}
	if k.FullNAT {
		l.Translation = &ipvs.Translation{Service: l.Service.Key, Server: l.Destination.Key, Source: k.Source}
	}
	return l, nil
}

// kept is what parse reads.
func (l Leaving) kept() keptLeaving {
	k := keptLeaving{VirtualServer: l.Server.VirtualServer, RealServer: l.Server.RealServer, Since: l.Since, Until: l.Until}
	t := ipvs.Table{l.Service.Key: {Service: l.Service, Destinations: map[ipvs.DestinationKey]ipvs.Destination{l.Destination.Key: l.Destination}}}
	for line := range strings.Lines(t.String()) {
		k.Rules = append(k.Rules, strings.TrimSpace(line))
	}
	if l.Translation != nil {
		k.FullNAT, k.Source = true, l.Translation.Source
	}
	return k
}

// Save replaces the ledger at once: a reader sees the old one or the new one.
func (l FileLedger) Save(o Owned) error {
	t := make(ipvs.Table, len(o.Services))
	for k := range o.Services {
		t[k] = ipvs.Entry{Service: ipvs.Service{Key: k, Scheduler: "rr"}}
	}
	f := ledgerFile{Services: []string{}, SyncDaemons: o.SyncDaemons, Private: o.Private}
	for line := range strings.Lines(t.String()) {
		f.Services = append(f.Services, strings.TrimSpace(line))
	}
	for _, id := range (Facts{Leaving: o.Leaving}).sortedLeaving() {
		f.Leaving = append(f.Leaving, o.Leaving[id].kept())
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
