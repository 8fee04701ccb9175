package director

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// witnessMessages are the log's lines for verdicts.
var witnessMessages = map[vrrp.Verdict]string{
	vrrp.VerdictOwnerOK:    "virtual address has its owner, and nobody else",
	vrrp.VerdictNoOwner:    "virtual address has no owner",
	vrrp.VerdictTwoOwners:  "virtual address has two owners",
	vrrp.VerdictWrongOwner: "virtual address has the wrong owner",
	vrrp.VerdictStranger:   "a stranger answers for a virtual address",
	vrrp.VerdictUnknown:    "virtual address can no longer be judged",
}

// witnessKinds are the journal's events for verdicts.
var witnessKinds = map[vrrp.Verdict]EventKind{
	vrrp.VerdictOwnerOK:    EventWitnessOwnerOK,
	vrrp.VerdictNoOwner:    EventWitnessNoOwner,
	vrrp.VerdictTwoOwners:  EventWitnessTwoOwners,
	vrrp.VerdictWrongOwner: EventWitnessWrongOwner,
	vrrp.VerdictStranger:   EventWitnessStranger,
	vrrp.VerdictUnknown:    EventWitnessUnknown,
}

// witnessed says what a round of the witness has brought, and has a Master announce
// again when somebody else answers for what is its own.
func (d *Director) witnessed(n witnessNews) {
	if _, ok := virtualRouter(d.force.cfg, n.instance); !ok {
		return // a reload has taken it away
	}
	if n.announce {
		d.o.VRRP.Announce(n.instance)
	}
	if n.Confirmed {
		d.record(Event{Kind: EventTakeoverConfirmed, Object: n.instance,
			Text: fmt.Sprintf("confirmed by the witness: the new Master alone answers for the virtual addresses, %v after the change", n.After.Round(time.Millisecond))})
	}
	// Addresses with the same finding are one line: a Master that dies may have 255.
	for len(n.Changes) > 0 {
		first := n.Changes[0]
		var addrs []netip.Addr
		var others []vrrp.VerdictChange
		for _, c := range n.Changes {
			if c.From.Verdict == first.From.Verdict && c.To.Equal(first.To) {
				addrs = append(addrs, c.Addr)
			} else {
				others = append(others, c)
			}
		}
		d.logVerdict(n.instance, addrs, first)
		n.Changes = others
	}
}

// logVerdict says a verdict once. That all is well is news only after it was not.
func (d *Director) logVerdict(instance string, addrs []netip.Addr, c vrrp.VerdictChange) {
	if !c.From.Verdict.Wrong() && !c.To.Verdict.Wrong() {
		return
	}
	vr, _ := virtualRouter(d.force.cfg, instance)
	names := make([]string, len(addrs))
	for i, a := range addrs {
		names[i] = a.String()
	}
	attrs := []any{"virtual_router", instance, "interface", vr.Interface, "vrid", vr.VRID, "address", listed(names), "was", c.From.Verdict}
	if len(c.To.Owners) > 0 {
		attrs = append(attrs, "owners", strings.Join(c.To.Owners, " "))
	}
	if len(c.To.Strangers) > 0 {
		attrs = append(attrs, "macs", macs(c.To.Strangers))
	}
	level := slog.LevelInfo
	if c.To.Verdict.Wrong() {
		level = slog.LevelWarn
	}
	d.log(level, witnessMessages[c.To.Verdict], attrs...)
	d.record(Event{
		Kind: witnessKinds[c.To.Verdict], Object: instance, From: string(c.From.Verdict), To: string(c.To.Verdict),
		Text: listed(names) + ": " + c.To.String(),
	})
}

func macs(list []vrrp.MAC) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.String()
	}
	return strings.Join(names, " ")
}

// WitnessStatus is what is said about who has a virtual router's addresses.
type WitnessStatus struct {
	Addresses []WitnessedStatus `json:"addresses"`
	// Rounds counts the rounds of questions, and Failed those that could not be asked,
	// of which Error is the last one's reason if the last one failed.
	Rounds uint64 `json:"rounds"`
	Failed uint64 `json:"failed"`
	Error  string `json:"error,omitempty"`
	// Changes counts the changes of verdict, by the new one.
	Changes map[vrrp.Verdict]uint64 `json:"changes"`
}

// WitnessedStatus is the verdict on one virtual address.
type WitnessedStatus struct {
	Address netip.Addr   `json:"address"`
	Verdict vrrp.Verdict `json:"verdict"`
	// Wrong says that the verdict is a fault, and Text is it in words.
	Wrong bool   `json:"wrong"`
	Text  string `json:"text"`
	// Owners are the directors that have the address, Strangers the Ethernet addresses
	// of others that answer for it.
	Owners    []string  `json:"owners"`
	Strangers []string  `json:"strangers"`
	Since     time.Time `json:"since,omitzero"`
}

// status is the witness as readers get it, nil before it has asked.
func (v witnessView) status() *WitnessStatus {
	if v.rounds+v.failed == 0 {
		return nil
	}
	s := &WitnessStatus{Rounds: v.rounds, Failed: v.failed, Error: v.err, Changes: v.changes}
	for _, a := range v.said {
		w := WitnessedStatus{
			Address: a.Addr, Verdict: a.Finding.Verdict, Wrong: a.Finding.Verdict.Wrong(), Text: a.Finding.String(),
			Owners: append([]string{}, a.Finding.Owners...), Strangers: []string{}, Since: a.Since,
		}
		for _, m := range a.Finding.Strangers {
			w.Strangers = append(w.Strangers, m.String())
		}
		s.Addresses = append(s.Addresses, w)
	}
	return s
}
