//go:build integration

package netif

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
)

var privateLink = PrivateLink{Name: "hasync0", Peer: "hasync1", Alias: "hadirector: connection sync", Address: netip.MustParsePrefix("169.254.88.49/32")}

// ensured is Ensure with what the kernel then says of the link. The same once more must
// find nothing to do.
func ensured(t *testing.T) PrivateState {
	t.Helper()
	s, err := privateLink.Ensure()
	must(t, err)
	again, err := privateLink.Ensure()
	must(t, err)
	if again.Made || again.Index != s.Index || again.Mended != nil {
		t.Errorf("the same once more: %+v", again)
	}
	show := netnstest.Self().IP(t, "address show dev hasync0")
	for _, want := range []string{"NOARP", "MULTICAST", ",UP", "inet 169.254.88.49/32 scope global hasync0"} {
		if !strings.Contains(show, want) {
			t.Errorf("no %s in\n%s", want, show)
		}
	}
	if strings.Contains(show, "inet6") {
		t.Errorf("IPv6 addresses in\n%s", show)
	}
	return s
}

func TestPrivateLinkComesStaysAndGoes(t *testing.T) {
	ns := netnstest.Self()
	t.Cleanup(func() { must(t, privateLink.Delete()) })
	first := ensured(t)
	if !first.Made || first.Mended != nil || first.Index != indexOfLink(t, "hasync0") {
		t.Errorf("the first time: %+v", first)
	}
	if way, ok, err := WayTo(netip.MustParseAddr("169.254.88.50"), netip.Addr{}); ok || err != nil {
		t.Errorf("a way to its network: %+v, %v", way, err)
	}

	ns.IP(t, "address flush dev hasync0")
	ns.IP(t, "link set hasync0 down multicast off arp on mtu 1400")
	ns.Sysctl(t, "net/ipv6/conf/hasync0/disable_ipv6", "0")
	mended := ensured(t)
	want := []string{"mtu", "arp off", "multicast on", "net.ipv6.conf.hasync0.disable_ipv6", "address 169.254.88.49/32", "up"}
	if mended.Made || mended.Index != first.Index {
		t.Errorf("after changes: %+v", mended)
	}
	if d := cmp.Diff(want, mended.Mended); d != "" {
		t.Errorf("mended (-want +got):\n%s", d)
	}

	ns.IP(t, "link del hasync0")
	if s := ensured(t); !s.Made || s.Index == first.Index {
		t.Errorf("after it was deleted: %+v", s)
	}
	must(t, privateLink.Delete())
	if linkIndex("hasync0") != 0 || linkIndex("hasync1") != 0 {
		t.Error("the link is left behind")
	}
	must(t, privateLink.Delete()) // once more is no error
}

func TestPrivateLinkLeavesOthersAlone(t *testing.T) {
	ns := netnstest.Self()
	ns.IP(t, "link add hasync0 type veth peer name other0")
	ns.IP(t, "link set hasync0 up")
	t.Cleanup(func() { ns.IP(t, "link del hasync0") })
	const leftAlone = "hasync0: another link has this name, a veth link: delete or rename it"
	if _, err := privateLink.Ensure(); err == nil || !strings.HasSuffix(err.Error(), leftAlone) {
		t.Errorf("Ensure: %v", err)
	}
	if err := privateLink.Delete(); err == nil || !strings.HasSuffix(err.Error(), leftAlone) {
		t.Errorf("Delete: %v", err)
	}
	ns.IP(t, "link set hasync0 alias lab")
	if _, err := privateLink.Ensure(); err == nil || !strings.Contains(err.Error(), `a veth link with the alias "lab"`) {
		t.Errorf("Ensure: %v", err)
	}
}
