package vrrp

import (
	"net/netip"
	"time"
)

// VirtualRouter is one virtual router's state machine (RFC 9568 section 6.4). It
// is not safe for concurrent use: one goroutine owns it.
type VirtualRouter struct {
	id VRID
	p  Params

	state  State
	reason Reason
	detail string
	since  time.Time
	// rank is the place in the sync group, 0 the first.
	rank int
	// listenAt is when Params.StartDelay is over.
	listenAt time.Time
	// leftovers says that a predecessor may have left addresses, and that they stay until
	// it is known whose they are.
	leftovers bool

	// masterAdverInterval is Master_Adver_Interval: that of the Master last
	// accepted, our own as Master or before any was heard.
	masterAdverInterval time.Duration
	// master sent the last advertisement that was accepted as the Master's.
	master router
	// rival is whom a transition is about: the last sender that mattered, whether
	// or not its advertisement was accepted.
	rival router

	backup backupTimers
	active masterTimers
}

// router is another router, as far as its advertisements tell.
type router struct {
	addr     netip.Addr
	priority Priority
}

// NewVirtualRouter returns a virtual router in Initialize. The parameters must be
// valid ([Params.Validate]); their slices must not be written to afterwards.
func NewVirtualRouter(id VRID, p Params) *VirtualRouter {
	return &VirtualRouter{id: id, p: p, leftovers: true}
}

// Handle takes an event that happened at now and returns what has to be done, in
// that order. Every event leaves the machine in a consistent state, even if an
// action then fails. The slices in the actions must not be written to.
func (vr *VirtualRouter) Handle(now time.Time, ev Event) []Action {
	switch ev := ev.(type) {
	case Startup:
		if vr.state == Initialize && ev.Adopt {
			return vr.becomeMaster(now, ReasonAdopted)
		}
		if vr.state == Initialize {
			vr.listenAt = now.Add(vr.p.StartDelay)
			return vr.start(now, ReasonStartup)
		}
	case Shutdown:
		return vr.leave(now, Initialize, ReasonShutdown, "")
	case Failed:
		return vr.leave(now, Fault, ReasonFailed, ev.Detail)
	case Recovered:
		if vr.state == Fault {
			return vr.start(now, ReasonRecovered)
		}
	case ParamsChanged:
		if vr.late(now) {
			down := vr.stepDown(now)
			return append(vr.reconfigure(now, ev.Params), down...)
		}
		return vr.reconfigure(now, ev.Params)
	case HandOver:
		switch {
		case vr.late(now):
			return vr.stepDown(now)
		case vr.state == Master:
			return vr.handOver(now)
		}
	case AnnounceAgain:
		if vr.state == Master && !vr.handingOver() {
			vr.requestAnnouncements(now)
			return vr.announceIfDue(now, nil)
		}
	case Timeout:
		switch {
		case vr.late(now):
			return vr.stepDown(now)
		case vr.state == Backup && vr.expire(now):
			return vr.takeOver(now)
		case vr.state == Backup:
			return vr.sweepHeld()
		case vr.state == Master:
			return vr.masterTimeout(now)
		}
	case AdvertReceived:
		return vr.advertReceived(now, ev)
	}
	return nil
}

func (vr *VirtualRouter) advertReceived(now time.Time, ev AdvertReceived) (actions []Action) {
	if vr.p.Check(ev.From, ev.Advert) != nil || now.Before(vr.listenAt) {
		return nil
	}
	if vr.late(now) {
		// What was sent meanwhile is from those who have called us down, and is heard
		// as a Backup.
		actions = vr.stepDown(now)
	}
	switch vr.state {
	case Backup:
		vr.backupAdvert(now, ev)
		if ev.Advert.Priority != PriorityRelease {
			actions = append(actions, vr.sweep()...)
		}
	case Master:
		actions = vr.masterAdvert(now, ev)
	}
	return actions
}

// Deadline returns when the next Timeout event is due, if one is.
func (vr *VirtualRouter) Deadline() (t time.Time, armed bool) {
	switch vr.state {
	case Backup:
		return vr.backup.downAt, !vr.backup.expired
	case Master:
		return vr.active.deadline(), true
	}
	return time.Time{}, false
}

