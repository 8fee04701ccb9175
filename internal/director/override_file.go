package director

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/hadirector/hadirector/internal/atomicfile"
)

// OverrideStore keeps the overrides over a restart and a reboot.
type OverrideStore interface {
	Load() (Registers, error)
	Save(Registers) error
}

// FileOverrides is an OverrideStore in one small file. It belongs into the state
// directory.
type FileOverrides struct{ Path string }

// maxOverridesFile bounds what is read, in bytes: more than is ever written.
const maxOverridesFile = 4 * maxShared

// overridesFile is the file's form. What has ended is apart, where earlier versions of the
// program do not stumble over it.
type overridesFile struct {
	Overrides []keptOverride `json:"overrides"`
	Ended     []keptOverride `json:"ended,omitempty"`
}

// Load reads the overrides. A file that is not there has none.
func (f FileOverrides) Load() (Registers, error) {
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
	all, err := parseOverrides(b)
	if err != nil {
		return nil, fmt.Errorf("read overrides %s: %w", f.Path, err)
	}
	return all, nil
}

// parseOverrides takes the whole file or nothing of it.
func parseOverrides(b []byte) (Registers, error) {
	var file overridesFile
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	all := make(Registers, len(file.Overrides)+len(file.Ended))
	for i, k := range slices.Concat(file.Overrides, file.Ended) {
		err := k.check()
		if ended := i >= len(file.Overrides); err == nil && ended != (k.Kind == OverrideNone) {
			err = fmt.Errorf("%q is in the wrong list", k.Kind)
		}
		if err != nil {
			return nil, fmt.Errorf("override of %s/%s: %w", k.VirtualServer, k.RealServer, err)
		}
		if k.Version == 0 { // of an earlier version of the program
			k.Version = uint64(max(k.At.UnixMilli(), 1))
		}
		all = all.with(k)
	}
	return all, nil
}

// Save replaces the file at once.
func (f FileOverrides) Save(all Registers) error {
	file := overridesFile{Overrides: []keptOverride{}}
	for _, id := range all.sorted() {
		if k := all.kept(id); k.Kind == OverrideNone {
			file.Ended = append(file.Ended, k)
		} else {
			file.Overrides = append(file.Overrides, k)
		}
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
	all Registers
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
