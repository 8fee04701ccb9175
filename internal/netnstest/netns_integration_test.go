//go:build integration

package netnstest

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Enter()
	os.Exit(m.Run())
}

func TestEnteredNamespaceHasOnlyLoopback(t *testing.T) {
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		// The kernel's fallback tunnels appear in every new namespace, down.
		if l.Name != "lo" && l.Flags&net.FlagUp != 0 {
			t.Errorf("interface %s is up in a namespace that should be empty", l.Name)
		}
	}
}

func TestSwitchCarriesTrafficBetweenNamespaces(t *testing.T) {
	sw := NewSwitch(t)
	a, b := New(t, "a"), New(t, "b")
	sw.Connect(t, a, "eth0", "10.0.0.1/24")
	port := sw.Connect(t, b, "eth0", "10.0.0.2/24")
	sw.Connect(t, Self(), "eth7", "10.0.0.3/24")

	a.Run(t, "ping", "-c1", "-W2", "10.0.0.2")
	Self().Run(t, "ping", "-c1", "-W2", "10.0.0.2")

	port.Unplug(t)
	if out := b.IP(t, "link show eth0"); !strings.Contains(out, "NO-CARRIER") {
		t.Errorf("after Unplug the other end still has carrier:\n%s", out)
	}
	port.Plug(t)
	if out := b.IP(t, "link show eth0"); strings.Contains(out, "NO-CARRIER") {
		t.Errorf("after Plug the other end has no carrier:\n%s", out)
	}
}

func TestCleanupRemovesTheProcessesEnd(t *testing.T) {
	t.Run("cable", func(t *testing.T) { Cable(t, New(t, "far"), "far0", Self(), "near0") })
	if _, err := net.InterfaceByName("near0"); err == nil {
		t.Error("near0 is still there after the test that made it")
	}
}

func TestSocketStaysInTheNamespaceThatOpenedIt(t *testing.T) {
	ns := New(t, "a")
	ns.IP(t, "addr add 10.9.9.9/32 dev lo")
	var l net.Listener
	var err error
	ns.Do(func() { l, err = net.Listen("tcp", "10.9.9.9:0") })
	if err != nil {
		t.Fatalf("listen on an address that only the namespace has: %v", err)
	}
	defer l.Close()
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener answers outside of its namespace")
	}
}

func TestStopEndsACommand(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	New(t, "a").Start(t, cmd)
	Stop(cmd)
	Stop(cmd)
	if cmd.ProcessState == nil {
		t.Error("the command still runs after Stop")
	}
}
