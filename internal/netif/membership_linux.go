package netif

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
)

// memberships keep interfaces in the groups that advertisements go to. The links above
// them may not report their own membership (see Guard), but a switch that snoops must
// know that somebody is there: the report goes out with the interface's own address.
type memberships map[membership]int // file descriptors of sockets that are never read

type membership struct {
	index  int
	family vrrp.Family
}

// join is idempotent.
func (m memberships) join(index int, f vrrp.Family) error {
	key := membership{index, f}
	if _, ok := m[key]; ok {
		return nil
	}
	domain := unix.AF_INET
	if f == vrrp.IPv6 {
		domain = unix.AF_INET6
	}
	// A datagram socket without a port receives nothing.
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := joinGroup(fd, index, vrrp.Group(f)); err != nil {
		return errors.Join(fmt.Errorf("join group %v: %w", vrrp.Group(f), err), unix.Close(fd))
	}
	m[key] = fd
	return nil
}

func joinGroup(fd, index int, group netip.Addr) error {
	if group.Is6() {
		return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)})
	}
	return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(index)})
}

// keep leaves every group that is not in use any more, also those of interfaces that
// are gone.
func (m memberships) keep(inUse func(membership) bool) {
	for key, fd := range m {
		if !inUse(key) {
			delete(m, key)
			_ = unix.Close(fd)
		}
	}
}
