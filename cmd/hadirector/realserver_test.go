package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/realserver"
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

// A real server takes every address of its virtual servers by direct routing: of lists, and
// those that get a firewall mark.
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
`), "f")
	if err != nil {
		t.Fatal(err)
	}
	got := directRoutes(cfg, []netip.Prefix{netip.MustParsePrefix("10.0.0.21/24")})
	if text := fmt.Sprint(got); text != "[10.0.0.100 10.0.0.101 10.0.0.102]" {
		t.Errorf("got %s", text)
	}
}
