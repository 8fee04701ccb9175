package journal

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// notes are what a journal logs, without times.
type notes struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	line chan struct{} // if there is one: closed when the first line comes
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.line != nil && n.buf.Len() == 0 {
		close(n.line)
	}
	return n.buf.Write(b)
}

func (n *notes) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.buf.String()
	n.buf.Reset()
	return s
}

func (n *notes) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(n, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// run writes the journal until stop is called.
func run(t *testing.T, j *Journal) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	}
}

func numbers(records []Record) []uint64 {
	var ns []uint64
	for _, r := range records {
		ns = append(ns, r.Seq)
	}
	return ns
}

func checkNumbers(t *testing.T, what string, records []Record, want ...uint64) {
	t.Helper()
	if diff := cmp.Diff(want, numbers(records)); diff != "" {
		t.Errorf("%s: numbers -want +got\n%s", what, diff)
	}
}

func TestSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for process := range uint64(3) {
		var said notes
		j := Open(Options{Dir: dir, Logger: said.logger()})
		if j.Last() != process*2 {
			t.Errorf("process %d begins after record %d, want %d", process, j.Last(), process*2)
		}
		stop := run(t, j)
		j.Append(Record{Kind: DaemonStart, Object: fmt.Sprint(process)})
		j.Append(Record{Kind: DaemonStop})
		stop() // and what was appended just before is on disk
		if s := said.take(); s != "" {
			t.Errorf("process %d logged %s", process, s)
		}
	}
	records, err := ReadDir(dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	checkNumbers(t, "on disk", records, 1, 2, 3, 4, 5, 6)
	if records[4].Object != "2" || records[4].Kind != DaemonStart {
		t.Errorf("record 5 is %+v", records[4])
	}
	if info, err := os.Stat(filepath.Join(dir, "events.jsonl")); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("the file may be used by everybody: %v, %v", info.Mode(), err)
	}
}

