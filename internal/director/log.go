package director

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

// said is what the log and the journal have been told, so that a state that lasts is
// said once.
type said struct {
	pools   map[string]pool   // by virtual server; missing: poolReal
	panics  map[string]bool   // the same
	leaving map[identity]bool // that there are connections to be waited for
	notices map[healthcheck.Target]string
	peers   map[string]peerState
	notes   map[string]string // why a note is refused, by director and kind
	epoch   int               // of the membership that peers tells of
	synced  map[string]syncd.RelayState
	relay   int    // the number of the relay that synced tells of
	kernel  string // the reconciler's errors
	sync    string // and those of the relay's side
	ledger  string
	lowered string // why the priorities are
	drift   drift
	// parameters are the refusals, by parameter.
	parameters         map[string]string
	parameterErr       string
	parameterDrift     drift
	parametersRepaired uint64
	applied            uint64 // operations that the kernel accepted
	refused            uint64 // and those that it did not
	repaired           uint64 // and those that undid somebody else's change
}

func newSaid() said {
	return said{
		pools: make(map[string]pool), panics: make(map[string]bool), leaving: make(map[identity]bool),
		notices: make(map[healthcheck.Target]string), peers: make(map[string]peerState), notes: make(map[string]string),
	}
}

// record hands an event to the journal.
func (d *Director) record(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	d.o.Recorder.Record(e)
}

// logTransition says a virtual router's change of state once, in the log and in the
// journal.
func (d *Director) logTransition(r vrrp.Report) {
	attrs := []any{"virtual_router", r.Instance, "from", r.From, "to", r.To, "reason", r.Reason}
	if vr, ok := virtualRouter(d.force.cfg, r.Instance); ok {
		attrs = append(attrs, "interface", vr.Interface, "vrid", vr.VRID, "priority", d.priority(&vr, r.At))
	}
	if r.Detail != "" {
		attrs = append(attrs, "err", r.Detail)
	}
	if r.Peer.IsValid() {
		attrs = append(attrs, "peer", directorName(d.force.cfg, d.senders, r.Peer), "peer_priority", r.PeerPriority)
	}
	level := slog.LevelInfo
	if r.To == vrrp.Fault {
		level = slog.LevelWarn
	}
	d.log(level, "virtual router changed state", attrs...)
	e := Event{
		At: r.At, Kind: EventTransition, Object: r.Instance, From: r.From.String(), To: r.To.String(), Reason: string(r.Reason),
		Text: d.transitionText(r), Attrs: d.transitionAttrs(r),
	}
	d.record(e)
	d.tellFailover(e)
}

// transitionAttrs are the facts of a change of state that its sentence may not tell.
func (d *Director) transitionAttrs(r vrrp.Report) map[string]string {
	attrs := make(map[string]string)
	if vr, ok := virtualRouter(d.force.cfg, r.Instance); ok {
		attrs["priority"] = fmt.Sprint(d.priority(&vr, r.At))
	}
	if r.Detail != "" {
		attrs["detail"] = r.Detail
	}
	if r.Peer.IsValid() {
		attrs["peer"], attrs["peer_priority"] = directorName(d.force.cfg, d.senders, r.Peer), fmt.Sprint(r.PeerPriority)
	}
	return attrs
}

// transitionText is the sentence for a change of state.
func (d *Director) transitionText(r vrrp.Report) string {
	peer := "the peer"
	if r.Peer.IsValid() {
		peer = directorName(d.force.cfg, d.senders, r.Peer)
	}
	why := map[vrrp.Reason]string{
		vrrp.ReasonStartup:        "started",
		vrrp.ReasonOwner:          "owner of the addresses",
		vrrp.ReasonMasterDown:     "no advertisement from " + peer,
		vrrp.ReasonMasterReleased: peer + " released mastership",
		vrrp.ReasonPreempt:        fmt.Sprintf("%s has the lower priority %d", peer, r.PeerPriority),
		vrrp.ReasonHigherPriority: fmt.Sprintf("%s has the higher priority %d", peer, r.PeerPriority),
		vrrp.ReasonHigherAddress:  fmt.Sprintf("%s has the same priority %d and the higher address", peer, r.PeerPriority),
		vrrp.ReasonShutdown:       "stopping",
		vrrp.ReasonFailed:         r.Detail,
		vrrp.ReasonRecovered:      "recovered",
		vrrp.ReasonSwitchover:     peer + " took over on request",
		vrrp.ReasonLate:           "its timer ran so late that the others have called it down",
		vrrp.ReasonGroup:          "its sync group moved",
		vrrp.ReasonAdopted:        "goes on after a restart of its process",
	}[r.Reason]
	if r.From == vrrp.Initialize {
		return fmt.Sprintf("%s: %s", r.To, why)
	}
	return fmt.Sprintf("%s, was %s: %s", r.To, r.From, why)
}

