package ipvs

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
