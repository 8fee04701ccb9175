package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/realserver"
	"github.com/hadirector/hadirector/ipvs"
)

// runRealServer runs "hadirector realserver" in this process.
func runRealServer(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := newRealServer()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err = cmd.Execute()
	return out.String(), err
}

// Nothing is done when the state file cannot be read, and nothing is claimed.
func TestRealServerClaimsNothingAfterAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, []byte("not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"start", "stop"} {
		out, err := runRealServer(t, command, "--vip", "192.0.2.100", "--state-file", file)
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s with a broken state file: %v, want an error that names it", command, err)
		}
		if out != "" {
			t.Errorf("%s with a broken state file printed %q, want nothing", command, out)
		}
	}
}

func TestRealServerRefusesVIPs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	for vip, want := range map[string]string{
		"web":        "--vip web is not an IP address",
		"127.0.0.1":  "--vip: 127.0.0.1 cannot be a virtual address: it is a loopback address",
		"fe80::1":    "--vip: fe80::1 cannot be a virtual address: it is a link-local address",
		"224.0.0.18": "--vip: 224.0.0.18 cannot be a virtual address: it is a multicast address",
		"::":         "--vip: :: cannot be a virtual address: it is the unspecified address",
	} {
		for _, command := range []string{"start", "status"} {
			_, err := runRealServer(t, command, "--vip", "192.0.2.100", "--vip", vip, "--state-file", file)
			if err == nil || err.Error() != want {
				t.Errorf("%s --vip %s: %v, want %q", command, vip, err, want)
			}
		}
	}
}

func TestRealServerAdvice(t *testing.T) {
	ok, missing, byHand := realserver.Item{OK: true}, realserver.Item{}, realserver.Item{ByHand: true}
	const hand = "remove by hand what is on another interface or has another prefix length"
	tests := []struct {
		name  string
		items []realserver.Item
		want  string
	}{
		{"all in place", []realserver.Item{ok, ok}, ""},
		{"start helps", []realserver.Item{ok, missing, missing}, "2 of 3 not as they should be: run 'hadirector realserver start'"},
		{"start does not help", []realserver.Item{ok, byHand}, "1 of 2 not as they should be: " + hand},
		{"both", []realserver.Item{missing, byHand}, "2 of 2 not as they should be: run 'hadirector realserver start', and " + hand},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := advise(tt.items); got != tt.want {
				t.Errorf("advise = %q, want %q", got, tt.want)
			}
		})
	}
}

