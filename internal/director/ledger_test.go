package director

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	for _, text := range []string{"", "{", `{"services": ["-A -t nonsense -s rr"]}`, `{"services": 3}`} {
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
