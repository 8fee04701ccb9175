package syncd

import "net/netip"

// The kernel's defaults, and the bounds that it sets for the size of a datagram
// (start_sync_thread, net/netfilter/ipvs/ip_vs_sync.c).
const (
	defaultPort = 8848
	defaultTTL  = 1

	headers4      = 20 + 8 // IPv4 and UDP
	headers6      = 40 + 8 // IPv6 and UDP
	etherMTU      = 1500   // a master's by default, whatever its interface has
	backupMinimum = 1024   // a backup daemon never takes less
	maxDatagram   = 65535
)

var defaultGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// Running returns d as the kernel reports it once it runs on an interface with the
// given MTU: the kernel fills in its defaults and bounds the size.
func (d Daemon) Running(mtu int) Daemon {
	if !d.Group.IsValid() {
		d.Group = defaultGroup
	}
	if d.Port == 0 {
		d.Port = defaultPort
	}
	if d.TTL == 0 {
		d.TTL = defaultTTL
	}
	headers := headers4
	if d.Group.Is6() {
		headers = headers6
	}
	size, smallest := int(d.MaxLen), 1
	if d.Role == RoleBackup {
		smallest = backupMinimum
	}
	switch {
	case size != 0:
		size = min(max(size, smallest), maxDatagram-headers)
	case d.Role == RoleBackup:
		size = min(max(mtu, etherMTU), maxDatagram) - headers
	default:
		size = etherMTU - headers
	}
	d.MaxLen = uint16(size)
	return d
}

// Matches reports whether running, as the kernel reports it, is what starting d
// would give. When the kernel chooses the size of a backup daemon it goes by the
// MTU, which is not known here: then any size that some MTU leads to matches.
func (d Daemon) Matches(running Daemon) bool {
	want, got := d.Running(etherMTU), running.Running(etherMTU)
	if d.MaxLen == 0 && d.Role == RoleBackup && got.MaxLen > want.MaxLen {
		want.MaxLen = got.MaxLen
	}
	return want == got
}
