//go:build ipvs

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
)

// hideModule keeps the kernel from loading a module until the test ends, as if it were
// not there. The virtual machine's files end with it.
func (b *bed) hideModule(name string) {
	b.t.Helper()
	if out, err := exec.Command("modprobe", "-r", name).CombinedOutput(); err != nil {
		b.t.Fatalf("modprobe -r %s: %v: %s", name, err, out)
	}
	file := filepath.Join("/etc/modprobe.d", "hadirector-"+name+".conf")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("install "+name+" /bin/false\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := os.Remove(file); err != nil {
			b.t.Error(err)
		}
	})
}
