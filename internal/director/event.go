package director

import "time"

// Recorder takes the events that operators read. It never blocks.
type Recorder interface {
	Record(Event)
}

// Event is one thing that happened, for the journal.
type Event struct {
	At   time.Time
	Kind EventKind
	// Object is what it happened to, by its name in the configuration: "web",
	// "web/web-1", "lb-b".
	Object string
	From   string // state before, empty if there is none
	To     string // state after
	Reason string // a fixed token
	Text   string // the sentence for the operator
	Attrs  map[string]string
	// Origin is that of an event of another director; zero: it is this one's.
	Origin Origin
}

// Origin is where an event comes from that another director has told.
type Origin struct {
	Director string
	At       time.Time // by that director's clock
	// Run and Number name the event among those of that director: which run of its daemon,
	// later ones have higher numbers, and which event of it, from 1.
	Run, Number uint64
}

// EventKind is what sort of event it is: a fixed token, the journal's.
type EventKind string

// The kinds of events that a director records.
const (
	EventStart              EventKind = "daemon-start"
	EventStop               EventKind = "daemon-stop"
	EventReloadOK           EventKind = "reload-ok"
	EventReloadFailed       EventKind = "reload-failed"
	EventTransition         EventKind = "vrrp-transition"
	EventSwitchover         EventKind = "switchover"
	EventVRRPProcess        EventKind = "vrrp-process"       // it ended, and nobody had asked for that
	EventTakeoverConfirmed  EventKind = "takeover-confirmed" // by the witness
	EventWitnessOwnerOK     EventKind = "witness-owner-ok"
	EventWitnessNoOwner     EventKind = "witness-no-owner"
	EventWitnessTwoOwners   EventKind = "witness-two-owners"
	EventWitnessWrongOwner  EventKind = "witness-wrong-owner"
	EventWitnessStranger    EventKind = "witness-stranger"
	EventWitnessUnknown     EventKind = "witness-unknown"
	EventAdvertsBlocked     EventKind = "adverts-blocked"
	EventAdvertsArrive      EventKind = "adverts-arrive" // again, or are not expected any more
	EventSplitBrain         EventKind = "split-brain"
	EventSplitHealed        EventKind = "split-healed"
	EventEqualPriorities    EventKind = "equal-priorities"
	EventPrioritiesDiffer   EventKind = "priorities-differ" // again
	EventTrackChanged       EventKind = "track-changed"
	EventRealServerLeft     EventKind = "real-server-left"
	EventRealServerReturned EventKind = "real-server-returned"
	EventRealServerQuiesced EventKind = "real-server-quiesced" // a check gives it weight 0
	EventRealServerResumed  EventKind = "real-server-resumed"  // and no longer
	EventRealServerDraining EventKind = "real-server-draining" // a reload has removed it
	EventRealServerDrained  EventKind = "real-server-drained"
	EventRealServerWarning  EventKind = "real-server-warning" // its check succeeds and warns, or no longer
	EventOverrideSet        EventKind = "override-set"
	EventOverrideEnded      EventKind = "override-ended"
	EventQuorumLost         EventKind = "quorum-lost"
	EventQuorumGained       EventKind = "quorum-gained"
	EventHookFailed         EventKind = "hook-failed" // a command of the operator's
	EventPanicBegan         EventKind = "panic-began"
	EventPanicEnded         EventKind = "panic-ended"
	EventSightLost          EventKind = "sight-lost" // every check fails here alone
	EventSightBack          EventKind = "sight-back"
	EventViewsDiffer        EventKind = "views-differ" // on a real server, between directors
	EventViewsAgree         EventKind = "views-agree"  // again
	EventIPVSFailure        EventKind = "ipvs-failure"
	EventIPVSRecovered      EventKind = "ipvs-recovered"
	EventIPVSRepair         EventKind = "ipvs-repair"
	EventSyncFailure        EventKind = "sync-failure" // the kernel refuses what it needs
	EventSyncRecovered      EventKind = "sync-recovered"
	EventPeerInSync         EventKind = "peer-in-sync"      // the connections are the same
	EventPeerOutOfSync      EventKind = "peer-out-of-sync"  // and no longer, or not all is told
	EventSyncWaitEnded      EventKind = "sync-wait-ended"   // ready without a peer's connections
	EventParameterRefused   EventKind = "parameter-refused" // a kernel parameter
	EventParameterRepair    EventKind = "parameter-repair"
	EventPeerJoined         EventKind = "peer-joined"
	EventPeerLeft           EventKind = "peer-left" // it was stopped
	EventPeerLost           EventKind = "peer-lost" // it no longer answers
	EventPeerConfigDiffers  EventKind = "peer-config-differs"
	EventPeerConfigAgrees   EventKind = "peer-config-agrees"
)
