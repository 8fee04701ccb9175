package bench

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	const text = "4711 (a ) b) S 1 4711 4711 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000"
	got, err := parseStat(text)
	want := usage{pid: 4711, name: "a ) b", cpu: 3 * time.Second}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(usage{})); err != nil || diff != "" {
		t.Errorf("parseStat: %v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"", "4711", "4711 (x", "4711 (x) S 1", "x (x) S 1 4711 4711 0 -1 4194560 100 0 0 0 250 50"} {
		if _, err := parseStat(text); err == nil {
			t.Errorf("parseStat(%q): no error", text)
		}
	}
}

func TestParseSmaps(t *testing.T) {
	const text = "55d0-7ffe ---p 00000000 00:00 0                          [rollup]\n" +
		"Rss:                1880 kB\nPss:                 239 kB\nPss_Dirty:            92 kB\n"
	resident, share, err := parseSmaps(text)
	if resident != 1925120 || share != 244736 || err != nil {
		t.Errorf("parseSmaps = %d, %d, %v; want 1925120, 244736, nil", resident, share, err)
	}
	for _, text := range []string{"", "Rss: 1880 kB\n", "Rss: much kB\n"} {
		if _, _, err := parseSmaps(text); err == nil {
			t.Errorf("parseSmaps(%q): no error", text)
		}
	}
}

func TestUsagesFindsChildren(t *testing.T) {
	// The shell's only child reads a pipe until the test closes it.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "cat <&3 & echo; wait")
	cmd.ExtraFiles = []*os.File{r}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil { // the child has been started
		t.Fatal(err)
	}
	list, err := usages(cmd.Process.Pid)
	if err != nil || len(list) != 2 || list[0].pid != cmd.Process.Pid || list[1].share == 0 {
		t.Errorf("usages = %+v, %v; want the shell and its child", list, err)
	}
	w.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSince(t *testing.T) {
	a, b := usage{pid: 1, cpu: 5 * time.Second}, usage{pid: 2, cpu: time.Second, resident: 9}
	later := []usage{{pid: 1, cpu: 7 * time.Second, resident: 4}, b}
	want := []usage{{pid: 1, cpu: 2 * time.Second, resident: 4}, b}
	if diff := cmp.Diff(want, since([]usage{a}, later), cmp.AllowUnexported(usage{})); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}
	if later[0].cpu != 7*time.Second {
		t.Error("since has changed what it was given")
	}
}
