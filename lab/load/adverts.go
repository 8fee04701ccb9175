package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Advert is a VRRP advertisement on the wire, read no further than its first bytes.
type Advert struct {
	At       time.Time // of arrival, by the kernel's clock
	From     netip.Addr
	VRID     uint8
	Priority uint8
}

// HearAdverts listens on an interface to what is sent to the IPv4 VRRP group, and calls f
// for every advertisement until ctx is done. Enter is as in Requests.
func HearAdverts(ctx context.Context, device string, enter func() error, f func(Advert)) error {
	conn, err := listen("ip4:112", "0.0.0.0", enter, func(fd int) error {
		link, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		group := unix.IPMreqn{Multiaddr: [4]byte{224, 0, 0, 18}, Ifindex: int32(link.Index)}
		return errors.Join(
			os.NewSyscallError("SO_BINDTODEVICE", unix.BindToDevice(fd, device)),
			os.NewSyscallError("IP_ADD_MEMBERSHIP", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &group)),
		)
	})
	if err != nil {
		return fmt.Errorf("hear advertisements on %s: %w", device, err)
	}
	return each(ctx, conn, func(d datagram) {
		if len(d.payload) < 3 {
			return
		}
		from, _ := netip.AddrFromSlice(d.from)
		f(Advert{At: d.at, From: from.Unmap(), VRID: d.payload[1], Priority: d.payload[2]})
	})
}
