package netnstest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Cable connects two namespaces by a veth pair and returns when both ends carry
// frames. It is taken away at the end of the test.
func Cable(t testing.TB, a *NS, aIf string, b *NS, bIf string) {
	t.Helper()
	a.IP(t, fmt.Sprintf("link add %s type veth peer name %s netns %s", aIf, bIf, b.path))
	a.IP(t, "link set "+aIf+" up")
	b.IP(t, "link set "+bIf+" up")
	a.AwaitUp(t, aIf)
	b.AwaitUp(t, bIf)
	// A namespace from New takes its links with it, the process's own does not.
	switch {
	case a.run == nil:
		t.Cleanup(func() { removeLink(a, aIf) })
	case b.run == nil:
		t.Cleanup(func() { removeLink(b, bIf) })
	}
}

// AwaitUp waits until an interface carries frames. The kernel attaches the queue a
// moment after the link has come up, and drops without a word what is sent before.
func (ns *NS) AwaitUp(t testing.TB, ifname string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		out := ns.IP(t, "link show dev "+ifname)
		if strings.Contains(out, "LOWER_UP") && strings.Contains(out, "state UP") && !strings.Contains(out, "qdisc noop ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s does not come up:\n%s", ns.name, ifname, out)
		}
	}
}

// removeLink deletes a link that the test may have deleted already.
func removeLink(ns *NS, ifname string) {
	ns.Do(func() { _ = exec.Command("ip", "link", "del", ifname).Run() })
}

// Switch is a bridge in a namespace of its own.
type Switch struct {
	ns    *NS
	ports int
}

// NewSwitch makes a switch without ports.
func NewSwitch(t testing.TB) *Switch {
	t.Helper()
	s := &Switch{ns: New(t, "switch")}
	s.ns.IP(t, "link add br0 type bridge forward_delay 0 mcast_snooping 0")
	s.ns.IP(t, "link set br0 up")
	return s
}

// Port is where a namespace is plugged in.
type Port struct {
	sw   *Switch
	name string
}

// Connect plugs a namespace in, by an interface with the given name and addresses.
func (s *Switch) Connect(t testing.TB, ns *NS, ifname string, addrs ...string) Port {
	t.Helper()
	s.ports++
	port := fmt.Sprintf("port%d", s.ports)
	Cable(t, ns, ifname, s.ns, port)
	s.ns.IP(t, "link set "+port+" master br0")
	for _, a := range addrs {
		ns.IP(t, "addr add "+a+" dev "+ifname)
	}
	return Port{s, port}
}

// Unplug takes the port down: the other end loses its carrier.
func (p Port) Unplug(t testing.TB) {
	t.Helper()
	p.sw.ns.IP(t, "link set "+p.name+" down")
}

// Plug takes it up again.
func (p Port) Plug(t testing.TB) {
	t.Helper()
	p.sw.ns.IP(t, "link set "+p.name+" up")
}