// logHealth says once what checks have changed about a real server: that it left the
// table or returned to it, or has another weight. A first verdict that confirms what was
// assumed is no change.
func (d *Director) logHealth(c serverChange) {
	attrs := []any{"real_server", c.rs.Name, "address", c.rs.Address, "virtual_server", c.vs.Name, "check", c.event.Target.Check}
	ev := Event{At: c.event.At, Object: c.vs.Name + "/" + c.rs.Name, From: c.was.String(), To: c.is.String()}
	o, overridden := d.facts.Overrides[ServerID{c.vs.Name, c.rs.Name}]
	switch {
	case c.was != healthcheck.Down && c.is == healthcheck.Down:
		msg, what := "real server removed", "removed from"
		switch {
		case c.held:
			msg, what = "real server fails its check, and stays in", "fails its check, and stays in"
		case c.vs.QuiesceDown && !c.vs.Service.RefusesAtZero():
			msg, what = "real server quiesced", "gets no new connections of"
		}
		d.o.Logger.Warn(msg, append(attrs, "err", c.event.Err)...)
		ev.Kind, ev.Text = EventRealServerLeft, fmt.Sprintf("%s %s %s: %s", c.rs.Address, what, c.vs.Name, named(c.rs, c.event.Target.Check, fmt.Sprint(c.event.Err)))
	case c.was == healthcheck.Down && c.is != healthcheck.Down:
		rs, in := d.facts.realServer(c.vs, c.rs, nil)
		text := fmt.Sprintf("%s returned to %s with weight %d", c.rs.Address, c.vs.Name, rs.Weight)
		if rs.Backup {
			attrs = append(attrs, "backup", true)
			text = fmt.Sprintf("%s returned to %s as a backup with weight %d", c.rs.Address, c.vs.Name, rs.Weight)
		}
		if overridden {
			attrs = append(attrs, "override", o.String())
			text += ", override " + o.String()
		} else if r := d.facts.Pools[c.vs.Name].Rising[c.rs.Name]; r.Step > 0 {
			attrs = append(attrs, "slow_start", r.For)
			text += fmt.Sprintf(", all of it in %v", r.For)
		}
		msg := "real server added"
		switch {
		case c.held && in:
			msg, text = "real server passes its check again, and has stayed in", fmt.Sprintf("%s passes its check again, and has stayed in %s", c.rs.Address, c.vs.Name)
		case overridden && !in:
			msg, text = "real server passes its check, and stays disabled", fmt.Sprintf("%s passes its check, and stays disabled in %s", c.rs.Address, c.vs.Name)
		}
		d.o.Logger.Info(msg, append(attrs, "weight", rs.Weight)...)
		ev.Kind, ev.Text = EventRealServerReturned, text
	case c.is != healthcheck.Down && c.wasWeighed != c.isWeighed && !overridden:
		d.logWeight(c, attrs)
		return
	default:
		return
	}
	d.record(ev)
}

