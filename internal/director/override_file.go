package director

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/hadirector/hadirector/internal/atomicfile"
)

// OverrideStore keeps the overrides over a restart and a reboot.
type OverrideStore interface {
	Load() (Overrides, error)
	Save(Overrides) error
}

// FileOverrides is an OverrideStore in one small file. It belongs into the state
// directory.
type FileOverrides struct{ Path string }

// maxOverridesFile bounds what is read, in bytes: some ten thousand overrides.
const maxOverridesFile = 8 << 20

// overridesFile is the file's form.
type overridesFile struct {
	Overrides []keptOverride `json:"overrides"`
}

type keptOverride struct {
	VirtualServer string `json:"virtual_server"`
	RealServer    string `json:"real_server"`
	Override
}

// Load reads the overrides. A file that is not there has none.
func (f FileOverrides) Load() (Overrides, error) {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read overrides: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxOverridesFile+1))
	if err != nil {
		return nil, fmt.Errorf("read overrides: %w", err)
	}
	if len(b) > maxOverridesFile {
		return nil, fmt.Errorf("read overrides %s: more than %d bytes", f.Path, maxOverridesFile)
	}
	o, err := parseOverrides(b)
	if err != nil {
		return nil, fmt.Errorf("read overrides %s: %w", f.Path, err)
	}
	return o, nil
}

// parseOverrides takes the whole file or nothing of it.
func parseOverrides(b []byte) (Overrides, error) {
	var file overridesFile
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	all := make(Overrides, len(file.Overrides))
	for _, k := range file.Overrides {
		r := OverrideRequest{Kind: k.Kind, Weight: k.Weight, Reason: k.Reason}
		err := r.check()
		if err == nil && k.Kind == OverrideNone {
			err = fmt.Errorf("%q is no override", k.Kind)
		}
		if err != nil {
			return nil, fmt.Errorf("override of %s/%s: %w", k.VirtualServer, k.RealServer, err)
		}
		all[ServerID{k.VirtualServer, k.RealServer}] = k.Override
	}
	return all, nil
}

// Save replaces the file at once.
func (f FileOverrides) Save(all Overrides) error {
	file := overridesFile{Overrides: []keptOverride{}}
	for _, id := range all.sorted() {
		file.Overrides = append(file.Overrides, keptOverride{id.VirtualServer, id.RealServer, all[id]})
	}
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("write overrides: %w", err)
	}
	if err := atomicfile.Write(f.Path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write overrides: %w", err)
	}
	return nil
}

// overrideRetry is the pause before overrides that could not be written are tried again.
const overrideRetry = 30 * time.Second

// overrideKeeper writes the overrides beside the loop, which must not wait for a disk.
type overrideKeeper struct {
	store OverrideStore
	want  mailbox[numbered]
	saved chan savedOverrides
}

// numbered are overrides that are never written to again, with their number.
type numbered struct {
	n   uint64
	all Overrides
}

type savedOverrides struct {
	n   uint64
	err error
}

// run works until ctx is canceled, and writes what it has been given by then.
func (k *overrideKeeper) run(ctx context.Context) error {
	var last numbered
	retry := time.NewTimer(0)
	defer retry.Stop()
	<-retry.C
	for {
		select {
		case <-ctx.Done():
			select {
			case last = <-k.want:
				return k.store.Save(last.all)
			default:
				return nil
			}
		case last = <-k.want:
		case <-retry.C:
		}
		err := k.store.Save(last.all)
		if err != nil {
			retry.Reset(overrideRetry)
		} else {
			retry.Stop()
		}
		select {
		case k.saved <- savedOverrides{last.n, err}:
		case <-ctx.Done():
		}
	}
}
