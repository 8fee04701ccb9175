package ipvs

import (
	"iter"
	"maps"
	"slices"
)

// Entry is a service with its destinations.
type Entry struct {
	Service      Service
	Destinations map[DestinationKey]Destination
}

// Table is a set of services. Desired and actual tables are of this one type. It
// holds only what is configured; what the kernel observes is in [Observed].
type Table map[ServiceKey]Entry

// Observed holds the kernel's connection counts beside a Table.
type Observed map[ServiceKey]map[DestinationKey]Connections

// Clone returns a copy that shares nothing with t.
func (t Table) Clone() Table {
	c := make(Table, len(t))
	for k, e := range t {
		c[k] = e.Clone()
	}
	return c
}

// Clone returns a copy that shares nothing with e.
func (e Entry) Clone() Entry {
	e.Destinations = maps.Clone(e.Destinations)
	return e
}

// Equal reports whether the kernel would do the same with either table: values
// without effect, such as the timeout of a service without persistence, do not
// count.
func (t Table) Equal(o Table) bool {
	return maps.EqualFunc(t, o, Entry.Equal)
}

// Equal reports whether the kernel would do the same with either service.
func (e Entry) Equal(o Entry) bool {
	if e.Service != o.Service && e.Service.Canonical() != o.Service.Canonical() {
		return false
	}
	return maps.EqualFunc(e.Destinations, o.Destinations, func(a, b Destination) bool {
		return a == b || a.Canonical() == b.Canonical()
	})
}

// All yields the services in the order of [ServiceKey.Compare].
func (t Table) All() iter.Seq2[ServiceKey, Entry] {
	return func(yield func(ServiceKey, Entry) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(t), ServiceKey.Compare) {
			if !yield(k, t[k]) {
				return
			}
		}
	}
}

// All yields the destinations in the order of their addresses and ports.
func (e Entry) All() iter.Seq2[DestinationKey, Destination] {
	return func(yield func(DestinationKey, Destination) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(e.Destinations), DestinationKey.Compare) {
			if !yield(k, e.Destinations[k]) {
				return
			}
		}
	}
}
