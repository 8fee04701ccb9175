package clusterkey

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/hadirector/hadirector/internal/atomicfile"
)

// Rotate puts a new key before the one in a key file, which is still accepted. It returns
// both. A file that holds two keys already is left as it is: directors may still use
// either.
func Rotate(path string) (Keys, error) {
	ks, err := Load(path)
	if err != nil {
		return nil, err
	}
	if len(ks) == maxKeys {
		return nil, fmt.Errorf("cluster key %s holds two keys already, from a rotation that is not finished: "+
			"\"hadirector keygen --retire %s\" takes the old one out, when every director has this file", path, path)
	}
	ks = Keys{Generate(), ks[0]}
	return ks, ks.write(path)
}

// Retire takes the old key out of a key file that holds two. It returns both, the new one
// first.
func Retire(path string) (Keys, error) {
	ks, err := Load(path)
	if err != nil {
		return nil, err
	}
	if len(ks) != maxKeys {
		return nil, fmt.Errorf("cluster key %s holds one key: there is none to be taken out", path)
	}
	return ks, ks[:1].write(path)
}

func (ks Keys) write(path string) error {
	path, err := filepath.EvalSymlinks(path) // the file is replaced, not a link to it
	if err != nil {
		return fmt.Errorf("cluster key: %w", err)
	}
	if err := atomicfile.Write(path, []byte(ks.Text()), fs.FileMode(0o600)); err != nil {
		return fmt.Errorf("cluster key: %w", err)
	}
	return nil
}