// logWeight says a weight that a check has changed. That may be often, so the journal is
// told only when new connections end or begin.
func (d *Director) logWeight(c serverChange, attrs []any) {
	value := c.event.Value.String()
	if value == "" {
		value = "none"
	}
	d.o.Logger.Info("real server weight changed", append(attrs, "value", value, "from", c.wasWeighed, "to", c.isWeighed)...)
	ev := Event{
		At: c.event.At, Kind: EventRealServerQuiesced, Object: c.vs.Name + "/" + c.rs.Name, From: fmt.Sprint(c.wasWeighed), To: fmt.Sprint(c.isWeighed),
		Text: fmt.Sprintf("%s gets no new connections of %s: check %s says %s", c.rs.Address, c.vs.Name, c.event.Target.Check, value),
	}
	if c.isWeighed > 0 {
		ev.Kind, ev.Text = EventRealServerResumed, fmt.Sprintf("%s gets connections of %s again, weight %d: check %s says %s", c.rs.Address, c.vs.Name, c.isWeighed, c.event.Target.Check, value)
	}
	if c.isWeighed == 0 || c.wasWeighed == 0 {
		d.record(ev)
	}
}

// logPool says when a virtual server goes over to its backups, its sorry server or to
// nothing at all, and when its real servers serve again; and when a panic begins and ends.
func (d *Director) logPool(vs *conf.VirtualServer) {
	d.logPanic(vs)
	was := d.said.pools[vs.Name]
	_, is := Pool(vs, d.facts)
	if was == "" {
		was = poolReal
	}
	if is == was || len(vs.RealServers) == 0 {
		return
	}
	d.said.pools[vs.Name] = is
	level, ev := slog.LevelError, Event{Kind: EventQuorumLost, Object: vs.Name, From: string(was), To: string(is)}
	switch is {
	case poolBackup:
		level, ev.Text = slog.LevelWarn, fmt.Sprintf("fewer than %d real servers take connections: the backups do so too", vs.Quorum)
	case poolEmpty:
		ev.Text = "no real server takes connections, and there is no sorry server: they are refused"
	case poolSorry:
		ev.Text = fmt.Sprintf("fewer than %d real servers take connections: sorry server %s serves", vs.Quorum, vs.SorryServer.Address)
	case poolReal:
		level, ev.Kind, ev.Text = slog.LevelInfo, EventQuorumGained, "real servers serve again"
	}
	d.log(level, "virtual server changed pool", "virtual_server", vs.Name, "from", was, "to", is)
	d.record(ev)
}

// logPanic says when a panic begins and when it ends.
func (d *Director) logPanic(vs *conf.VirtualServer) {
	held := d.facts.held(vs)
	is, was := held != nil, d.said.panics[vs.Name]
	if is == was {
		return
	}
	passing, _ := d.facts.standing(vs)
	checked := len(namesOfServers(vs))
	attrs := []any{"virtual_server", vs.Name, "passing", len(passing), "checked", checked, "threshold", percentage(vs.PanicThreshold)}
	failing := slices.DeleteFunc(namesOfServers(vs), func(name string) bool { return passing[name] })
	if is {
		d.said.panics[vs.Name] = true
		kept := slices.DeleteFunc(failing, func(name string) bool { return !held[name] })
		d.o.Logger.Warn("panic: too many real servers fail their checks, those that were good stay in", append(attrs, "kept", listed(kept))...)
		d.record(Event{Kind: EventPanicBegan, Object: vs.Name, Text: fmt.Sprintf("%d of %d checked real servers pass, fewer than %s: the last good ones stay in, of which %s fail",
			len(passing), checked, percentage(vs.PanicThreshold), cmp.Or(listed(kept), "none"))})
		return
	}
	delete(d.said.panics, vs.Name)
	d.o.Logger.Warn("panic is over, real servers that fail their checks are out", append(attrs, "out", listed(failing))...)
	d.record(Event{Kind: EventPanicEnded, Object: vs.Name, Text: fmt.Sprintf("%d of %d checked real servers pass: checks count again, out: %s", len(passing), checked, cmp.Or(listed(failing), "none"))})
}

// namesOfServers are the names of a virtual server's checked real servers.
func namesOfServers(vs *conf.VirtualServer) []string {
	var names []string
	for _, rs := range vs.RealServers {
		if len(rs.Checks) > 0 {
			names = append(names, rs.Name)
		}
	}
	return names
}

// percentage is a part in hundredths of a percent as an operator would write it.
func percentage(hundredths int) string { return fmt.Sprintf("%g%%", float64(hundredths)/100) }

