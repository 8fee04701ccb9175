package director

import (
	"iter"
	"maps"

	"github.com/hadirector/hadirector/ipvs"
)

// own enters into the ledger what of these services the next operations may make.
func (r *reconciler) own(services iter.Seq[ipvs.ServiceKey]) {
	next := Owned{Services: r.owned.Services, SyncDaemons: r.owned.SyncDaemons || len(r.want.Daemons) > 0, Private: r.owned.Private || r.want.Private, Leaving: r.want.Leaving}
	for k := range services {
		if _, wanted := r.want.Table[k]; !wanted || next.Services[k] {
			continue
		}
		if len(next.Services) == len(r.owned.Services) { // the first one
			if next.Services = maps.Clone(next.Services); next.Services == nil {
				next.Services = make(map[ipvs.ServiceKey]bool)
			}
		}
		next.Services[k] = true
		if r.fresh == nil {
			r.fresh = make(map[ipvs.ServiceKey]bool)
		}
		r.fresh[k] = true
	}
	r.save(next)
}

// disown strikes from the ledger what is neither wanted nor there any more, whatever
// else went wrong: the next service with that key would be somebody else's.
func (r *reconciler) disown() {
	next := Owned{Services: r.owned.Services, SyncDaemons: r.owned.SyncDaemons, Private: r.owned.Private && !r.privateGone, Leaving: r.want.Leaving}
	candidates := r.owned.Services
	if len(candidates) == len(r.want.Table) {
		candidates = nil // what is wanted is in the ledger, and nothing else then
	}
	for k := range candidates {
		_, wanted := r.want.Table[k]
		_, there := r.known[k]
		if wanted || there || !r.readable() || r.doubt[k] {
			continue
		}
		if len(next.Services) == len(r.owned.Services) { // the first one
			next.Services = maps.Clone(next.Services)
		}
		delete(next.Services, k)
	}
	if len(r.want.Daemons) == 0 && r.daemonsRead && len(r.running) == 0 {
		next.SyncDaemons = false
	}
	r.save(next)
}

// save writes the ledger if it changed, or if the last write failed.
func (r *reconciler) save(next Owned) {
	if !r.unsaved && len(next.Services) == len(r.owned.Services) && next.SyncDaemons == r.owned.SyncDaemons && next.Private == r.owned.Private &&
		maps.Equal(next.Leaving, r.owned.Leaving) {
		return
	}
	r.owned = next
	r.next.LedgerErr = r.ledger.Save(next)
	r.unsaved = r.next.LedgerErr != nil
}