func TestDamage(t *testing.T) {
	const one, two = `{"seq":1,"at":"2026-11-21T12:00:00Z","kind":"a"}`, `{"seq":2,"at":"2026-11-21T12:00:01Z","kind":"b"}`
	for _, tt := range []struct {
		name, content string
		want          []uint64
		log           string
	}{
		{"none", one + "\n" + two + "\n", []uint64{1, 2, 3}, ""},
		{"last record cut short", one + "\n" + two[:20], []uint64{1, 2},
			"level=WARN msg=\"incomplete last record of the journal dropped\" bytes=20\n"},
		{"last record without its newline", one + "\n" + two, []uint64{1, 2},
			"level=WARN msg=\"incomplete last record of the journal dropped\" bytes=48\n"},
		{"zeros at the end", one + "\n" + strings.Repeat("\x00", 5000), []uint64{1, 2},
			"level=WARN msg=\"incomplete last record of the journal dropped\" bytes=5000\n"},
		{"garbage in the middle", one + "\nnonsense\n" + two + "\n", []uint64{1, 2, 3},
			"level=WARN msg=\"damaged records of the journal skipped\" records=1\n"},
		{"nothing but garbage", "nonsense", []uint64{1},
			"level=WARN msg=\"incomplete last record of the journal dropped\" bytes=8\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var said notes
			j := Open(Options{Dir: dir, Logger: said.logger()})
			if got := said.take(); got != tt.log {
				t.Errorf("logged\n%s, want\n%s", got, tt.log)
			}
			stop := run(t, j)
			j.Append(Record{Kind: "new"})
			stop()
			records, err := ReadDir(dir, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			checkNumbers(t, "afterwards on disk", records, tt.want...)
			if last := records[len(records)-1]; last.Kind != "new" {
				t.Errorf("the last record is %+v", last)
			}
		})
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	j := Open(Options{Dir: dir, MaxBytes: 1000, Memory: 20})
	stop := run(t, j)
	for i := range 200 {
		j.Append(Record{At: noon, Kind: "x", Object: fmt.Sprint(i)})
		if i%7 == 0 { // in batches of all sizes
			stop()
			stop = run(t, reopen(&j, dir))
		}
	}
	stop()
	for _, name := range []string{"events.jsonl", "events.1.jsonl"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 1000 || info.Size() == 0 {
			t.Errorf("%s has %d bytes, want 1 to 1000", name, info.Size())
		}
	}
	records, err := ReadDir(dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	// The newest, without a hole, and more than one file of them.
	first := records[0].Seq
	if len(records) < 13 || first+uint64(len(records))-1 != 200 {
		t.Errorf("on disk are %v", numbers(records))
	}
	for i, r := range records {
		if r.Seq != first+uint64(i) {
			t.Fatalf("on disk are %v", numbers(records))
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func reopen(j **Journal, dir string) *Journal {
	*j = Open(Options{Dir: dir, MaxBytes: 1000, Memory: 20})
	return *j
}

func TestARecordLargerThanTheFile(t *testing.T) {
	dir := t.TempDir()
	j := Open(Options{Dir: dir, MaxBytes: 100})
	stop := run(t, j)
	for range 3 {
		j.Append(Record{Kind: "x", Text: strings.Repeat("y", 200)})
	}
	stop()
	records, err := ReadDir(dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	checkNumbers(t, "on disk", records, 2, 3)
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	j := Open(Options{Dir: dir})
	stop := run(t, j)
	for i := range 10 {
		j.Append(Record{At: noon.Add(time.Duration(i) * time.Second), Kind: "x"})
	}
	stop()
	j = Open(Options{Dir: dir, Memory: 4})
	for _, tt := range []struct {
		name  string
		since time.Time
		want  []uint64
	}{
		{"all, most from disk", time.Time{}, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"from memory", noon.Add(9*time.Second - time.Millisecond), []uint64{10}},
		{"reaching back to the disk", noon.Add(3*time.Second - time.Millisecond), []uint64{4, 5, 6, 7, 8, 9, 10}},
		{"of the future", noon.Add(time.Hour), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, err := j.Read(tt.since)
			if err != nil {
				t.Fatal(err)
			}
			checkNumbers(t, "read", records, tt.want...)
		})
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := Open(Options{})
		for range 3 {
			j.Append(Record{Kind: "old"})
		}
		ctx, cancel := context.WithCancel(t.Context())
		var got []Record
		done := make(chan struct{})
		go func() {
			defer close(done)
			for r := range j.Follow(ctx, 1) {
				got = append(got, r)
			}
		}()
		synctest.Wait()
		checkNumbers(t, "at first", got, 2, 3)
		j.Append(Record{Kind: "new"})
		j.Append(Record{Kind: "new"})
		synctest.Wait()
		checkNumbers(t, "then", got, 2, 3, 4, 5)
		cancel()
		<-done

		for r := range j.Follow(t.Context(), 4) {
			if r.Seq != 5 {
				t.Errorf("record %d, want 5", r.Seq)
			}
			break // the reader may stop at any time
		}
	})
}

func TestInMemoryOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := Open(Options{Memory: 8})
		stop := run(t, j)
		for range 1000 {
			j.Append(Record{Kind: "x"})
		}
		records, err := j.Read(time.Time{})
		if err != nil || len(records) < 8 || len(records) > 10 {
			t.Errorf("%d records in memory, %v; want 8 to 10", len(records), err)
		}
		stop()
	})
}

func TestUnreadableDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "events.jsonl"), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var said notes
		j := Open(Options{Dir: dir, Logger: said.logger()})
		if s := said.take(); !strings.HasPrefix(s, "level=ERROR msg=\"journal cannot be read\"") {
			t.Errorf("logged %q", s)
		}
		stop := run(t, j)
		j.Append(Record{Kind: "x"})
		synctest.Wait()
		if s := said.take(); !strings.HasPrefix(s, "level=ERROR msg=\"journal cannot be written, it goes on in memory\"") {
			t.Errorf("logged %q", s)
		}
		if records, err := j.Read(time.Time{}); err == nil || len(records) != 1 {
			t.Errorf("read %v, %v; want one record and an error", records, err)
		}
		stop()
	})
}

func TestManyAppend(t *testing.T) {
	dir := t.TempDir()
	j := Open(Options{Dir: dir, Memory: 10_000})
	stop := run(t, j)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				j.Append(Record{Kind: "x"})
			}
		})
	}
	wg.Wait()
	stop()
	records, err := ReadDir(dir, time.Time{})
	if err != nil || len(records) != 4000 {
		t.Fatalf("%d records on disk, %v; want 4000", len(records), err)
	}
	for i, r := range records {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d has number %d", i, r.Seq)
		}
	}
}

func TestLoadDuringRotation(t *testing.T) {
	dir := t.TempDir()
	line := func(n uint64) string { return string(Record{Seq: n, At: noon, Kind: "x"}.AppendTo(nil)) }
	// As if the current file had been read just before it grew and was renamed.
	for name, content := range map[string]string{
		"events.1.jsonl": line(1) + line(2) + line(3),
		"events.jsonl":   line(1) + line(2)[:10],
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	records, err := ReadDir(dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	checkNumbers(t, "read", records, 1, 2, 3)
}
