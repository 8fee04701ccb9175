package ipvs

// Listing is what a kernel lists: services in its own order, the one in which its hash
// tables hold them. [Listing.Sort] brings it into ipvsadm's. Unlike a [Table] it also
// has what the kernel counts.
type Listing []ListedService

// ListedService is a service as the kernel lists it.
type ListedService struct {
	Service
	Counters     Counters
	Destinations []ListedDestination
}

// ListedDestination is a destination as the kernel lists it.
type ListedDestination struct {
	Destination
	Connections Connections
	Counters    Counters
}

// Table is the listing without the order and the counts.
func (l Listing) Table() Table {
	t := make(Table, len(l))
	for _, s := range l {
		e := Entry{Service: s.Service, Destinations: make(map[DestinationKey]Destination, len(s.Destinations))}
		for _, d := range s.Destinations {
			e.Destinations[d.Key] = d.Destination
		}
		t[s.Key] = e
	}
	return t
}
