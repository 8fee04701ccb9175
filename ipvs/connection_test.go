package ipvs_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/ipvs"
)

// The lines of the kernel and what ipvsadm 1.31 made of them.
func TestConnection(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       ipvs.Connection
		listed     string
	}{
		{
			"IPv4", "TCP 0A000001 E0F2 0A000064 0007 0A000015 0007 ESTABLISHED     898",
			ipvs.Connection{
				Protocol: "TCP", Client: addr("10.0.0.1:57586"), Virtual: addr("10.0.0.100:7"), Destination: addr("10.0.0.21:7"),
				State: "ESTABLISHED", Expires: 898 * time.Second,
			},
			"TCP 14:58  ESTABLISHED 10.0.0.1:57586     10.0.0.100:7       10.0.0.21:7\n",
		},
		{
			"template", "IP  0A000000 0000 0000000A 0000 0A000015 0000 NONE            2592000",
			ipvs.Connection{
				Protocol: "IP", Client: addr("10.0.0.0:0"), Virtual: addr("0.0.0.10:0"), Destination: addr("10.0.0.21:0"),
				State: "NONE", Expires: 30 * 24 * time.Hour,
			},
			"IP  43200:00 NONE        10.0.0.0:0         0.0.0.10:0         10.0.0.21:0\n",
		},
		{
			"IPv6", "TCP fd00:0000:0000:0000:0000:0000:0000:0001 AB12 fd00:0000:0000:0000:0000:0000:0000:0100 0050 fd00:0000:0000:0000:0000:0000:0000:0021 0050 SYN_RECV         59",
			ipvs.Connection{
				Protocol: "TCP", Client: addr("[fd00::1]:43794"), Virtual: addr("[fd00::100]:80"), Destination: addr("[fd00::21]:80"),
				State: "SYN_RECV", Expires: 59 * time.Second,
			},
			"TCP 00:59  SYN_RECV    [fd00::1]:43794    [fd00::100]:80     [fd00::21]:80\n",
		},
		{
			"of both families", "TCP 0A000001 AB12 0A000064 0051 fd00:0000:0000:0000:0000:0000:0000:0001 0051 SYN_RECV         60",
			ipvs.Connection{
				Protocol: "TCP", Client: addr("10.0.0.1:43794"), Virtual: addr("10.0.0.100:81"), Destination: addr("[fd00::1]:81"),
				State: "SYN_RECV", Expires: time.Minute,
			},
			"TCP 01:00  SYN_RECV    10.0.0.1:43794     10.0.0.100:81      [fd00::1]:81\n",
		},
		{
			"with an engine", "UDP 0A000001 0000 0A000064 13C4 0A000015 13C4 NONE            359 sip 3848276298220188511@atlanta.example.com",
			ipvs.Connection{
				Protocol: "UDP", Client: addr("10.0.0.1:0"), Virtual: addr("10.0.0.100:5060"), Destination: addr("10.0.0.21:5060"),
				State: "NONE", Expires: 359 * time.Second, Engine: "sip", EngineData: "3848276298220188511@atlanta.example.com",
			},
			"UDP 05:59  NONE        10.0.0.1:0         10.0.0.100:5060    10.0.0.21:5060\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ipvs.ParseConnection(tt.line + "\n")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.listed, got.Listed(false)); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
			withEngine := strings.TrimSuffix(tt.listed, "\n")
			if tt.want.Engine != "" {
				withEngine += "   sip                3848276298220188511@atlanta.example.com"
			}
			if diff := cmp.Diff(withEngine+"\n", got.Listed(true)); diff != "" {
				t.Errorf("listed with engine (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConnectionTitles(t *testing.T) {
	const plain = "IPVS connection entries\npro expire state       source             virtual            destination"
	if diff := cmp.Diff(plain+"\n", ipvs.ConnectionTitles(false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(plain+"        pe name          pe_data\n", ipvs.ConnectionTitles(true)); diff != "" {
		t.Errorf("with engines (-want +got):\n%s", diff)
	}
}

func TestParseConnectionErrors(t *testing.T) {
	for line, want := range map[string]string{
		"": "connection of 0 words, want at least 9",
		"TCP 0A000001 E0F2 0A000064 0007 0A000015 0007 ESTABLISHED":           "connection of 8 words, want at least 9",
		"TCP A000001 E0F2 0A000064 0007 0A000015 0007 ESTABLISHED 1":          `address "A000001" of a connection: neither IPv6 nor eight hexadecimal digits`,
		"TCP 0A000001 E0F2 0A00006X 0007 0A000015 0007 ESTABLISHED 1":         `address "0A00006X" of a connection: neither IPv6 nor eight hexadecimal digits`,
		"TCP 0A000001 E0F2 0A000064 0007 0A000015 10000 ESTABLISHED 1":        `port "10000" of a connection: not four hexadecimal digits`,
		"TCP 0A000001 E0F2 0A000064 0007 0A000015 0007 ESTABLISHED -1":        `expiry "-1" of a connection: not a number of seconds`,
		"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires\n": `port "FPrt" of a connection: not four hexadecimal digits`,
	} {
		if _, err := ipvs.ParseConnection(line); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", line, err, want)
		}
	}
}

func FuzzParseConnection(f *testing.F) {
	f.Add("TCP 0A000001 E0F2 0A000064 0007 0A000015 0007 ESTABLISHED     898")
	f.Add("UDP fd00::1 0000 fd00::2 13C4 0A000015 13C4 NONE 359 sip x@y")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := ipvs.ParseConnection(line)
		if err != nil {
			return
		}
		words := strings.Fields(c.Listed(true))
		want := []string{c.Protocol, words[1], c.State, c.Client.String(), c.Virtual.String(), c.Destination.String()}
		if c.Engine != "" {
			want = append(want, c.Engine, c.EngineData)
		}
		if diff := cmp.Diff(want, words); diff != "" {
			t.Errorf("%q is listed as\n%q", line, words)
		}
	})
}
