package ipvsnl

import (
	"net/netip"

	"github.com/hadirector/hadirector/syncd"
)

// Attributes of a sync daemon (IPVS_DAEMON_ATTR_*, linux/ip_vs.h). Those after the
// sync id exist since Linux 4.3.
const (
	daemonState  = 1
	daemonIfName = 2
	daemonSyncID = 3
	daemonMaxLen = 4
	daemonGroup  = 5
	daemonGroup6 = 6
	daemonPort   = 7 // native order, unlike every other port
	daemonTTL    = 8
)

// packDaemon encodes a daemon to start. What is zero is left to the kernel.
func packDaemon(d syncd.Daemon) []byte {
	b := appendUint32(nil, daemonState, uint32(d.Role))
	b = appendString(b, daemonIfName, d.Interface)
	b = appendUint32(b, daemonSyncID, uint32(d.SyncID))
	if d.MaxLen != 0 {
		b = appendUint16(b, daemonMaxLen, d.MaxLen)
	}
	switch group := d.Group.Unmap(); {
	case group.Is4():
		b = appendAttr(b, daemonGroup, group.AsSlice())
	case group.Is6():
		b = appendAttr(b, daemonGroup6, group.AsSlice())
	}
	if d.Port != 0 {
		b = appendUint16(b, daemonPort, d.Port)
	}
	if d.TTL != 0 {
		b = appendUint8(b, daemonTTL, d.TTL)
	}
	return appendAttr(nil, attrDaemon, b)
}

// packDaemonRole encodes a daemon to stop.
func packDaemonRole(r syncd.Role) []byte {
	return appendAttr(nil, attrDaemon, appendUint32(nil, daemonState, uint32(r)))
}

// unpackDaemon decodes a message of the daemon listing, without its genetlink
// header.
func unpackDaemon(b []byte) (syncd.Daemon, error) {
	top, err := parseAttrs(b)
	if err != nil {
		return syncd.Daemon{}, err
	}
	as, err := top.nested(attrDaemon)
	if err != nil {
		return syncd.Daemon{}, err
	}
	d := syncd.Daemon{
		Role:      syncd.Role(as.uint32(daemonState)),
		Interface: as.string(daemonIfName),
		SyncID:    uint8(as.uint32(daemonSyncID)),
		MaxLen:    as.uint16(daemonMaxLen),
		Port:      as.uint16(daemonPort),
		TTL:       as.uint8(daemonTTL),
	}
	for _, typ := range []uint16{daemonGroup, daemonGroup6} {
		if group, ok := netip.AddrFromSlice(as[typ]); ok {
			d.Group = group
		}
	}
	return d, nil
}
