package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// fileCheck reads a number from a file.
type fileCheck struct {
	path   string
	weight bool                  // the number is a real server's weight
	pause  func(context.Context) // before an empty file is read again
}

// maxNumber is the longest content that can be a number with white space around it.
const maxNumber = 64

func newFile(sp healthcheck.Spec, t healthcheck.Target) (*fileCheck, error) {
	if !filepath.IsAbs(sp.File.Path) {
		return nil, fmt.Errorf("file %q is not an absolute path", sp.File.Path)
	}
	return &fileCheck{path: t.Fill(sp.File.Path), weight: t.Addr.IsValid(), pause: pauseWriting}, nil
}

// Check succeeds when the file holds a number.
func (c *fileCheck) Check(ctx context.Context) error {
	_, err := c.Measure(ctx)
	return err
}

// writing is how long a writer may take between emptying the file, as a shell's
// redirection does, and filling it.
const writing = 20 * time.Millisecond

// Measure returns the number that the file holds.
func (c *fileCheck) Measure(ctx context.Context) (healthcheck.Value, error) {
	n, err := c.read()
	if err == errEmpty {
		c.pause(ctx)
		n, err = c.read()
	}
	if err == nil && c.weight && n < 0 {
		n, err = 0, &cause{text: fmt.Sprintf("weight in the file is negative: %d", n)}
	}
	return healthcheck.Value{Unit: healthcheck.Number, N: n}, err
}

// pauseWriting waits for a writer.
func pauseWriting(ctx context.Context) {
	timer := time.NewTimer(writing)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// errEmpty is the cause when the file is empty.
var errEmpty error = &cause{text: "file is empty"}

func (c *fileCheck) read() (int, error) {
	// Opening a pipe wakes its writer, and opening a device does whatever it does.
	info, err := os.Stat(c.path)
	if err == nil && !info.Mode().IsRegular() {
		return 0, &cause{text: "not a regular file"}
	}
	if err != nil {
		return 0, unreadable(err)
	}
	// Should it have become one since, the open does not wait for a writer.
	f, err := os.OpenFile(c.path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return 0, unreadable(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, &cause{text: "not a regular file"}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxNumber+1))
	if err != nil {
		return 0, unreadable(err)
	}
	return parseNumber(text)
}

// unreadable is the cause when the file cannot be read.
func unreadable(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return &cause{text: fmt.Sprintf("file not readable: %v", err), errs: []error{err}}
	}
	if text, ok := ownTrouble[errno]; ok {
		return &cause{text: text, errs: []error{healthcheck.ErrNotAsked, err}}
	}
	if errno == syscall.ENOENT {
		return &cause{text: "file does not exist", errs: []error{err}}
	}
	return &cause{text: fmt.Sprintf("file not readable: %v", errno), errs: []error{err}}
}

// parseNumber reads a decimal number of 32 bits with white space around it.
func parseNumber(text []byte) (int, error) {
	if len(text) > maxNumber {
		return 0, &cause{text: "file holds more than a number"}
	}
	trimmed := strings.TrimSpace(string(text))
	if trimmed == "" {
		return 0, errEmpty
	}
	n, err := strconv.ParseInt(trimmed, 10, 32)
	unsigned := strings.TrimPrefix(strings.TrimPrefix(trimmed, "-"), "+")
	switch {
	case errors.Is(err, strconv.ErrRange) && digits(unsigned): // ErrRange may come before what is no digit
		return 0, &cause{text: "number in the file is too large: " + trimmed, errs: []error{err}}
	case err != nil:
		return 0, &cause{text: "file holds no number: " + strconv.QuoteToASCII(trimmed), errs: []error{err}}
	}
	return int(n), nil
}
