package director

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// Status is everything about a director that a reader can ask for. Its JSON form is
// what the admin socket serves and `hadirector status --json` prints.
type Status struct {
	Director string       `json:"director"`
	Version  string       `json:"version"`
	Started  time.Time    `json:"started"`
	At       time.Time    `json:"at"`
	Ready    bool         `json:"ready"`
	NotReady []string     `json:"not_ready"`
	Config   ConfigStatus `json:"config"`
	// VRRPProcess is the process that the virtual routers run in.
	VRRPProcess    *ProcessStatus  `json:"vrrp_process,omitempty"`
	VirtualRouters []RouterStatus  `json:"virtual_routers"`
	Tracks         []TrackStatus   `json:"tracks"`
	VirtualServers []VirtualStatus `json:"virtual_servers"`
	// Probes is how the checks of real servers keep up.
	Probes healthcheck.Load `json:"probes"`
	// Leaving are the real servers that a reload has removed and whose connections may
	// still end.
	Leaving []LeavingStatus `json:"leaving"`
	// Unnamed are the overrides of real servers that this director's configuration does not
	// name. They have no effect here.
	Unnamed []UnnamedStatus `json:"unnamed_overrides"`
	// Parameters are the kernel parameters that the configuration asks for, and
	// ParametersRepaired counts what other programs have changed of them.
	Parameters         []ParameterStatus `json:"kernel_parameters"`
	ParametersRepaired uint64            `json:"kernel_parameters_repaired"`
	IPVS               IPVSStatus        `json:"ipvs"`
	Sync               *SyncStatus       `json:"sync,omitempty"`
	Peers              []PeerStatus      `json:"peers"`
}

// ConfigStatus is the configuration in force.
type ConfigStatus struct {
	File       string       `json:"file"`
	Hash       string       `json:"hash"`
	LoadedAt   time.Time    `json:"loaded_at"`
	LastReload ReloadStatus `json:"last_reload"`
}

// RouterStatus is one virtual router.
type RouterStatus struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Interface string    `json:"interface"`
	VRID      uint8     `json:"vrid"`
	Family    string    `json:"family"`
	Version   uint8     `json:"version"`
	// Priority is the effective priority, BasePriority the configured one, and
	// Tracks are the tracks that change it or keep the virtual router out.
	Priority     uint8               `json:"priority"`
	BasePriority uint8               `json:"base_priority"`
	Tracks       []TrackEffectStatus `json:"tracks"`
	// Lowered is why the priority is lower than configured for the sake of another
	// director.
	Lowered string `json:"lowered,omitempty"`
	// SwitchedOver is when the virtual router was given to another director on request:
	// it is not taken back.
	SwitchedOver time.Time `json:"switched_over,omitzero"`
	// HoldsBack is why a Backup leaves a Master of lower priority alone, or has not begun
	// to listen; empty if it does neither, or if SwitchedOver says why.
	HoldsBack string `json:"holds_back,omitempty"`
	// HandingOver says that this Master waits for another director to take over.
	HandingOver bool `json:"handing_over,omitempty"`
	// Held says that this Backup does not take over from a silent Master, on_split.
	Held bool `json:"held,omitempty"`
	// Unguarded is why advertisements are accepted from any address.
	Unguarded        string         `json:"unguarded,omitempty"`
	Preempt          bool           `json:"preempt"`
	VirtualAddresses []netip.Prefix `json:"virtual_addresses"`
	Master           string         `json:"master,omitempty"` // director's name, or an address
	MasterPriority   uint8          `json:"master_priority,omitempty"`
	AdvertInterval   string         `json:"advert_interval"`
	MasterDown       string         `json:"master_down_interval"`
	// Mismatch is what the Master last heard has otherwise configured.
	Mismatch string `json:"mismatch,omitempty"`
	// AddressError is why the virtual addresses could not be written.
	AddressError string `json:"address_error,omitempty"`
	// Failures are the other operations of the virtual router that fail just now.
	Failures []string `json:"failures,omitempty"`
	// Problems are what is wrong between the directors, in words for the operator:
	// blocked advertisements, two Masters, equal priorities.
	Problems       []string `json:"problems"`
	AdvertsBlocked bool     `json:"adverts_blocked"`
	SplitBrain     bool     `json:"split_brain"`
	// Witness is who has the virtual addresses by the answers of the segment.
	Witness  *WitnessStatus `json:"witness,omitempty"`
	Counters vrrp.Counters  `json:"counters"`
}

// IPVSStatus is how the kernel agrees with what is desired.
type IPVSStatus struct {
	InSync   bool      `json:"in_sync"`
	ReadAt   time.Time `json:"read_at,omitzero"`
	Errors   []string  `json:"errors"`
	Applied  uint64    `json:"applied_operations"`
	Refused  uint64    `json:"refused_operations"`
	Repaired uint64    `json:"repaired_operations"`
	// Table is what the kernel held of our services when it was last read, in
	// the format of ipvsadm -Sn.
	Table string `json:"table"`
}

