package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The files in the journal's directory.
const (
	currentName  = "events.jsonl"
	previousName = "events.1.jsonl"
)

// file is the journal file that is written.
type file interface {
	io.Writer
	Sync() error
	Close() error
}

// files is where journal files are; tests put in one whose disk is full.
type files interface {
	// open opens the current file for appending, made if it is not there, and cut
	// back to its last whole line.
	open() (f file, size int64, err error)
	// rotate makes the current file the previous one.
	rotate() error
}

// directory is files in a directory.
type directory string

func (d directory) open() (file, int64, error) {
	if err := os.MkdirAll(string(d), 0o750); err != nil {
		return nil, 0, err
	}
	path := filepath.Join(string(d), currentName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, 0, err
	}
	size, err := cutBack(f)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return f, size, nil
}

// cutBack drops what follows the last newline: a line that a full disk or a power loss
// has cut short, and to which the next record must not be appended.
func cutBack(f *os.File) (size int64, err error) {
	b, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	whole := int64(bytes.LastIndexByte(b, '\n') + 1)
	if whole == int64(len(b)) {
		return whole, nil
	}
	return whole, f.Truncate(whole)
}

func (d directory) rotate() error {
	return os.Rename(filepath.Join(string(d), currentName), filepath.Join(string(d), previousName))
}

// loaded is what the files hold.
type loaded struct {
	records []Record
	damaged int // lines that are no records
	cut     int // bytes of an incomplete last line
}

// load reads both files. A file that is not there is empty.
func load(dir string) (loaded, error) {
	var l loaded
	// The current file first: if the writer rotates in between, nothing is missed,
	// and what was read as current is read again as the beginning of previous.
	current, err1 := readFile(filepath.Join(dir, currentName))
	previous, err2 := readFile(filepath.Join(dir, previousName))
	if bytes.HasPrefix(previous, current) {
		current = nil
	}
	l.parse(previous)
	l.parse(current)
	return l, errors.Join(err1, err2)
}

func readFile(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (l *loaded) parse(b []byte) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		b = rest
		if !whole {
			l.cut = len(line)
			return
		}
		r, err := ParseRecord(line)
		if err != nil {
			l.damaged++
			continue
		}
		l.records = append(l.records, r)
	}
}

// ReadDir reads the records since a time from a journal's directory, oldest first: the
// way when no daemon runs.
func ReadDir(dir string, since time.Time) ([]Record, error) {
	l, err := load(dir)
	if err != nil {
		err = fmt.Errorf("read journal: %w", err)
	}
	return keepSince(l.records, since), err
}

func keepSince(records []Record, since time.Time) []Record {
	var kept []Record
	for _, r := range records {
		if !r.At.Before(since) {
			kept = append(kept, r)
		}
	}
	return kept
}
