//go:build integration

package realserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/internal/sysctl"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	os.Exit(m.Run())
}

func TestStartAndStopInANamespace(t *testing.T) {
	self := netnstest.Self()
	// What the operator has put there is there afterwards.
	self.Sysctl(t, "net/ipv4/conf/all/arp_announce", "1")
	self.IP(t, "addr add 10.0.0.101/32 dev lo")
	t.Cleanup(func() {
		self.Sysctl(t, "net/ipv4/conf/all/arp_announce", "0")
		self.IP(t, "addr del 10.0.0.101/32 dev lo")
	})
	before, err := thisMachine{}.facts()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{StateFile: filepath.Join(t.TempDir(), "realserver.json")}
	vips := Direct(addrs("10.0.0.100", "10.0.0.101", "2001:db8::100")...)

	for range 2 {
		if _, err := Start(vips, o); err != nil {
			t.Fatal(err)
		}
		items, err := Status(vips, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			if !i.OK {
				t.Error(i)
			}
		}
	}
	shown := self.IP(t, "addr show dev lo") + self.IP(t, "route show dev lo")
	for _, want := range []string{"inet 10.0.0.100/32 ", "inet6 2001:db8::100/128 ", "10.0.0.100 scope link", "10.0.0.101 scope link"} {
		if !strings.Contains(shown, want) {
			t.Errorf("ip does not show %q:\n%s", want, shown)
		}
	}
	if v, err := sysctl.Get("net/ipv4/conf/all/arp_announce"); v != "2" {
		t.Errorf("arp_announce = %q, %v, want 2", v, err)
	}

	// Without 10.0.0.100 and the IPv6 address, which start had added.
	if _, err := Start(Direct(addrs("10.0.0.101")...), o); err != nil {
		t.Fatal(err)
	}
	shown = self.IP(t, "addr show dev lo") + self.IP(t, "route show dev lo")
	for _, gone := range []string{"10.0.0.100", "2001:db8::100"} {
		if strings.Contains(shown, gone) {
			t.Errorf("ip still shows %q after a start without it:\n%s", gone, shown)
		}
	}
	if !strings.Contains(shown, "inet 10.0.0.101/32 ") {
		t.Errorf("ip does not show the address that is still wanted:\n%s", shown)
	}

	for range 2 {
		if _, err := Stop(o); err != nil {
			t.Fatal(err)
		}
	}
	after, err := thisMachine{}.facts()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after, compareFacts); diff != "" {
		t.Errorf("after stop the machine is different (-before +after):\n%s", diff)
	}
}

// What it is all for: the machine takes packets for the virtual address and says
// nothing about it by ARP.
func TestAStartedMachineDoesNotAnswerARP(t *testing.T) {
	self, client := netnstest.Self(), netnstest.New(t, "client")
	netnstest.Cable(t, self, "eth0", client, "eth0")
	self.IP(t, "addr add 10.0.0.21/24 dev eth0")
	client.IP(t, "addr add 10.0.0.9/24 dev eth0")
	o := Options{StateFile: filepath.Join(t.TempDir(), "realserver.json")}
	if _, err := Start(Direct(addrs("10.0.0.100")...), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := Stop(o); err != nil {
			t.Error(err)
		}
	})

	client.Run(t, "ping", "-c1", "-W2", "10.0.0.21")
	var out string
	client.Do(func() { out = pingOnce("10.0.0.100") })
	if !strings.Contains(out, "100% packet loss") {
		t.Errorf("the client found out by ARP where the virtual address is:\n%s", out)
	}
	// As from the director: by the real server's Ethernet address.
	mac := fieldAfter(self.IP(t, "link show eth0"), "link/ether")
	client.IP(t, "neigh replace 10.0.0.100 lladdr "+mac+" dev eth0")
	client.Run(t, "ping", "-c1", "-W2", "10.0.0.100")
}

// pingOnce returns what ping prints; that it fails is what the caller wants to see.
func pingOnce(addr string) string {
	out, _ := exec.Command("ping", "-c1", "-W1", addr).CombinedOutput()
	return string(out)
}

func fieldAfter(out, word string) string {
	fields := strings.Fields(out)
	if i := slices.Index(fields, word); i >= 0 && i+1 < len(fields) {
		return fields[i+1]
	}
	return ""
}