// ParameterStatus is a kernel parameter that the configuration asks for.
type ParameterStatus struct {
	Parameter string `json:"parameter"` // in the form of sysctl(8)
	// Value is what the kernel has, Was what it had before this daemon, or the one
	// before it, was started. Empty: not known.
	Value  string `json:"value"`
	Wanted string `json:"wanted"`
	Was    string `json:"was"`
	Reason string `json:"reason"`
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
}

// PeerStatus is another director.
type PeerStatus struct {
	Name       string            `json:"name"`
	Address    string            `json:"address"`
	Alive      bool              `json:"alive"`
	Left       bool              `json:"left"` // it was stopped
	Since      time.Time         `json:"since"`
	LastSeen   time.Time         `json:"last_seen,omitzero"`
	Why        string            `json:"why,omitempty"` // it cannot be reached
	Version    string            `json:"version,omitempty"`
	Roles      map[string]string `json:"roles,omitempty"`
	ConfigHash string            `json:"config_hash,omitempty"`
	SameConfig bool              `json:"same_config"`
	// Differs are the first keys in which its configuration is another.
	Differs []string `json:"differs,omitempty"`
	// LiveChanges is whether it has the overrides that this director has: "same",
	// "on-the-way" or, if its program knows nothing of that, "not-shared". Empty: it cannot be
	// reached.
	LiveChanges string `json:"live_changes,omitempty"`
	// Views is what becomes of its verdicts on real servers: "compared" with this director's,
	// "other-real-servers" if its configuration has others, or "unreadable". Empty: it has told
	// none.
	Views string `json:"views,omitempty"`
}

// board is what readers see, written by the loop alone.
type board struct {
	started time.Time
	current atomic.Pointer[published]
}

// published is the loop's side of a Status. It is never written to again.
type published struct {
	replaced   chan struct{} // closed when there is a newer one
	force      inForce
	facts      func() Facts // works them out, once; nobody writes to their maps
	waiting    int
	reload     ReloadStatus
	reloadOps  []Step // see Steps
	generation uint64 // of the newest desired state
	pass       Pass
	said       said // its counters
	peers      *peersRunner
	relay      *relayRunner
	lowered    string // why the priorities are
	yielded    map[string]time.Time
	senders    map[string][]netip.Addr
	// overrides are all that are known, never written to, and overridesID what identifies
	// them.
	overrides   Registers
	overridesID [16]byte
	// views are the disagreements about real servers, and viewsOf what becomes of the
	// directors' verdicts.
	views   map[ServerID][]ViewStatus
	viewsOf map[string]string
}

// publish shows the loop's state to readers.
func (d *Director) publish() {
	facts, checks := d.facts, d.verdictsNow()
	facts.Health, facts.Assumed, facts.Values = nil, nil, nil
	facts = facts.clone()
	p := &published{
		replaced: make(chan struct{}), force: d.force, reload: d.reload, reloadOps: d.ops.done,
		facts:      sync.OnceValue(func() Facts { return checks.of(facts) }),
		waiting:    d.waiting,
		generation: d.desired.Generation, pass: d.lastPass, peers: d.peers, relay: d.relay,
		said:    said{applied: d.said.applied, refused: d.said.refused, repaired: d.said.repaired, parametersRepaired: d.said.parametersRepaired},
		lowered: d.lowered(time.Now()), yielded: maps.Clone(d.yielded), senders: maps.Clone(d.senders),
		overrides: d.live.all, overridesID: d.live.id,
		views: d.views.shown, viewsOf: d.views.states(),
	}
	if old := d.board.current.Swap(p); old != nil {
		close(old.replaced)
	}
}

// InSync tells whether the kernel is as desired. Any goroutine may call it.
func (d *Director) InSync() bool { return d.board.current.Load().inSync() }

func (p *published) inSync() bool {
	return p.pass.Reached && p.pass.Desired.Generation == p.generation
}

// Status puts together what all owners have published. Any goroutine may call it.
func (d *Director) Status() Status {
	p := d.board.current.Load()
	s := Status{
		Director: d.o.Self, Version: d.o.Version, Started: d.board.started, At: time.Now(),
		NotReady: append([]string{}, p.force.notReady(p.waiting, p.facts())...),
		Config:   ConfigStatus{File: p.force.cfg.File, Hash: hash(p.force.fingerprint), LoadedAt: p.force.at, LastReload: p.reload},
		IPVS:     p.ipvsStatus(),
		Sync:     p.syncStatus(),
		Peers:    []PeerStatus{},
	}
	s.Ready = len(s.NotReady) == 0
	s.VRRPProcess = d.processStatus()
	s.VirtualRouters = d.routerStatus(p)
	s.Tracks = d.trackStatus(p)
	s.VirtualServers = d.virtualStatus(p)
	s.Probes = d.o.Health.Load()
	s.Leaving = p.leavingStatus()
	s.Unnamed = p.unnamedStatus(s.At)
	s.Parameters, s.ParametersRepaired = p.pass.parameterStatus(), p.said.parametersRepaired
	peers, _ := p.peers.snapshots()
	for _, peer := range peers {
		s.Peers = append(s.Peers, p.peerStatus(peer))
	}
	return s
}

