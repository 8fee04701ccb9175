package syncd

import (
	"fmt"
	"net/netip"
)

// Role is a kernel sync daemon's role (IP_VS_STATE_*, linux/ip_vs.h).
type Role uint8

// The roles, numbered as in the kernel.
const (
	RoleMaster Role = 1 // sends
	RoleBackup Role = 2 // receives
)

// String returns "master" or "backup".
func (r Role) String() string {
	if r == RoleMaster {
		return "master"
	}
	return "backup"
}

// Daemon is one kernel sync daemon. A kernel, or rather each network namespace, has
// at most one per role. The zero value of every field but the role, the interface
// and the sync id asks for the kernel's default.
type Daemon struct {
	Role      Role
	Interface string
	// SyncID marks the messages of a group of directors. A backup daemon takes
	// those of its own id only; with 0 it takes all.
	SyncID uint8
	// MaxLen is the size of the datagrams in bytes, without IP and UDP headers; 0
	// is the kernel's choice. The kernel reports the size in use, also when it
	// chose it: see [Daemon.Running].
	MaxLen uint16
	Group  netip.Addr // multicast group; invalid: 224.0.0.81
	Port   uint16     // UDP port; 0: 8848
	TTL    uint8      // 0: 1
}

// String returns the arguments of ipvsadm that describe d: "master
// --mcast-interface eth1 --syncid 51".
func (d Daemon) String() string {
	s := fmt.Sprintf("%s --mcast-interface %s --syncid %d", d.Role, d.Interface, d.SyncID)
	if d.MaxLen != 0 {
		s += fmt.Sprintf(" --sync-maxlen %d", d.MaxLen)
	}
	if d.Group.IsValid() && d.Group != defaultGroup {
		s += " --mcast-group " + d.Group.String()
	}
	if d.Port != 0 && d.Port != defaultPort {
		s += fmt.Sprintf(" --mcast-port %d", d.Port)
	}
	if d.TTL != 0 && d.TTL != defaultTTL {
		s += fmt.Sprintf(" --mcast-ttl %d", d.TTL)
	}
	return s
}

// Op starts or stops a daemon. The set is closed. Its String is the arguments of
// ipvsadm that do the same.
type Op interface {
	String() string
	op()
}

type (
	// Start starts a daemon. The kernel refuses a second one of the same role,
	// even with another sync id.
	Start struct{ Daemon Daemon }
	// Stop stops the daemon of a role.
	Stop struct{ Role Role }
)

func (Start) op() {}
func (Stop) op()  {}

// String returns "--start-daemon master --mcast-interface eth1 --syncid 51".
func (o Start) String() string { return "--start-daemon " + o.Daemon.String() }

// String returns "--stop-daemon master".
func (o Stop) String() string { return "--stop-daemon " + o.Role.String() }