// logPools is logPool for every virtual server, and forgets those that are gone.
func (d *Director) logPools() {
	names := make(map[string]bool, len(d.force.cfg.VirtualServers))
	for i := range d.force.cfg.VirtualServers {
		names[d.force.cfg.VirtualServers[i].Name] = true
	}
	maps.DeleteFunc(d.said.pools, func(name string, _ pool) bool { return !names[name] })
	maps.DeleteFunc(d.said.panics, func(name string, _ bool) bool { return !names[name] })
	for i := range d.force.cfg.VirtualServers {
		d.logPool(&d.force.cfg.VirtualServers[i])
	}
}

// logPass says what a reconciliation met: what the kernel refuses, once for each
// change of that, its end, and repairs of what somebody else changed.
func (d *Director) logPass(p Pass) {
	for _, op := range p.Done {
		d.o.Logger.Debug("ipvs changed", "op", op)
	}
	if len(p.Adopted) > 0 {
		d.o.Logger.Warn("services that another program made are in the configuration, taken over", "services", listed(p.Adopted))
	}
	d.said.applied += uint64(len(p.Done))
	d.said.refused += uint64(len(p.Errs))
	d.said.repaired += uint64(len(p.Drift))
	errs := texts(p.Errs)
	slices.Sort(errs) // in whatever order they were met
	switch text := listed(errs); {
	case text == d.said.kernel:
	case text == "":
		d.said.kernel = ""
		d.o.Logger.Info("kernel agrees with the configuration again")
		d.record(Event{At: p.At, Kind: EventIPVSRecovered, Object: "ipvs", Text: "the kernel agrees with the configuration again"})
	default:
		d.said.kernel = text
		d.o.Logger.Error("kernel refused a change, trying again", "err", text)
		d.record(Event{At: p.At, Kind: EventIPVSFailure, Object: "ipvs", Text: text})
	}
	if text := d.said.drift.observe(p.At, p.Drift); text != "" {
		d.o.Logger.Warn("ipvs table was changed by another program, repaired", "op", text)
		d.record(Event{At: p.At, Kind: EventIPVSRepair, Object: "ipvs", Text: "changed by another program, repaired: " + text})
	}
	switch text := errText(p.LedgerErr); {
	case text == d.said.ledger:
	case text == "":
		d.o.Logger.Info("ledger is written again")
	default:
		d.o.Logger.Warn("ledger not written, a crash now would leave services behind", "err", text)
	}
	d.said.ledger = errText(p.LedgerErr)
	d.logSync(p)
	d.logParameters(p)
}

// drift paces what is said about repairs: another program that goes on changing our
// services is one line a minute and not one a second.
type drift struct {
	last    time.Time // when it was last said
	unsaid  int       // repairs since
	example string    // of these
}

const driftPause = time.Minute

// observe takes in a pass's repairs and returns what to say, if anything.
func (r *drift) observe(now time.Time, ops []string) string {
	if len(ops) > 0 {
		r.unsaid += len(ops)
		r.example = listed(ops)
	}
	if r.unsaid == 0 || !r.last.IsZero() && now.Sub(r.last) < driftPause {
		return ""
	}
	text := r.example
	if r.unsaid > len(ops) {
		text = fmt.Sprintf("%d times in the last minutes, such as %s", r.unsaid, r.example)
	}
	*r = drift{last: now}
	return text
}

func (d *Director) log(level slog.Level, msg string, attrs ...any) {
	d.o.Logger.Log(context.Background(), level, msg, attrs...)
}

// hash is a fingerprint as logs and status show it.
func hash(f [16]byte) string { return hex.EncodeToString(f[:6]) }

// listed joins the first few of a list and counts the others.
func listed(list []string) string {
	const most = 5
	if len(list) > most {
		return fmt.Sprintf("%s; and %d more", strings.Join(list[:most], "; "), len(list)-most)
	}
	return strings.Join(list, "; ")
}

func texts(errs []error) []string {
	list := make([]string, len(errs))
	for i, err := range errs {
		list[i] = errText(err)
	}
	return list
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
