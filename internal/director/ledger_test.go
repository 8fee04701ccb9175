package director

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/ipvs"
)

func TestFileLedgerKeepsWhatWasSaved(t *testing.T) {
	l := FileLedger{Path: filepath.Join(t.TempDir(), "owned.json")}
	want := Owned{Services: make(map[ipvs.ServiceKey]bool), SyncDaemons: true}
	for key := range table(t, "-A -t 10.0.0.100:80 -s wrr\n-A -u [2001:db8::1]:53 -s rr\n-A -f 7 -s rr\n-A -f 4294967295 -6 -s rr\n-A --sctp-service 10.0.0.100:2905 -s rr\n-A -t 10.0.0.101:0 -s rr -p 60\n") {
		want.Services[key] = true
	}
	if err := l.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(ipvs.ServiceKey{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	files, err := os.ReadDir(filepath.Dir(l.Path))
	if err != nil || len(files) != 1 {
		t.Errorf("files %v (%v), want the ledger alone", files, err)
	}
}

func TestFileLedgerWithoutFileIsEmpty(t *testing.T) {
	got, err := FileLedger{Path: filepath.Join(t.TempDir(), "owned.json")}.Load()
	if err != nil || len(got.Services) != 0 || got.SyncDaemons {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFileLedgerNamesADamagedFile(t *testing.T) {
	for _, text := range []string{"", "{", `{"services": ["-A -t nonsense -s rr"]}`, `{"services": 3}`,
		`{"services": ["-A -t 10.0.0.100:80 -s rr"], "leaving": [{"rules": ["-a -t nonsense"]}]}`,
		`{"services": ["-A -t 10.0.0.100:80 -s rr"], "leaving": [{"rules": ["-A -t 10.0.0.100:80 -s rr"]}]}`} {
		path := filepath.Join(t.TempDir(), "owned.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := FileLedger{Path: path}.Load()
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v, want one that names the file", text, err)
		}
		if len(got.Services) != 0 {
			t.Errorf("%q: owns %v", text, got.Services)
		}
	}
}

// What leaves is found again as it is in the table, whatever kind of service it is of.
func TestFileLedgerKeepsWhatLeaves(t *testing.T) {
	l := FileLedger{Path: filepath.Join(t.TempDir(), "owned.json")}
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := make(map[identity]Leaving)
	for i, rules := range []string{
		"-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0\n",
		"-A -u [2001:db8::1]:53 -s sh -b sh-port,sh-fallback\n-a -u [2001:db8::1]:53 -r [2001:db8::2]:5353 -m -w 0\n",
		"-A -f 7 -s rr\n-a -f 7 -r 10.0.0.22:0 -i -w 0\n",
		"-A -f 7 -6 -s rr\n-a -f 7 -6 -r [2001:db8::2]:0 -g -w 0\n",
		"-A -t 10.0.0.101:0 -s wlc -p 60 -M 255.255.255.0\n-a -t 10.0.0.101:0 -r 10.0.0.22:0 -g -w 0 -x 100 -y 50\n",
		"-A -u 10.0.0.101:5060 -s rr -p 60 --pe sip -o\n-a -u 10.0.0.101:5060 -r 10.0.0.22:5060 -i -w 0 --tun-type gue --tun-port 6080 --tun-nocsum\n",
	} {
		for _, e := range table(t, rules) {
			for _, d := range e.Destinations {
				one := Leaving{Server: ServerID{"web", fmt.Sprint(i)}, Service: e.Service, Destination: d, Since: since, Until: since.Add(time.Minute)}
				if i%2 == 0 {
					one.Translation = &ipvs.Translation{Service: e.Service.Key, Server: d.Key, Source: netip.MustParseAddr("10.0.0.11")}
				}
				want[one.identity()] = one
			}
		}
	}
	if len(want) != 6 {
		t.Fatalf("%d are to be kept", len(want))
	}
	if err := l.Save(Owned{Leaving: want}); err != nil {
		t.Fatal(err)
	}
	got, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Leaving, cmp.AllowUnexported(identity{}), cmpopts.EquateComparable(ipvs.ServiceKey{}, ipvs.DestinationKey{}, netip.Addr{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
