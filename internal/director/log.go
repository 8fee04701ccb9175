package director

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/vrrp"
)

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
		attrs = append(attrs, "interface", vr.Interface, "vrid", vr.VRID, "priority", vr.Priority[d.o.Self])
	}
	if r.Detail != "" {
		attrs = append(attrs, "err", r.Detail)
	}
	if r.Peer.IsValid() {
		attrs = append(attrs, "peer", directorName(d.force.cfg, r.Peer), "peer_priority", r.PeerPriority)
	}
	level := d.o.Logger.Info
	if r.To == vrrp.Fault {
		level = d.o.Logger.Warn
	}
	level("virtual router changed state", attrs...)
	d.record(Event{
		At: r.At, Kind: EventTransition, Object: r.Instance, From: r.From.String(), To: r.To.String(), Reason: string(r.Reason),
		Text: d.transitionText(r),
	})
}

// transitionText is the sentence for a change of state.
func (d *Director) transitionText(r vrrp.Report) string {
	peer := "the peer"
	if r.Peer.IsValid() {
		peer = directorName(d.force.cfg, r.Peer)
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
	}[r.Reason]
	return fmt.Sprintf("%s, was %s: %s", r.To, r.From, why)
}

// directorName is the configured name of a director's address, or the address.
func directorName(cfg *conf.Config, addr netip.Addr) string {
	for _, d := range cfg.Directors {
		if d.Address == addr {
			return d.Name
		}
	}
	return addr.String()
}

// logHealth says once for each real server that shares the target that it left the
// table or returned to it. A first verdict that confirms what was assumed is no
// change.
func (d *Director) logHealth(e healthcheck.Event, was healthcheck.Status) {
	if was == healthcheck.Unknown && e.Status == healthcheck.Up {
		return
	}
	for _, vs := range d.force.cfg.VirtualServers {
		for _, rs := range vs.RealServers {
			if targetOf(rs) != e.Target {
				continue
			}
			object := vs.Name + "/" + rs.Name
			attrs := []any{"real_server", rs.Name, "address", rs.Address, "virtual_server", vs.Name, "check", rs.Check}
			if e.Status == healthcheck.Down {
				d.o.Logger.Warn("real server removed", append(attrs, "err", e.Err)...)
				d.record(Event{At: e.At, Kind: EventRealServerLeft, Object: object, From: was.String(), To: e.Status.String(),
					Text: fmt.Sprintf("%s removed from %s: %v", rs.Address, vs.Name, e.Err)})
				continue
			}
			d.o.Logger.Info("real server added", append(attrs, "weight", rs.Weight)...)
			d.record(Event{At: e.At, Kind: EventRealServerReturned, Object: object, From: was.String(), To: e.Status.String(),
				Text: fmt.Sprintf("%s returned to %s with weight %d", rs.Address, vs.Name, rs.Weight)})
		}
	}
	d.logQuorum(e)
}

// logQuorum says when a virtual server's pool goes over to the sorry server or back.
func (d *Director) logQuorum(e healthcheck.Event) {
	for i := range d.force.cfg.VirtualServers {
		vs := &d.force.cfg.VirtualServers[i]
		if vs.SorryServer == nil {
			continue
		}
		sorry := usesSorry(vs, d.facts)
		if sorry == d.sorry[vs.Name] {
			continue
		}
		d.sorry[vs.Name] = sorry
		ev := Event{At: e.At, Kind: EventQuorumGained, Object: vs.Name, Text: "real servers serve again"}
		if sorry {
			ev.Kind = EventQuorumLost
			ev.Text = fmt.Sprintf("fewer than %d real servers are up: sorry server %s serves", vs.Quorum, vs.SorryServer.Address)
		}
		d.o.Logger.Warn("virtual server changed pool", "virtual_server", vs.Name, "reason", ev.Kind, "sorry_server", vs.SorryServer.Address)
		d.record(ev)
	}
}

// usesSorry tells whether a virtual server's pool is its sorry server.
func usesSorry(vs *conf.VirtualServer, f Facts) bool {
	pool := Pool(vs, f.Health)
	return vs.SorryServer != nil && len(pool) == 1 && pool[0] == *vs.SorryServer
}

// logPass says what a reconciliation met: each new refusal of the kernel once, its
// end, and repairs of what somebody else changed.
func (d *Director) logPass(p Pass) {
	for _, op := range p.Done {
		d.o.Logger.Debug("ipvs changed", "op", op)
	}
	d.applied += uint64(len(p.Done))
	d.refused += uint64(len(p.Errs))
	switch text := errText(p.err()); {
	case text == d.lastErr:
	case text == "":
		d.lastErr = ""
		d.o.Logger.Info("kernel agrees with the configuration again")
		d.record(Event{At: p.At, Kind: EventIPVSRecovered, Object: "ipvs", Text: "the kernel agrees with the configuration again"})
	default:
		d.lastErr = text
		d.o.Logger.Error("kernel refused a change, trying again", "err", text)
		d.record(Event{At: p.At, Kind: EventIPVSFailure, Object: "ipvs", Text: text})
	}
	if p.Drift {
		d.repaired += uint64(len(p.Done))
		d.o.Logger.Warn("ipvs table was changed by another program, repaired", "op", strings.Join(p.Done, "; "))
		d.record(Event{At: p.At, Kind: EventIPVSRepair, Object: "ipvs",
			Text: "changed by another program, repaired: " + strings.Join(p.Done, "; ")})
	}
	if text := errText(p.LedgerErr); text != d.ledgerErr {
		d.ledgerErr = text
		if text != "" {
			d.o.Logger.Warn("ledger not written, a crash now would leave services behind", "err", text)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// hash is a fingerprint as logs and status show it.
func hash(f [16]byte) string { return hex.EncodeToString(f[:6]) }

// listKeys names the first few of some keys.
func listKeys(keys []string) string {
	const most = 5
	switch {
	case len(keys) == 0:
		return "nothing changed"
	case len(keys) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(keys[:most], ", "), len(keys)-most)
	}
	return strings.Join(keys, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
