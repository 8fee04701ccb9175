package ipvs

import (
	"maps"
	"slices"
)

// Diff returns the operations that make actual into desired, in the order in which
// they must be applied. Equal tables give none.
//
// own says which services are the caller's. A service that only actual has is
// deleted if own reports true for it and is foreign otherwise: never touched. A nil
// own owns nothing. A service that desired has is the caller's with all its
// destinations, whatever own says.
//
// The order keeps services in work. Whatever adds capacity comes first: new
// services, changed services, new destinations, destinations whose weight stays
// or becomes greater than 0. Whatever takes capacity away comes last: destinations
// quiesced to weight 0, deleted destinations, deleted services. So at every step a
// service that both tables have
//   - has every destination that serves in both tables, serving, and
//   - has at least as many serving destinations as the smaller of both tables.
//
// The other order would refuse clients between the delete and the add whenever all
// destinations of a service are exchanged. Everything that can be edited is edited
// in place, since deleting a destination cuts it off from its connections.
func Diff(desired, actual Table, own func(ServiceKey) bool) []Op {
	var differ []ServiceKey
	for key, want := range desired {
		if have, exists := actual[key]; !exists || !want.Equal(have) {
			differ = append(differ, key)
		}
	}
	for key := range actual {
		if _, wanted := desired[key]; !wanted {
			differ = append(differ, key)
		}
	}
	return diff(differ, desired, actual, own)
}

// DiffOf is [Diff] for some services alone. It costs nothing for all the others, so that
// a small change of a long table is quickly worked out.
func DiffOf(services map[ServiceKey]bool, desired, actual Table, own func(ServiceKey) bool) []Op {
	return diff(slices.Collect(maps.Keys(services)), desired, actual, own)
}

// diff works out the operations for the services of the keys.
func diff(keys []ServiceKey, desired, actual Table, own func(ServiceKey) bool) []Op {
	var addServices, editServices, addDests, editDests, quiesce, deleteDests, deleteServices []Op
	slices.SortFunc(keys, ServiceKey.Compare)
	for _, key := range keys {
		want, wanted := desired[key]
		have, exists := actual[key]
		switch {
		case !wanted && exists && own != nil && own(key):
			deleteServices = append(deleteServices, DeleteService{Key: key})
			continue
		case !wanted:
			continue
		case !exists:
			addServices = append(addServices, AddService{Service: want.Service})
		case want.Service.Canonical() != have.Service.Canonical():
			editServices = append(editServices, EditService{Service: want.Service})
		}
		for dk, d := range want.All() {
			old, exists := have.Destinations[dk]
			switch {
			case !exists:
				addDests = append(addDests, AddDestination{Service: key, Destination: d})
			case d.Canonical() == old.Canonical():
			case d.Weight > 0:
				editDests = append(editDests, EditDestination{Service: key, Destination: d})
			default:
				quiesce = append(quiesce, EditDestination{Service: key, Destination: d})
			}
		}
		for dk := range have.All() {
			if _, wanted := want.Destinations[dk]; !wanted {
				deleteDests = append(deleteDests, DeleteDestination{Service: key, Key: dk})
			}
		}
	}
	return slices.Concat(addServices, editServices, addDests, editDests, quiesce, deleteDests, deleteServices)
}
