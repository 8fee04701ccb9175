// Package sdnotify tells systemd how the daemon is (sd_notify(3), Type=notify). Without
// the environment variable NOTIFY_SOCKET nobody wants to know, and every call does
// nothing and returns nil. The calls may come from any goroutine.
//
// An error means that systemd was not told. It is worth a log line, never more: a
// director serves whether or not its supervisor listens.
package sdnotify

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Ready says that the start, or a reload announced by Reloading, is over. The daemon
// says it also after a reload that failed: it goes on with what it had.
func Ready() error { return send(daemon.SdNotifyReady) }

// Reloading says that a reload has begun. Ready ends it.
func Reloading() error {
	// Type=notify-reload only believes a message that carries the time at which it
	// was sent, as sd_notify(3) says: CLOCK_MONOTONIC, which Go's time does not show.
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the monotonic clock: %w", err)
	}
	return send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/int64(time.Microsecond)))
}

// Stopping says that the daemon is about to end.
func Stopping() error { return send(daemon.SdNotifyStopping) }

func send(message string) error {
	if _, err := daemon.SdNotify(false, message); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