// Snapshot returns the virtual router as readers see it, without counters.
func (vr *VirtualRouter) Snapshot() Snapshot {
	s := Snapshot{
		State:               vr.state,
		Reason:              vr.reason,
		Detail:              vr.detail,
		Since:               vr.since,
		Params:              vr.p,
		MasterAdverInterval: vr.masterAdverInterval,
		MasterAddr:          vr.master.addr,
		MasterPriority:      vr.master.priority,
		HandingOver:         vr.handingOver(),
		HandedOver:          vr.lingering(),
		Held:                vr.state == Backup && vr.backup.held,
		Leftovers:           vr.leftovers,
	}
	switch vr.state {
	case Master:
		s.MasterAddr, s.MasterPriority = vr.p.Source, vr.p.Priority
	case Initialize, Fault:
		s.MasterAdverInterval = vr.p.AdvertInterval
	}
	s.SkewTime = SkewTime(vr.p.Version, vr.p.Priority, s.MasterAdverInterval)
	s.MasterDownInterval = MasterDownInterval(vr.p.Version, vr.p.Priority, s.MasterAdverInterval)
	return s
}

// start leaves Initialize, or Fault, which is Initialize with a reason (RFC 9568
// section 6.4.1).
func (vr *VirtualRouter) start(now time.Time, why Reason) []Action {
	vr.master, vr.rival = router{}, router{}
	owner := vr.p.Priority == PriorityOwner
	if owner && !now.Before(vr.listenAt) {
		return vr.becomeMaster(now, ReasonOwner)
	}
	listen := now
	if vr.listenAt.After(now) {
		listen = vr.listenAt
		vr.leftovers = false // nobody is heard for longer than two may hold them
	}
	var actions []Action
	if !owner && !vr.leftovers {
		// A release that failed because the interface was gone leaves addresses behind. A
		// Backup that holds them answers for them beside the Master.
		actions = []Action{ReleaseAddrs{vr.p.Held()}}
	}
	vr.enterBackup(listen, vr.p.AdvertInterval)
	if owner {
		vr.backup.downAt, vr.backup.owner = listen, true
	}
	return append(actions, vr.transition(now, Backup, why, ""))
}

// leave goes to Initialize or Fault. A Master says so with priority 0 before it
// gives the addresses up: the Backup's Skew_Time then runs while we release.
func (vr *VirtualRouter) leave(now time.Time, to State, why Reason, detail string) []Action {
	actions := vr.sweep()
	if vr.state == to {
		vr.detail = detail
		return actions
	}
	if vr.state == Master {
		actions = vr.giveUp()
	}
	vr.master, vr.rival = router{}, router{}
	return append(actions, vr.transition(now, to, why, detail))
}

// sweep takes away what a predecessor left, once it is known that it is not ours or that
// we cannot serve it. A predecessor that was killed as Master leaves its addresses behind,
// and clients are served by them until another router takes over: without that one they
// are never gone, however long the restart takes. The owner's are its own.
func (vr *VirtualRouter) sweep() []Action {
	if !vr.leftovers || vr.p.Priority == PriorityOwner {
		return nil
	}
	vr.leftovers = false
	return []Action{ReleaseAddrs{vr.p.Held()}}
}

// sweepHeld does so when another director is there that this Backup leaves the addresses
// to, although it is not heard.
func (vr *VirtualRouter) sweepHeld() []Action {
	if !vr.backup.held {
		return nil
	}
	return vr.sweep()
}

// transition changes the state. Entering and leaving are the callers' work.
func (vr *VirtualRouter) transition(now time.Time, to State, why Reason, detail string) Action {
	t := Transition{
		From: vr.state, To: to, Reason: why, Detail: detail,
		Peer: vr.rival.addr, PeerPriority: vr.rival.priority,
	}
	vr.state, vr.reason, vr.detail, vr.since = to, why, detail, now
	return Transitioned{t}
}

func (vr *VirtualRouter) advert(p Priority) SendAdvert {
	addrs := make([]netip.Addr, len(vr.p.Addresses))
	for i, a := range vr.p.Addresses {
		addrs[i] = a.Addr()
	}
	return SendAdvert{Advert{
		Version:   vr.p.Version,
		VRID:      vr.id,
		Priority:  p,
		Interval:  vr.p.AdvertInterval,
		Addresses: addrs,
		Auth:      vr.p.Auth,
	}}
}
