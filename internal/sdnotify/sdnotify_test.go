package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen plays systemd on a socket of that name and returns what it hears next.
func listen(t *testing.T, name string) (next func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return func() string {
		// A datagram on a local socket is there when the sender returns.
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestMessages(t *testing.T) {
	for _, tt := range []struct {
		name string
		call func() error
		want string
	}{
		{"ready", Ready, "READY=1"},
		{"stopping", Stopping, "STOPPING=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for kind, socket := range map[string]string{
				"path":     filepath.Join(t.TempDir(), "notify"),
				"abstract": "@hadirector-sdnotify-test-" + strconv.Itoa(os.Getpid()),
			} {
				next := listen(t, socket)
				if err := tt.call(); err != nil {
					t.Fatal(err)
				}
				if got := next(); got != tt.want {
					t.Errorf("%s socket: systemd heard %q, want %q", kind, got, tt.want)
				}
			}
		})
	}
}

func TestReloadingCarriesTheMonotonicTime(t *testing.T) {
	next := listen(t, filepath.Join(t.TempDir(), "notify"))
	now := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Sec*1_000_000 + ts.Nsec/1000
	}
	before := now()
	if err := Reloading(); err != nil {
		t.Fatal(err)
	}
	after := now()
	usec, ok := strings.CutPrefix(next(), "RELOADING=1\nMONOTONIC_USEC=")
	if !ok {
		t.Fatalf("systemd heard %q first", usec)
	}
	if n, err := strconv.ParseInt(usec, 10, 64); err != nil || n < before || n > after {
		t.Errorf("MONOTONIC_USEC=%s, want between %d and %d", usec, before, after)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready(); err != nil {
		t.Errorf("without NOTIFY_SOCKET: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	err := Ready()
	if err == nil || !strings.HasPrefix(err.Error(), "notify systemd: ") {
		t.Errorf("a socket that is not there: error %v, want notify systemd: …", err)
	}
}
