//go:build ipvs

package cluster

import (
	"os/exec"
	"testing"
)

// The lab is worth nothing on a kernel without IPVS, so it says so first.
func TestKernelHasIPVS(t *testing.T) {
	out, err := exec.Command("ipvsadm", "-Sn").CombinedOutput()
	if err != nil {
		t.Fatalf("ipvsadm -Sn: %v\n%s", err, out)
	}
}
