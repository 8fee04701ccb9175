package ipvs

import "time"

// Info describes the kernel's IPVS.
type Info struct {
	Version             string // "1.2.1"
	ConnectionTableSize uint32 // hash buckets
}

// Timeouts are how long an idle connection stays in the kernel's table.
type Timeouts struct {
	TCP, TCPFin, UDP time.Duration
}