func (d *Director) routerStatus(p *published) []RouterStatus {
	list := make([]RouterStatus, 0, len(p.force.cfg.VirtualRouters))
	snapshots := d.o.VRRP.Snapshots()
	splits, witness := *d.split.pub.Load(), *d.witness.pub.Load()
	for _, vr := range p.force.cfg.VirtualRouters {
		fit := Fit(p.force.cfg, &vr, d.o.Self, p.facts().Tracks)
		r := RouterStatus{
			Name: vr.Name, Interface: vr.Interface, VRID: uint8(vr.VRID), Family: vrrp.FamilyOf(vr.VirtualAddresses[0].Addr()).String(), Version: uint8(vr.Version),
			VirtualAddresses: vr.VirtualAddresses, State: "starting",
			Priority: uint8(fit.Priority), BasePriority: uint8(fit.Base), Tracks: fit.status(), AdvertInterval: vr.AdvertInterval.String(),
			Counters: vrrp.Counters{Discarded: map[string]uint64{}},
			Lowered:  p.lowered, SwitchedOver: p.yielded[vr.Name],
		}
		if s, ok := snapshots[vr.Name]; ok {
			r.State, r.Reason, r.Detail, r.Since = s.State.String(), string(s.Reason), s.Detail, s.Since
			r.Priority, r.Preempt = uint8(s.Params.Priority), s.Params.Preempt
			r.MasterPriority, r.MasterDown = uint8(s.MasterPriority), s.MasterDownInterval.String()
			r.Mismatch, r.AddressError, r.Failures, r.Counters = s.Mismatch, s.AddressError, s.Failures, s.Counters
			r.HandingOver, r.Held, r.Unguarded = s.HandingOver, s.Held, s.Unguarded
			if r.SwitchedOver.IsZero() {
				r.HoldsBack = holdsBack(s, vr.Preempt, time.Now())
			}
			switch {
			case s.State == vrrp.Master:
				r.Master = d.o.Self
			case s.MasterAddr.IsValid():
				r.Master = directorName(p.force.cfg, p.senders, s.MasterAddr)
			}
		}
		split := splits[vr.Name]
		r.Problems, r.AdvertsBlocked, r.SplitBrain = append([]string{}, split.problems...), split.blocked, split.brain
		r.Witness = witness[vr.Name].status()
		list = append(list, r)
	}
	return list
}

// holdsBack says why a Backup is not Master yet although it could be.
func holdsBack(s vrrp.Snapshot, preempt conf.Preempt, now time.Time) string {
	p := s.Params
	switch {
	case s.State != vrrp.Backup:
		return ""
	case !s.MasterAddr.IsValid():
		if rest := p.StartDelay - now.Sub(s.Since); s.Reason == vrrp.ReasonStartup && rest > 0 {
			return fmt.Sprintf("does not listen for another %v (start_delay)", rest.Round(100*time.Millisecond))
		}
		return ""
	case s.MasterPriority == 0 || s.MasterPriority >= p.Priority || p.Priority == vrrp.PriorityOwner:
		return ""
	case p.Preempt && p.PreemptDelay == 0:
		return "" // it is about to
	}
	text := fmt.Sprintf("leaves the Master alone, whose priority %d is lower", s.MasterPriority)
	switch {
	case p.Preempt:
		return fmt.Sprintf("%s, for %v (preempt_delay)", text, p.PreemptDelay)
	case preempt == conf.PreemptNever:
		return text + " (preempt = false)"
	}
	return text + ": not ready"
}

func (p *published) ipvsStatus() IPVSStatus {
	s := IPVSStatus{InSync: p.inSync(), Errors: []string{}, Applied: p.said.applied, Refused: p.said.refused, Repaired: p.said.repaired}
	s.ReadAt = p.pass.ReadAt
	for _, err := range p.pass.Errs {
		s.Errors = append(s.Errors, err.Error())
	}
	own := make(ipvs.Table)
	for key := range p.pass.Own {
		if e, ok := p.pass.Table()[key]; ok {
			own[key] = e
		}
	}
	s.Table = own.String()
	return s
}

func (p *published) peerStatus(peer Peer) PeerStatus {
	s := PeerStatus{Name: peer.Name, Address: peer.Address.String(), Alive: peer.Alive, Left: !peer.Alive && peer.Leaving && peer.Why == "", Since: peer.Since, LastSeen: peer.LastSeen, Why: peer.Why, Version: peer.Version}
	if peer.Fingerprint != [16]byte{} {
		s.ConfigHash = hash(peer.Fingerprint)
	}
	s.SameConfig = peer.Fingerprint == p.force.fingerprint
	s.LiveChanges, s.Views = p.liveChanges(peer), p.viewsOf[peer.Name]
	if peer.Config != "" && !s.SameConfig {
		s.Differs = conf.DiffKeys(p.force.text, peer.Config)
	}
	if len(peer.Roles) > 0 {
		s.Roles = make(map[string]string, len(peer.Roles))
		for name, state := range peer.Roles {
			s.Roles[name] = state.String()
		}
	}
	return s
}
