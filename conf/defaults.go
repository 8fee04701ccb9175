package conf

import (
	"log/slog"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// The defaults. reference.toml states each with its source, and a test holds the
// two together.
const (
	defaultPriority       = vrrp.PriorityDefault
	defaultVersion        = int64(vrrp.Version3)
	defaultAdvertInterval = 100 * time.Millisecond
	// defaultAdvertInterval2 is that of version 2, which counts whole seconds.
	defaultAdvertInterval2 = time.Second

	defaultScheduler = "wlc"
	defaultForward   = "dr"
	defaultQuorum    = 1
	defaultWeight    = 1

	defaultCheckInterval = 5 * time.Second
	defaultCheckTimeout  = 2 * time.Second
	defaultRise          = 1
	defaultFall          = 3
	defaultMethod        = "GET"
	defaultPath          = "/"
	defaultStatusMin     = 200
	defaultStatusMax     = 299

	defaultSyncPort  = 9651
	defaultLogLevel  = slog.LevelInfo
	defaultLogFormat = "text"
)

// Bounds that come from elsewhere.
const (
	// maxPreemptDelay is keepalived's.
	maxPreemptDelay = 1000 * time.Second
	// maxPersistence is ipvsadm's; the kernel counts it in jiffies of 32 bits.
	maxPersistence = 31 * 24 * time.Hour
	// maxWeight is the kernel's: IPVS keeps weights in an int.
	maxWeight = 1<<31 - 1
	// maxSocket is the kernel's sun_path without the zero at its end.
	maxSocket = 107
)

// DefaultSocket is where the daemon listens, and where commands look for it, unless told
// otherwise.
const DefaultSocket = "/run/hadirector/admin.sock"
