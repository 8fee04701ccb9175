package ipvsnl

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

const procHead = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"

// procText is what a kernel shows: in a line of an IPv4 address two spaces follow the
// scheduler.
const procText = procHead + `TCP  0A000064:0050 rr  
  -> 0A000015:0050      Route   1      3          7         
  -> 0A000016:0050      Masq    70000  0          0         
UDP  0A000064:0035 wrr ops  
SCTP  [fd00:0000:0000:0000:0000:0000:0000:0100]:0050 sh 
  -> [fd00:0000:0000:0000:0000:0000:0000:0021]:1F90      Masq    0      0          2         
FWM  0000000B rr 
  -> 0A000015:0000      Local   1      0          0         
TCP  0A000065:0000 mh  persistent 360 FFFFFF00
`

func TestParseProc(t *testing.T) {
	shown, err := parseProc([]byte(procText))
	if err != nil {
		t.Fatal(err)
	}
	table := ipvs.Table{}
	counts := ipvs.Observed{}
	for _, g := range shown {
		table[g.key] = ipvs.Entry{Service: ipvs.Service{Key: g.key, Scheduler: "?"}, Destinations: g.destinations}
		counts[g.key] = g.counts
	}
	delete(table, ipvs.ServiceKey{}) // the firewall mark's
	if diff := cmp.Diff(`-A -t 10.0.0.100:80 -s ?
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -m -w 70000
-A -t 10.0.0.101:0 -s ?
-A -u 10.0.0.100:53 -s ?
-A --sctp-service [fd00::100]:80 -s ?
-a --sctp-service [fd00::100]:80 -r [fd00::21]:8080 -m -w 0
`, table.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	key := ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:80"))
	if got, want := counts[key][netip.MustParseAddrPort("10.0.0.21:80")], (ipvs.Connections{Active: 3, Inactive: 7}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestProcShows(t *testing.T) {
	const entry = "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -m -w 70000\n"
	shown, err := parseProc([]byte(procText))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text string
		want bool
	}{
		{entry, true},
		{strings.Replace(entry, "-w 1\n", "-w 1 -x 10 -y 5\n", 1), true}, // it does not show thresholds
		{strings.Replace(entry, "-w 1\n", "-w 2\n", 1), false},
		{strings.Replace(entry, "-g", "-i", 1), false},
		{strings.Replace(entry, "10.0.0.21:80", "10.0.0.29:80", 1), false},
		{strings.Replace(entry, "-s rr", "-s wrr", 1), false},
		{strings.Replace(entry, "-s rr", "-s rr -p 300", 1), false},
		{entry + "-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 1\n", false},
		{"-A -u 10.0.0.100:53 -s wrr -o", true},
		{"-A -u 10.0.0.100:53 -s wrr", false},
		{"-A --sctp-service [fd00::100]:80 -s sh\n-a --sctp-service [fd00::100]:80 -r [fd00::21]:8080 -m -w 0", true},
		{"-A -t 10.0.0.101:0 -s mh -p 360 -M 255.255.255.0", false}, // without the number of persistent clients
	} {
		table, err := ipvs.ParseSave(strings.NewReader(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		for key, e := range table {
			for _, g := range shown {
				if g.key == key && g.shows(e) != tt.want {
					t.Errorf("shown as %q: %v, want %v of\n%s", g.head, !tt.want, tt.want, table)
				}
			}
		}
	}
}

func TestParseProcMistakes(t *testing.T) {
	for _, line := range []string{
		"  -> 0A000015:0050      Route   1      3          7", "TCP", "ICMP  0A000064:0050 rr", "TCP  0A000064 rr", "TCP  0A00006:0050 rr",
		"TCP  0A000064:0050 rr\n  -> 0A000015:0050      Bypass  1      3          7", "TCP  0A000064:0050 rr\n  -> 0A000015:0050      Route   x      3          7",
		"TCP  0A000064:0050 rr\n  -> 0A000015:0050      Route   1      3", "TCP  [fd00]:0050 rr", "TCP  0A000064:00500 rr",
	} {
		if list, err := parseProc([]byte(procHead + line + "\n")); err == nil {
			t.Errorf("%q: no error, %+v", line, list)
		}
	}
}

func FuzzParseProc(f *testing.F) {
	f.Add([]byte(procText))
	f.Fuzz(func(_ *testing.T, text []byte) {
		list, _ := parseProc(text)
		for _, g := range list {
			g.shows(ipvs.Entry{})
		}
	})
}
