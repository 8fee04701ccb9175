package telemetry

import (
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

// witness writes who has the virtual addresses, and what is wrong between the directors.
func (w writer) witness(s director.Status, labels func(r director.RouterStatus, more ...string) []string) {
	w.gauge("hadirector_vrrp_adverts_blocked", "Whether a director that is alive says that it is Master, and its advertisements do not arrive.")
	for _, r := range s.VirtualRouters {
		w.set(flag(r.AdvertsBlocked), labels(r)...)
	}
	w.gauge("hadirector_vrrp_split_brain", "Whether another director says that it is Master as well as this one.")
	for _, r := range s.VirtualRouters {
		w.set(flag(r.SplitBrain), labels(r)...)
	}
	each := func(f func(r director.RouterStatus, witness *director.WitnessStatus)) {
		for _, r := range s.VirtualRouters {
			if r.Witness != nil {
				f(r, r.Witness)
			}
		}
	}
	w.gauge("hadirector_vrrp_witness", "Who has the virtual address by the answers of the segment: 1 for the verdict.")
	each(func(r director.RouterStatus, witness *director.WitnessStatus) {
		for _, a := range witness.Addresses {
			for _, v := range vrrp.Verdicts {
				w.set(flag(a.Verdict == v), labels(r, "address", a.Address.String(), "verdict", string(v))...)
			}
		}
	})
	w.counter("hadirector_vrrp_witness_changes_total", "Changes of verdict, by the new one.")
	each(func(r director.RouterStatus, witness *director.WitnessStatus) {
		for _, v := range vrrp.Verdicts {
			w.count(witness.Changes[v], labels(r, "verdict", string(v))...)
		}
	})
	w.counter("hadirector_vrrp_witness_rounds_total", "Rounds of questions who has the virtual addresses, by result.")
	each(func(r director.RouterStatus, witness *director.WitnessStatus) {
		w.count(witness.Rounds, labels(r, "result", "ok")...)
		w.count(witness.Failed, labels(r, "result", "error")...)
	})
}
