package probe

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// tlsFiles are the files that a check needs for TLS, empty for none.
type tlsFiles struct{ ca, certificate, key string }

// tlsMaterial is what is in them. It does not change.
type tlsMaterial struct {
	roots        *x509.CertPool // nil: the system's
	certificates []tls.Certificate
	stamps       [3]stamp
}

// tlsStore keeps the material that all checks share: thousands of them name the same
// bundle of authorities, and each would need hundreds of kilobytes for it. An entry
// stays, for there are as many as files in the configurations since the start. The zero
// value is ready.
type tlsStore struct {
	mu      sync.Mutex // guards entries
	entries map[tlsFiles]*tlsMaterial
}

// load returns what is in the files, read anew if one of them has changed. Its errors
// are the director's own trouble.
func (s *tlsStore) load(files tlsFiles) (*tlsMaterial, error) {
	var stamps [3]stamp
	for i, path := range []string{files.ca, files.certificate, files.key} {
		if path == "" {
			continue
		}
		var err error
		if stamps[i], err = stampOf(path); err != nil {
			return nil, notReadable(path, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.entries[files]; m != nil && m.stamps == stamps {
		return m, nil
	}
	// The stamps are from before the reading: what changes meanwhile is read again.
	m, err := readMaterial(files)
	if err != nil {
		return nil, err
	}
	m.stamps = stamps
	if s.entries == nil {
		s.entries = make(map[tlsFiles]*tlsMaterial)
	}
	s.entries[files] = m
	return m, nil
}

func readMaterial(files tlsFiles) (*tlsMaterial, error) {
	m := &tlsMaterial{}
	if files.ca != "" {
		text, err := readPEM(files.ca)
		if err != nil {
			return nil, err
		}
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(text) {
			return nil, notAsked(nil, "%s holds no certificate in PEM form", files.ca)
		}
	}
	if files.certificate != "" {
		certificate, err := readPEM(files.certificate)
		if err != nil {
			return nil, err
		}
		key, err := readPEM(files.key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, notAsked(err, "client certificate %s: %s", files.certificate, tlsText(err))
		}
		m.certificates = []tls.Certificate{pair}
	}
	return m, nil
}

// maxPEM is the longest file that is read. The system's bundle has 220 kB.
const maxPEM = 4 << 20

func readPEM(path string) ([]byte, error) {
	// Should it have become a pipe, the open does not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, notReadable(path, err)
	}
	defer f.Close()
	// To read from a pipe would wait for its writer, and all checks with TLS with it.
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, notReadable(path, cmp.Or(err, errNotRegular))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	switch {
	case err != nil:
		return nil, notReadable(path, err)
	case len(text) > maxPEM:
		return nil, notAsked(nil, "%s is longer than %d MiB", path, maxPEM>>20)
	}
	return text, nil
}

// stamp tells a file from the one that was at its place before.
type stamp struct {
	device, inode uint64
	size          int64
	modified      time.Time
	changed       syscall.Timespec
}

var errNotRegular = errors.New("not a regular file")

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, errNotRegular
	}
	st := info.Sys().(*syscall.Stat_t)
	return stamp{uint64(st.Dev), st.Ino, st.Size, info.ModTime(), st.Ctim}, nil
}

// notReadable is the cause when a file of the director's cannot be read.
func notReadable(path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if text, ok := ownTrouble[errno]; ok {
			return &cause{text: text, errs: []error{healthcheck.ErrNotAsked, err}}
		}
		return notAsked(err, "%s cannot be read: %v", path, errno)
	}
	return notAsked(err, "%s cannot be read: %v", path, err)
}

// notAsked is the cause when the director's own trouble kept it from asking.
func notAsked(err error, format string, args ...any) error {
	c := &cause{text: "not asked: " + fmt.Sprintf(format, args...), errs: []error{healthcheck.ErrNotAsked}}
	if err != nil {
		c.errs = append(c.errs, err)
	}
	return c
}