// A real server takes every address of its virtual servers by direct routing and tunnels:
// of lists, and those that get a firewall mark. A sorry server is one too.
func TestRealServerFindsItsAddresses(t *testing.T) {
	cfg, err := conf.Parse([]byte(`
[virtual_server.list]
address = ["10.0.0.100:80-90", "10.0.0.101:80"]
protocol = "tcp"
real_server = { a = { address = "10.0.0.21:80" }, b = { address = "10.0.0.22:80" } }
[virtual_server.mark]
fwmark = 10
mark = ["10.0.0.101:443", "10.0.0.102:443"]
protocol = "tcp"
real_server = { a = { address = "10.0.0.21:443" } }
[virtual_server.foreign]
fwmark = 11
real_server = { a = { address = "10.0.0.21:443" } }
[virtual_server.elsewhere]
address = "10.0.0.103:80"
protocol = "tcp"
real_server = { a = { address = "10.0.0.21:80", forward = "nat" }, b = { address = "10.0.0.22:80" } }
[virtual_server.tunnels]
address = "10.0.0.101:8443"
protocol = "tcp"
forward = "tun"
tunnel = "gue"
tunnel_port = 6080
real_server = { a = { address = "10.0.0.21:8443" }, b = { address = "10.0.0.22:8443" } }
[virtual_server.sorry]
address = "10.0.0.104:80"
protocol = "tcp"
real_server = { b = { address = "10.0.0.22:80" } }
sorry_server = { address = "10.0.0.21:80", forward = "tun", tunnel = "gre", tunnel_checksum = "plain" }
`), "f")
	if err != nil {
		t.Fatal(err)
	}
	own := netip.MustParseAddr("10.0.0.21")
	tunnel := func(vip string, tun realserver.Tunnel) realserver.Virtual {
		tun.Local = own
		return realserver.Virtual{Addr: netip.MustParseAddr(vip), Forward: ipvs.ForwardTunnel, Tunnel: tun}
	}
	want := append(realserver.Direct(netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("10.0.0.102")),
		tunnel("10.0.0.101", realserver.Tunnel{Type: ipvs.TunnelGUE, Port: 6080}),
		tunnel("10.0.0.104", realserver.Tunnel{Type: ipvs.TunnelGRE, Checksum: true}))
	if got := virtualsOf(cfg, []netip.Prefix{netip.PrefixFrom(own, 24)}); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestTunnelFlags(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.0.0.21/24"), netip.MustParsePrefix("10.0.0.100/32"),
		netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8::21/64"), netip.MustParsePrefix("2001:db8::22/64")}
	for _, tt := range []struct {
		flags tunnelFlags
		vips  []string
		want  string
	}{
		{tunnelFlags{}, []string{"10.0.0.100"}, "10.0.0.100 dr"},
		{tunnelFlags{tunnel: "ipip"}, []string{"10.0.0.100"}, "10.0.0.100 tun {ipip 10.0.0.21 0 false}"},
		{tunnelFlags{tunnel: "gue", port: 6080}, []string{"10.0.0.100"}, "10.0.0.100 tun {gue 10.0.0.21 6080 false}"},
		{tunnelFlags{tunnel: "gre", checksum: "plain"}, []string{"10.0.0.100", "10.0.0.101"},
			"10.0.0.100 tun {gre 10.0.0.21 0 true}, 10.0.0.101 tun {gre 10.0.0.21 0 true}"},
		{tunnelFlags{tunnel: "gre", address: "2001:db8::22"}, []string{"2001:db8::100"}, "2001:db8::100 tun {gre 2001:db8::22 0 false}"},
		{tunnelFlags{tunnel: "gre"}, []string{"2001:db8::100"},
			"at which of this machine's addresses (10.0.0.21, 10.0.0.100, 2001:db8::21, 2001:db8::22) the tunnel for 2001:db8::100 ends is not clear: choose with --address"},
		{tunnelFlags{tunnel: "gre", address: "web-1"}, []string{"10.0.0.100"}, "--address web-1 is not an IP address"},
		{tunnelFlags{tunnel: "gra"}, []string{"10.0.0.100"}, "--tunnel gra: not one of ipip, gue, gre"},
		{tunnelFlags{tunnel: "gue"}, []string{"10.0.0.100"}, "--tunnel gue needs --tunnel-port, such as 6080"},
		{tunnelFlags{tunnel: "gre", port: 6080}, []string{"10.0.0.100"}, "--tunnel-port has no meaning with --tunnel gre: only gue has a port"},
		{tunnelFlags{tunnel: "gre", checksum: "remote"}, []string{"10.0.0.100"}, "--tunnel-checksum remote: not one of none, plain"},
		{tunnelFlags{tunnel: "ipip", checksum: "none"}, []string{"10.0.0.100"},
			"--tunnel-checksum has no meaning with --tunnel ipip: only the end of a gre tunnel has to know of it"},
		{tunnelFlags{port: 6080}, []string{"10.0.0.100"}, "--tunnel-port, --tunnel-checksum and --address have no meaning without --tunnel"},
		{tunnelFlags{tunnel: "gre"}, nil, "--tunnel, --tunnel-port, --tunnel-checksum and --address are for the addresses of --vip; the configuration has its own"},
	} {
		got, err := "", tt.flags.check(len(tt.vips) > 0)
		if err == nil {
			var vips []netip.Addr
			for _, vip := range tt.vips {
				vips = append(vips, netip.MustParseAddr(vip))
			}
			var list []realserver.Virtual
			list, err = tt.flags.virtuals(vips, local)
			var texts []string
			for _, v := range list {
				text := fmt.Sprintf("%v %v", v.Addr, v.Forward)
				if v.Forward == ipvs.ForwardTunnel {
					text += fmt.Sprintf(" %v", v.Tunnel)
				}
				texts = append(texts, text)
			}
			got = strings.Join(texts, ", ")
		}
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v %v:\ngot  %s\nwant %s", tt.flags, tt.vips, got, tt.want)
		}
	}
}
