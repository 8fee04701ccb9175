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

	// defaultTTL is that of advertisements (RFC 9568 section 5.1.1.3), unicast too.
	defaultTTL = 255

	defaultAnnounceRounds  = 5
	defaultAnnounceSpacing = 1100 * time.Millisecond
	defaultAnnounceRefresh = time.Minute

	// leastHMACWindow is keepalived's shortest default of time_window.
	leastHMACWindow = 5 * time.Second

	defaultTrackInterval = time.Second
	defaultTrackRise     = 1
	defaultTrackFall     = 1
	defaultScriptUser    = "nobody"
	defaultPingTimeout   = time.Second
	defaultPingRise      = 2
	defaultPingFall      = 3

	defaultScheduler = "wlc"
	defaultForward   = "dr"
	defaultQuorum    = 1
	defaultWeight    = 1
	// defaultDrainTimeout lets requests end, and does not keep what an operator has
	// removed for long.
	defaultDrainTimeout = 30 * time.Second

	// defaultHookTimeout leaves time for what talks to other machines; keepalived's
	// scripts have no bound.
	defaultHookTimeout = 10 * time.Second

	defaultCheckInterval = 5 * time.Second
	defaultCheckTimeout  = 2 * time.Second
	// defaultJitter is in percent, and that of tracks too.
	defaultJitter     = 10
	defaultRise       = 1
	defaultFall       = 3
	defaultMethod     = "GET"
	defaultPath       = "/"
	defaultStatus     = "200-299"
	defaultTLSVersion = "1.2"
	// defaultExpiryWarning leaves two weeks to renew what should have been renewed.
	defaultExpiryWarning = 14 * 24 * time.Hour
	// defaultName and defaultRecord are keepalived's: every resolver knows them.
	defaultName   = "."
	defaultRecord = "SOA"

	defaultSyncPort = 9651
	// defaultStreamPort is beside the membership's.
	defaultStreamPort = 9652
	// defaultSyncWait is enough for a million connections, and no longer than an operator
	// waits for a director that has been started.
	defaultSyncWait = 30 * time.Second
	// defaultSyncConnections take at most 200 MiB.
	defaultSyncConnections = 1 << 20

	defaultLogLevel  = slog.LevelInfo
	defaultLogFormat = "text"
)

// Bounds that come from elsewhere.
const (
	// maxPreemptDelay is keepalived's.
	maxPreemptDelay = 1000 * time.Second
	// maxStartDelay is our own; keepalived's vrrp_startup_delay has hardly a bound.
	maxStartDelay = 1000 * time.Second
	// maxLinkDelay is that of keepalived's interface_up_down_delays.
	maxLinkDelay = 255 * time.Second
	// maxHMACWindow is that of keepalived's time_window.
	maxHMACWindow = 300 * time.Second
	// maxTrackWeight is keepalived's: it leaves no priority but 1 and 254.
	maxTrackWeight = 253
	// maxSyncWait is our own.
	maxSyncWait = 10 * time.Minute
	// maxDrainTimeout is our own.
	maxDrainTimeout = 24 * time.Hour
	// maxSlowStart is our own.
	maxSlowStart = 24 * time.Hour
	// maxPersistence is ipvsadm's; the kernel counts it in jiffies of 32 bits.
	maxPersistence = 31 * 24 * time.Hour
	// maxWeight is the kernel's: IPVS keeps weights in an int.
	maxWeight = 1<<31 - 1
	// maxConnections is the kernel's: it counts a real server's connections in an int.
	maxConnections = 1<<31 - 1
	// maxServices is our own. Each service is a lookup table entry, an estimator and a
	// copy of the pool in the kernel; a firewall mark costs one for any number of ports.
	maxServices = 1024
	// maxSocket is the kernel's sun_path without the zero at its end.
	maxSocket = 107
)

// DefaultSocket is where the daemon listens, and where commands look for it, unless told
// otherwise.
const DefaultSocket = "/run/hadirector/admin.sock"
