package syncd

// Role is a kernel sync daemon's role (IP_VS_STATE_*, linux/ip_vs.h).
type Role uint8

// The roles, numbered as in the kernel.
const (
	RoleMaster Role = 1 // sends
	RoleBackup Role = 2 // receives
)

func (r Role) String() string {
	if r == RoleMaster {
		return "master"
	}
	return "backup"
}

// Daemon is one running kernel sync daemon. A kernel, or rather each network
// namespace, has at most one per role.
type Daemon struct {
	Role      Role
	Interface string
	SyncID    uint8
	// MaxLen is the size of the datagrams in bytes; 0 is the kernel's choice, the
	// interface's MTU less the headers. What the kernel chose is read back as 0
	// only if MaxLen was not asked for.
	MaxLen uint16
}

// Op starts or stops a daemon. Its String is the line of ipvsadm that does the same.
type Op interface {
	String() string
	op()
}

type (
	// Start starts a daemon. The kernel refuses a second one of the same role.
	Start struct{ Daemon Daemon }
	// Stop stops the daemon of a role.
	Stop struct{ Role Role }
)

func (Start) op() {}
func (Stop) op()  {}
