package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// extendedError returns the error that came with a message of the error queue
// (sock_extended_err in linux/errqueue.h).
func (in *incoming) extendedError(oob []byte) (unix.Errno, bool) {
	level, kind := int32(unix.SOL_IP), int32(unix.IP_RECVERR)
	if in.six {
		level, kind = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, m := range all {
		if m.Header.Level == level && m.Header.Type == kind && len(m.Data) >= 4 {
			return unix.Errno(binary.NativeEndian.Uint32(m.Data)), true
		}
	}
	return 0, false
}

// hostOf is the address of a socket's peer, without a zone.
func hostOf(sa unix.Sockaddr) netip.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr)
	}
	return netip.Addr{}
}
