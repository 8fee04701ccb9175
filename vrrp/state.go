package vrrp

import (
	"net/netip"
	"time"
)

// State is a virtual router's state. The zero value is RFC 9568's Initialize: not
// started yet or no longer running, which operators read as "stopped".
type State uint8

// The states.
const (
	Initialize State = iota
	Backup
	Master
	Fault
)

func (s State) String() string {
	switch s {
	case Backup:
		return "backup"
	case Master:
		return "master"
	case Fault:
		return "fault"
	}
	return "stopped"
}

// Reason is why a virtual router changed its state: a fixed token that logs,
// events, metric labels and tests share.
type Reason string

// The reasons.
const (
	ReasonStartup        Reason = "startup"
	ReasonOwner          Reason = "owner"           // started as the owner of the addresses
	ReasonMasterDown     Reason = "master-down"     // Master_Down_Timer ran out
	ReasonMasterReleased Reason = "master-released" // the Master said priority 0
	ReasonPreempt        Reason = "preempt"         // the Master had a lower priority
	ReasonHigherPriority Reason = "higher-priority" // an advertisement with a higher priority arrived
	ReasonHigherAddress  Reason = "higher-address"  // equal priority, the other's address is higher
	ReasonShutdown       Reason = "shutdown"
	ReasonFailed         Reason = "failed" // Detail says what failed
	ReasonRecovered      Reason = "recovered"
	ReasonSwitchover     Reason = "switchover" // another router took over on request
	ReasonLate           Reason = "late"       // a Master's timer ran so late that others call it down
	ReasonGroup          Reason = "group"      // the sync group moved
	ReasonAdopted        Reason = "adopted"    // went on being Master after a restart of the process
)

// Transition is one change of state, as the rest of the daemon hears of it.
type Transition struct {
	From, To State
	Reason   Reason
	// Detail is the failure that led to Fault, empty otherwise.
	Detail string
	// Peer is the other router that the change is about, if there is one: the old
	// Master after ReasonMasterDown, the new one after ReasonHigherPriority.
	Peer         netip.Addr
	PeerPriority Priority
}

// Report is a Transition of a named instance at a time.
type Report struct {
	Instance string
	At       time.Time
	Transition
}

// Counters count what a virtual router's runner saw and did. All only grow.
type Counters struct {
	AdvertsSent     uint64            `json:"adverts_sent"`
	AdvertsReceived uint64            `json:"adverts_received"`
	Discarded       map[string]uint64 `json:"discarded"` // by DiscardReason
	SendErrors      uint64            `json:"send_errors"`
	Announcements   uint64            `json:"announcements"` // rounds over all virtual addresses
	AnnounceErrors  uint64            `json:"announce_errors"`
	AddressErrors   uint64            `json:"address_errors"`
	Transitions     uint64            `json:"transitions"`
	// Restored counts virtual addresses that somebody else had removed and that were
	// put back.
	Restored uint64 `json:"restored"`
	// LateTimers counts timers that ran out more than 10 ms late, and MaxLate is the
	// worst of all.
	LateTimers uint64        `json:"late_timers"`
	MaxLate    time.Duration `json:"max_late"`
}

// Snapshot is a virtual router as readers see it. Its intervals come from the same
// functions that arm the timers.
type Snapshot struct {
	State  State
	Reason Reason // of the last transition
	Detail string
	Since  time.Time // of the last transition
	Params Params
	// MasterAdverInterval is the interval of the Master last heard, our own as Master.
	MasterAdverInterval time.Duration
	SkewTime            time.Duration
	MasterDownInterval  time.Duration
	// MasterAddr and MasterPriority are the last accepted advertisement's; our own
	// as Master; invalid and 0 before the first.
	MasterAddr     netip.Addr
	MasterPriority Priority
	// Mismatch is what the last accepted advertisement has otherwise than we have
	// ([Params.Mismatch]), empty if nothing. The runner fills it in.
	Mismatch string
	// HandingOver says that a Master waits for another router to take over.
	HandingOver bool
	// HandedOver says that the other router has been heard, and that the addresses are
	// about to go.
	HandedOver bool
	// Held says that the Master is silent, and that Params.Hold keeps this Backup from
	// taking over.
	Held bool
	// Leftovers says that addresses of a predecessor may be on the interface, and stay
	// until it is known whose they are.
	Leftovers bool
	// Unguarded is why advertisements are accepted from any address, in words for the
	// operator; empty: only known directors count. The runner fills it in.
	Unguarded string
	// AddressError is the last failure to write the virtual addresses, empty once
	// they are written. The runner fills it in.
	AddressError string
	// Failures are the other operations that fail just now, such as sending
	// advertisements, in words for the operator. The runner fills it in.
	Failures []string
	Counters Counters
}
