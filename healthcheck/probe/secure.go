package probe

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// secure returns the path that a script has without symbolic links, if nobody but root
// can change what is run there: the file and every directory on the way belong to root
// and only root can write them. A directory with the sticky bit protects root's entries.
func secure(path string) (string, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", &cause{text: fmt.Sprintf("cannot run %s as root: %v", path, innermostPath(err)), errs: []error{err}}
	}
	insecure := func(name string) (string, error) {
		return "", &cause{text: fmt.Sprintf("not run as root: others than root can write %s", name)}
	}
	name := "/"
	for _, part := range strings.Split(resolved, "/") {
		name = filepath.Join(name, part)
		info, err := os.Lstat(name)
		if err != nil {
			return "", &cause{text: fmt.Sprintf("cannot run %s as root: %v", path, innermostPath(err)), errs: []error{err}}
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0
		if !ok || stat.Uid != 0 || info.Mode().Perm()&0o022 != 0 && !sticky {
			return insecure(name)
		}
	}
	return resolved, nil
}

// innermostPath is an error of the file system without the path that it is about.
func innermostPath(err error) error {
	if pathErr, ok := err.(*fs.PathError); ok {
		return pathErr.Err
	}
	return err
}
