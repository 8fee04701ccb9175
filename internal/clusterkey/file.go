package clusterkey

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFile is more than a key file ever needs, and little enough to read whatever the
// path turns out to be.
const maxFile = 4096

// Load reads a key file. Every refusal names the file and, where a command mends it,
// the command. A file that anybody but its owner may read is refused: the key in it has
// to be taken as known to others.
func Load(path string) (Keys, error) {
	// Without O_NONBLOCK the open of a FIFO would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf(
			"cluster key %s does not exist: make one with \"hadirector keygen\" and put the same file on every director: %w",
			path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster key: %w", err)
	}
	defer f.Close()

	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cluster key: %w", err)
	}
	owner := os.Geteuid()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	if err := checkFile(path, info.Mode(), owner, os.Geteuid()); err != nil {
		return nil, err
	}

	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cluster key: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("cluster key %s is larger than %d bytes: it is no key file", path, maxFile)
	}
	ks, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("cluster key %s: %w", path, err)
	}
	return ks, nil
}

// checkFile says whether a key may be read from a file with this mode and owner by a
// process with this effective user.
func checkFile(path string, mode fs.FileMode, owner, euid int) error {
	if !mode.IsRegular() {
		return fmt.Errorf("cluster key %s is not a regular file but %s", path, kindOf(mode))
	}
	if perm := mode.Perm(); perm&0o077 != 0 {
		return fmt.Errorf("cluster key %s may be used by others (mode %04o): chmod 600 %s, and make a new key if they may have read it",
			path, perm, path)
	}
	if owner != 0 && owner != euid {
		return fmt.Errorf("cluster key %s belongs to user %d: chown root %s", path, owner, path)
	}
	return nil
}

func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

// WriteNew makes a new key and writes it to path with mode 0600. It never overwrites:
// an existing file, whatever it holds, is an error that matches fs.ErrExist, because the
// key in it may be in use on the other directors.
func WriteNew(path string) (Key, error) {
	k := Generate()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("cluster key %s exists already and is left as it is: %w", path, fs.ErrExist)
	}
	if err != nil {
		return Key{}, fmt.Errorf("cluster key: %w", err)
	}
	err = errors.Join(writeSynced(f, k.Text()), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		// Half a key would stand in the way of the next attempt.
		return Key{}, errors.Join(fmt.Errorf("write cluster key: %w", err), os.Remove(path))
	}
	return k, nil
}

func writeSynced(f *os.File, text string) error {
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes a new directory entry survive a power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
