package realserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/atomicfile"
)

// locked runs f while no other process works with the same state file.
func locked(file string, f func() error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("make the folder of the state file: %w", err)
	}
	// A file beside it, because the state file itself is replaced.
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the lock of the state file: %w", err)
	}
	defer lock.Close() // which also unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return f()
}

// readState reads the state file. Without one, nothing has been changed.
func readState(file string) (state, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("read what start has changed: %w", err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, fmt.Errorf("read what start has changed from %s: %w", file, err)
	}
	return s, nil
}

// writeState replaces the state file in one step, and returns when it is on disk.
func writeState(file string, s state) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode what start is about to change: %w", err)
	}
	if err := atomicfile.Write(file, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write what start is about to change: %w", err)
	}
	return nil
}

func removeState(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the state file: %w", err)
	}
	return nil
}
