package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/conf"
)

func TestTheInterfaceForConnectionSync(t *testing.T) {
	const text = `
[director.lb-a]
address = "10.0.0.11"
sync_addresses = ["10.1.0.11", "10.0.0.11"]
[director.lb-b]
address = "10.0.0.12"
sync_addresses = ["10.1.0.12", "10.0.0.12"]
[sync]
interface = "eth1"
key_file = "/k"
`
	holding := func(first string) map[string][]netip.Prefix {
		return map[string][]netip.Prefix{
			"lo": {netip.MustParsePrefix("127.0.0.1/8")}, "eth0": {netip.MustParsePrefix("10.0.0.11/24")}, first: {netip.MustParsePrefix("10.1.0.11/24")},
		}
	}
	for _, tt := range []struct {
		name, text, self string
		interfaces       map[string][]netip.Prefix
		want             string
	}{
		{"it holds the address", text, "lb-a", holding("eth1"), ""},
		{"another one does", text, "lb-a", holding("eth2"), "10.1.0.11 of director lb-a is on eth2, not on eth1"},
		{"none does", text, "lb-b", holding("eth1"), "10.1.0.12 of director lb-b is not on eth1 now, nor on any other interface"},
		{"any may", strings.Replace(text, "interface = \"eth1\"\n", "", 1), "lb-a", holding("eth2"), ""},
		{"for the kernel's daemons", strings.Replace(strings.ReplaceAll(text, "sync_addresses", "#"), "[sync]", "[sync]\nmode = \"kernel\"", 1), "lb-a", holding("eth2"), ""},
		{"without a director", "[sync]\ninterface = \"eth1\"\n", "", holding("eth2"), ""},
	} {
		cfg, err := conf.Parse([]byte(tt.text), "ha.toml")
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := ""
		if err := syncInterface(cfg, tt.self, tt.interfaces); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
