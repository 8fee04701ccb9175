package ipvsnl

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Options are what [Open] can be told. The zero value is right for a director.
type Options struct {
	// Timeout is how long the kernel may be silent during a call; zero: 5 seconds.
	Timeout time.Duration
}

// The bounds in time.
const (
	defaultTimeout  = 5 * time.Second
	modprobeTimeout = 20 * time.Second
)

// familyName is the genetlink family's (IPVS_GENL_NAME, linux/ip_vs.h).
const familyName = "IPVS"

// Open returns a client of the IPVS of the calling thread's network namespace. It
// loads the module ip_vs if the kernel has no IPVS yet; the kernel itself loads the
// schedulers. The error is [ErrNoIPVS] if that does not help.
//
// moby/ipvs looks up the number of the netlink family once in the life of the
// process: after ip_vs has been unloaded and loaded again, the process has to be
// started again too.
func Open(o Options) (*Client, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	family, err := findFamily(lookupFamily, modprobe)
	if err != nil {
		return nil, err
	}
	// moby/ipvs logs to logrus's standard logger, which nothing else here uses;
	// whatever it could say there was found out above.
	logrus.SetOutput(io.Discard)
	ns, err := currentNamespace()
	if err != nil {
		return nil, err
	}
	dial := func() (*conn, error) { return ns.dial(family) }
	c, err := dial()
	if err != nil {
		return nil, errors.Join(err, ns.close())
	}
	// The file stays that of this namespace. Without it the listings do.
	proc, err := os.Open("/proc/thread-self/net/ip_vs")
	if err != nil {
		proc = nil
	}
	client := newClient(cmp.Or(o.Timeout, defaultTimeout), c, dial, func() error {
		if proc != nil {
			proc.Close()
		}
		return ns.close()
	})
	client.proc = proc
	return client, nil
}

// findFamily returns the number of the genetlink family IPVS. It loads the module
// once if there is none.
func findFamily(lookup func() (uint16, error), load func() error) (uint16, error) {
	id, err := lookup()
	if !errors.Is(err, unix.ENOENT) {
		return id, err
	}
	loadErr := load()
	id, err = lookup()
	if errors.Is(err, unix.ENOENT) {
		if loadErr != nil {
			return 0, fmt.Errorf("%w (%w)", ErrNoIPVS, loadErr)
		}
		return 0, ErrNoIPVS
	}
	return id, err
}

func lookupFamily() (uint16, error) {
	f, err := netlink.GenlFamilyGet(familyName)
	if err != nil {
		return 0, fmt.Errorf("look up netlink family %s: %w", familyName, err)
	}
	return f.ID, nil
}

// modprobe loads the module ip_vs.
func modprobe() error {
	ctx, cancel := context.WithTimeout(context.Background(), modprobeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "modprobe", "ip_vs").CombinedOutput()
	if err != nil {
		if text := bytes.TrimSpace(out); len(text) > 0 {
			return fmt.Errorf("modprobe ip_vs: %w: %s", err, text)
		}
		return fmt.Errorf("modprobe ip_vs: %w", err)
	}
	return nil
}
