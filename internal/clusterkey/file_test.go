package clusterkey

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, mode fs.FileMode) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string // the error, PATH for the path; empty: ordered
	}{
		{"mode 0600", write(ordered, 0o600), ""},
		{"mode 0400", write(ordered, 0o400), ""},
		{"a link to a good file", func(t *testing.T, path string) {
			write(ordered, 0o600)(t, path+".target")
			if err := os.Symlink(path+".target", path); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"missing", func(*testing.T, string) {},
			`cluster key PATH does not exist: make one with "hadirector keygen" and put the same file on every director: file does not exist`},
		{"group may read", write(ordered, 0o640),
			"cluster key PATH may be used by others (mode 0640): chmod 600 PATH, and make a new key if they may have read it"},
		{"world may read", write(ordered, 0o604),
			"cluster key PATH may be used by others (mode 0604): chmod 600 PATH, and make a new key if they may have read it"},
		{"group may write", write(ordered, 0o620),
			"cluster key PATH may be used by others (mode 0620): chmod 600 PATH, and make a new key if they may have read it"},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "cluster key PATH is not a regular file but a directory"},
		{"named pipe without writer", func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "cluster key PATH is not a regular file but a named pipe"},
		{"empty", write("", 0o600), "cluster key PATH: holds no key"},
		{"wrong length", write("hadirector-key-v1:AAECAw==\n", 0o600), "cluster key PATH: line 1: the key has 4 bytes, want 32"},
		{"huge", write(strings.Repeat("#\n", 2049), 0o600), "cluster key PATH is larger than 4096 bytes: it is no key file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-"))
			tt.make(t, path)
			k, err := Load(path)
			if tt.want != "" {
				want := strings.ReplaceAll(tt.want, "PATH", path)
				if err == nil || err.Error() != want {
					t.Fatalf("error\n%v, want\n%s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(k) != 1 || k[0].Text() != ordered {
				t.Error("another key than the file's")
			}
		})
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file's error does not match fs.ErrNotExist: %v", err)
	}
}

func TestCheckFileOwner(t *testing.T) {
	for _, tt := range []struct {
		name        string
		owner, euid int
		want        string
	}{
		{"root's, read by root", 0, 0, ""},
		{"root's, read by another", 0, 1000, ""},
		{"our own", 1000, 1000, ""},
		{"another's, read by root", 1000, 0, "cluster key /k belongs to user 1000: chown root /k"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checkFile("/k", 0o600, tt.owner, tt.euid)
			if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.key")
	// A generous umask must not make the key readable.
	old := syscall.Umask(0)
	k, err := WriteNew(path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want -rw-------", info.Mode())
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !got[0].Equal(k) {
		t.Error("the file holds another key than was returned")
	}

	if _, err := WriteNew(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second key over the first: error %v, want fs.ErrExist", err)
	}
	if again, err := Load(path); err != nil || !again[0].Equal(k) {
		t.Errorf("the existing key did not survive: %v", err)
	}

	missing := filepath.Join(t.TempDir(), "no", "cluster.key")
	if _, err := WriteNew(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a directory that is not there: error %v, want fs.ErrNotExist", err)
	}
}

func TestRotateAndRetire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.key")
	first, err := WriteNew(path)
	if err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Retire(path); err == nil || err.Error() != "cluster key "+path+" holds one key: there is none to be taken out" {
		t.Errorf("the only key is taken out: %v", err)
	}
	both, err := Rotate(link)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || len(got) != 2 || !got[0].Equal(both[0]) || !got[1].Equal(first) || got[0].Equal(first) {
		t.Fatalf("after the rotation: %v, %v; want a new key before the old one", got.IDs(), err)
	}
	if _, err := Rotate(path); err == nil || !strings.Contains(err.Error(), "holds two keys already") {
		t.Errorf("rotated twice: %v", err)
	}
	if _, err := Retire(link); err != nil {
		t.Fatal(err)
	}
	got, err = Load(path)
	if err != nil || len(got) != 1 || !got[0].Equal(both[0]) {
		t.Errorf("in the end: %v, %v; want the new key alone", got.IDs(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link was replaced: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
