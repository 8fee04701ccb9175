package ipvs

// Apply changes t as a kernel would that refuses nothing: what is not there is not
// edited, and deleted already.
func (t Table) Apply(op Op) {
	switch op := op.(type) {
	case AddService:
		t[op.Service.Key] = Entry{Service: op.Service.Canonical(), Destinations: make(map[DestinationKey]Destination)}
	case EditService:
		if e, ok := t[op.Service.Key]; ok {
			e.Service = op.Service.Canonical()
			t[op.Service.Key] = e
		}
	case DeleteService:
		delete(t, op.Key)
	case AddDestination:
		if e, ok := t[op.Service]; ok {
			if e.Destinations == nil {
				e.Destinations = make(map[DestinationKey]Destination)
				t[op.Service] = e
			}
			e.Destinations[op.Destination.Key] = op.Destination.Canonical()
		}
	case EditDestination:
		if e, ok := t[op.Service]; ok {
			if _, ok := e.Destinations[op.Destination.Key]; ok {
				e.Destinations[op.Destination.Key] = op.Destination.Canonical()
			}
		}
	case DeleteDestination:
		delete(t[op.Service].Destinations, op.Key)
	}
}
