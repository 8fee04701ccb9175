package ipvs

// Counters are what the kernel has counted for a service or a destination since it
// was added or zeroed, and its estimate of the present rates per second (struct
// ip_vs_kstats, net/ip_vs.h).
type Counters struct {
	Connections           uint64
	PacketsIn, PacketsOut uint64
	BytesIn, BytesOut     uint64

	ConnectionRate              uint64
	PacketRateIn, PacketRateOut uint64
	ByteRateIn, ByteRateOut     uint64
}

// ServiceCounters are a service's counters and those of its destinations.
type ServiceCounters struct {
	Counters
	Destinations map[DestinationKey]Counters
}

// Stats are the counters of a whole table.
type Stats map[ServiceKey]ServiceCounters
