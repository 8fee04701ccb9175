package doctor

import (
	"net/netip"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/nft"
)

// DirectorFacts are those that only a director's part needs.
type DirectorFacts struct {
	// Version is this program's.
	Version string
	// Daemon is what a running daemon says of itself; nil: none runs, or it could not be
	// asked. NoDaemon says which.
	Daemon   *director.Status
	NoDaemon bool
	// Systemd says that the machine has it, and Enabled which units start with the machine.
	Systemd bool
	Enabled map[string]bool
	// Others are other programs that speak VRRP in this network namespace.
	Others []Process

	// IPVS is whether the kernel has it, Lacking are the modules that virtual servers ask
	// for and it does not have, by the names of schedulers and persistence engines.
	IPVS    Presence
	Lacking map[Module]bool

	// Tables is whether the kernel has nftables, Inputs are its chains that drop what no
	// rule names. Answers are the same ones, looked at for the virtual addresses that
	// answer probes; none if there is no such address.
	Tables          Presence
	Inputs, Answers []nft.Input
	// Streams are the same ones, looked at for the port of the stream of connections, and
	// Barriers those that drop what the kernel's sync daemons say on their private interface;
	// none without a relay of connections.
	Streams  []nft.Input
	Barriers []nft.Barrier
	// SyncModules are the kernel modules that a relay of connections needs.
	SyncModules map[string]Presence

	// Ways are the ways to real servers. One without any is not there.
	Ways map[netip.Addr]netif.Way

	// Key is the cluster key's file.
	Key Key
}

// Process is another program that runs.
type Process struct {
	Name string
	PID  int
	Unit string // of systemd; empty: none
}

// Module is a scheduler with or without a persistence engine.
type Module struct{ Scheduler, Engine string }

// Key is what is known about the file of the cluster key.
type Key struct {
	Missing bool
	Mode    uint32 // permissions
	Owner   int
	// Broken is why it cannot be used, apart from that.
	Broken string
}
