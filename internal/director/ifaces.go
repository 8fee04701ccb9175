package director

import (
	"context"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

// Kernel is the kernel's IPVS. The reconciler is its only caller: one Table or Refresh at
// a time, and beside it one of the other calls at a time, which does not wait for it. An error says
// what was attempted on which object.
type Kernel interface {
	// Table reads every service with its destinations, and the connection counts. What
	// is changed meanwhile it may show in either state. The caller owns the result.
	Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error)
	// Refresh does the same much faster for one who has read the table before: what
	// cannot be read quickly is as in last. The result may share its services with last,
	// and nobody writes to either.
	Refresh(ctx context.Context, last ipvs.Table) (ipvs.Table, ipvs.Observed, error)
	// ApplyAll carries out operations one after the other, whatever becomes of those
	// before, and returns what each has failed with.
	ApplyAll(ctx context.Context, ops []ipvs.Op) []error
	Daemons(ctx context.Context) ([]syncd.Daemon, error)
	ApplyDaemon(ctx context.Context, op syncd.Op) error
}

// Marker gives packets firewall marks.
type Marker interface {
	// Ensure makes the packets that come to the machine get these marks and no others;
	// the last of several that fit wins. It tells whether it wrote anything, and whether
	// that was to put back what somebody else had taken away.
	Ensure([]ipvs.Marking) (wrote, repaired bool, err error)
}

// Translator gives connections that IPVS forwards by NAT another source address.
type Translator interface {
	// Ensure makes these translations the ones that there are. It tells whether it wrote
	// anything, and whether that was to put back what somebody else had changed.
	Ensure([]ipvs.Translation) (wrote, repaired bool, err error)
}

// Parameters are the kernel's parameters. The reconciler is the only caller.
type Parameters interface {
	// Ensure gives each parameter its value, in this order, and tells how each is that
	// applies on this machine. What a parameter was is known to Release from then on,
	// also in the next process if this one is killed. The error says that it is not.
	Ensure([]ipvs.Parameter) ([]ipvs.ParameterState, error)
	// Release puts back what Ensure has changed, but for what is to be kept and what
	// somebody else has changed since, and tells what became of each.
	Release(keep []ipvs.Parameter) ([]ipvs.ParameterState, error)
	// Rehearsal returns Parameters that tell what these would do, and change nothing.
	Rehearsal() Parameters
}

// PrivateLink is the interface that leads nowhere, where the kernel's sync daemons talk when
// their messages are relayed. The reconciler is the only caller.
type PrivateLink interface {
	// Ensure makes the interface, or mends what somebody else has changed of it.
	Ensure() (PrivateState, error)
	// Delete deletes it. One that is gone, or that was not made for this, is left alone;
	// the latter is an error.
	Delete() error
}

// PrivateState is how the private interface is. The zero value is that there is none.
type PrivateState struct {
	Index int
	// Made says that there was none before. What was bound to one before hears nothing any
	// more.
	Made bool
	// Mended is what somebody else had changed, in words.
	Mended []string
}

// VRRP runs the virtual routers. Only values cross: it may live in another process.
type VRRP interface {
	// Apply makes the named instances the running ones. What is unchanged keeps
	// running untouched.
	Apply(map[string]vrrp.Instance)
	// HandOver asks the named instances that are Master to give way to another
	// director, after what was applied before.
	HandOver(names ...string)
	// Announce asks the named instances that are Master to announce their addresses
	// again.
	Announce(names ...string)
	// Run blocks until ctx is canceled and every Master has handed over and released
	// its addresses.
	Run(ctx context.Context) error
	Snapshots() map[string]vrrp.Snapshot
}

// Health runs the checks.
type Health interface {
	Apply(map[healthcheck.Target]healthcheck.Spec)
	Run(ctx context.Context) error
	Snapshots() map[healthcheck.Target]healthcheck.Snapshot
	Load() healthcheck.Load
}

// ProbePaths makes the probes through virtual addresses. It is told for which firewall marks
// the kernel forwards them; the others must not be sent. Nobody writes to the map again.
type ProbePaths interface {
	Open(marks map[uint32]bool)
	// Avoid names the addresses that no such probe may come from, in the same way.
	Avoid(vips map[netip.Addr]bool)
}

