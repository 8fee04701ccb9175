package admin

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server until the test ends and returns its options and a client.
func serve(t *testing.T, reload func(context.Context) (Reloaded, error)) (Options, *journal.Journal, *Client) {
	t.Helper()
	j := journal.Open(journal.Options{})
	o := Options{
		Path:   filepath.Join(t.TempDir(), "run", "admin.sock"),
		Status: func() director.Status { return director.Status{Director: "lb-a"} },
		Events: j, Reload: reload, Logger: slog.New(slog.DiscardHandler),
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
		if _, err := os.Stat(o.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there after the end: %v", err)
		}
	})
	return o, j, NewClient(o.Path)
}

func TestStatus(t *testing.T) {
	o, _, c := serve(t, nil)
	s, err := c.Status(t.Context())
	if err != nil || s.Director != "lb-a" {
		t.Errorf("%+v, %v", s, err)
	}
	info, err := os.Stat(o.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v; want mode 0600", info, err)
	}
	files, err := os.ReadDir(filepath.Dir(o.Path))
	if err != nil || len(files) != 1 {
		t.Errorf("files beside the socket: %v %v", files, err)
	}
}

func TestReload(t *testing.T) {
	want := Reloaded{File: "f", Hash: "h", Changed: []string{"a"}, Warnings: []string{"b"}, Refused: []string{"c"}}
	var err error
	_, _, c := serve(t, func(context.Context) (Reloaded, error) { return want, err })
	got, gotErr := c.Reload(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || gotErr != nil {
		t.Errorf("a good reload: %v, -want +got:\n%s", gotErr, diff)
	}
	err = errors.New("hadirector.toml:3:1: no such key\nhadirector.toml:4:1: nor this")
	if _, got := c.Reload(t.Context()); got == nil || got.Error() != err.Error() {
		t.Errorf("a rejected reload: %v, want %v", got, err)
	}
}

func TestEventsSince(t *testing.T) {
	_, j, c := serve(t, nil)
	start := time.Now()
	j.Append(journal.Record{At: start.Add(-time.Hour), Kind: journal.DaemonStart, Object: "old"})
	j.Append(journal.Record{At: start, Kind: journal.DaemonStart, Object: "new"})
	for _, tt := range []struct {
		since time.Time
		want  string
	}{{time.Time{}, "old new"}, {start.Add(-time.Minute), "new"}, {start.Add(time.Minute), ""}} {
		var got []string
		err := c.Events(t.Context(), tt.since, false, func(r journal.Record) error {
			got = append(got, r.Object)
			return nil
		})
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("since %v: %q, %v; want %q", tt.since, got, err, tt.want)
		}
	}
}

func TestEventsFollow(t *testing.T) {
	_, j, c := serve(t, nil)
	j.Append(journal.Record{Kind: journal.DaemonStart, Object: "1"})
	var got []string
	err := c.Events(t.Context(), time.Time{}, true, func(r journal.Record) error {
		got = append(got, r.Object)
		if len(got) == 4 {
			return fs.SkipAll // enough
		}
		// Each new record is sent only after the one before it has been read.
		j.Append(journal.Record{Kind: journal.DaemonStop, Object: "1234"[len(got) : len(got)+1]})
		return nil
	})
	if !errors.Is(err, fs.SkipAll) || strings.Join(got, "") != "1234" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestListenReplacesADeadSocketAndSparesALiveOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if _, err := Listen(Options{Path: path}); err == nil || !strings.Contains(err.Error(), "another hadirector is running") {
		t.Errorf("beside a running daemon: %v", err)
	}
	l.Close() // as a killed daemon leaves it
	s, err := Listen(Options{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestListenSparesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hadirector.toml")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Options{Path: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("on a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

func TestClientNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewClient(filepath.Join(dir, "none")).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	_, _, c := serve(t, nil)
	if err := c.call(t.Context(), "GET", "/v1/nonsense", nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown path: %v", err)
	}
	if err := c.call(t.Context(), "GET", "/v1/events?since=yesterday", nil); err == nil || !strings.Contains(err.Error(), "since") {
		t.Errorf("bad time: %v", err)
	}
}