// Links tells of interfaces.
type Links interface {
	// Watch delivers the state of all the named interfaces as soon as it is known and
	// whenever it changes, newest wins, until stop is called. Nobody writes to a map
	// that has been delivered.
	Watch(ifnames ...string) (changes <-chan map[string]Link, stop func())
}

// Link is what a track needs to know about an interface.
type Link struct {
	// Up says that it exists, is administratively up and has carrier.
	Up bool
	// Why says what is missing when Up is false: "link eth1 does not exist".
	Why string
}

// Peers is the membership of the directors.
type Peers interface {
	// Update tells the other directors about this one. It does not block.
	Update(Announcement)
	// Rekey goes on with the keys that a configuration asks for now. One of them was
	// accepted before.
	Rekey(*conf.Config) error
	Run(ctx context.Context) error
	Snapshots() []Peer
}

// Relay carries connections to and from the other directors.
type Relay interface {
	// Apply says what there is of the kernel. It does not block.
	Apply(RelayOrders)
	// SetNote gives the other directors small state of a kind. The newest of a kind
	// counts. It does not block.
	SetNote(kind uint8, payload []byte)
	// Notes returns what the other directors that are connected have given, by their
	// names and by kind. Nobody writes to the payloads.
	Notes() map[string]map[uint8][]byte
	// Complete tells for each other director whether this one's kernel was told all the
	// connections that it knows. Nobody writes to the map.
	Complete() map[string]bool
	Status() syncd.RelayStatus
	Rekey(*conf.Config) error
	Run(ctx context.Context) error
}

// RelayOrders are what a relay is to do with this director's kernel. The zero value is of a
// kernel that is not ready for anything.
type RelayOrders struct {
	// Ready says that the kernel has the virtual servers: what a backup daemon takes in
	// binds only to real servers that are there.
	Ready bool
	// Interface is the private interface's index; 0: there is none. Epoch is another
	// number whenever a sync daemon of the kernel may have been away.
	Interface int
	Epoch     uint64
	SyncID    uint8
	// Capture says that the master daemon runs, Inject that the backup daemon does, and
	// Tick that the tick service is there.
	Capture, Inject, Tick bool
	Scopes                syncd.Scopes
	// Serves tells of which connections the packets come to this director; nil: of none.
	// Serving says which these are in a form that can be compared.
	Serves  func(syncd.Conn) bool
	Serving string
}

// RelayFactory makes the relay for a configuration; it is asked again when a reload changes
// what the relay depends on.
type RelayFactory func(cfg *conf.Config, self string, changed chan<- struct{}) (Relay, error)

// Announcement is what a director tells the others.
type Announcement struct {
	Version     string
	Roles       map[string]vrrp.State // by virtual router
	Sources     []netip.Addr          // that its advertisements come from
	Fingerprint [16]byte              // of the effective configuration
	// Config is the effective configuration in its canonical form. Of a peer it is
	// empty until it has arrived, and for good if it is too long to be exchanged.
	Config string
	// Overrides is what the director knows of overrides, in the form in which directors tell
	// each other, and OverridesID the first 16 bytes of its SHA-256. Of a peer the text may
	// be an older one, or empty; the OverridesID is zero if its program does not share them.
	Overrides   string
	OverridesID [16]byte
	// Sight is what the director sees of its real servers.
	Sight Sight
}

// Peer is another director as it was last heard of.
type Peer struct {
	Name    string
	Address netip.Addr
	Alive   bool
	Since   time.Time // of Alive's last change
	Leaving bool      // it said goodbye
	// LastSeen is when it last gave a sign of life; zero: never.
	LastSeen time.Time
	// ConfigTooLong says that the peer's Config will never arrive.
	ConfigTooLong bool
	// Why is why a peer that is not alive could not be reached.
	Why string
	Announcement
}

// Ledger remembers over a restart of the daemon which kernel objects are its own,
// so that those of a configuration that has changed meanwhile are still taken away,
// and those of other programs never are.
type Ledger interface {
	Load() (Owned, error)
	Save(Owned) error
}

// PeersFactory makes the membership for a configuration; it is asked again when a
// reload changes what the membership depends on.
type PeersFactory func(cfg *conf.Config, self string, changed chan<- struct{}) (Peers, error)
