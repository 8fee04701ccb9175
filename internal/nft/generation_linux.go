package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// patience bounds the wait for the kernel's answers. They take milliseconds, and a second
// for tables of a hundred thousand entries.
const patience = 30 * time.Second

// connect opens a socket to the kernel's netfilter. Tests put a kernel without nftables in
// its place.
var connect = func() (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// some names what an operation is about, for its error: the first of them, and how many more.
func some[T fmt.Stringer](list []T) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return " (" + list[0].String() + ")"
	}
	return fmt.Sprintf(" (%s, and %d more)", list[0], len(list)-1)
}

// generation is the number of the kernel's last change to any table, by whomever
// (NFT_MSG_GETGEN, linux/netfilter/nf_tables.h). The library lacks it.
func generation() (uint32, error) {
	c, err := connect()
	if err != nil {
		return 0, fmt.Errorf("ask for the generation of nftables: %w", err)
	}
	defer c.Close()
	replies, err := c.Execute(request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, unix.NFPROTO_UNSPEC, 0, nil))
	if errors.Is(err, unix.EINVAL) {
		err = unix.EOPNOTSUPP // a kernel without nftables, but with netfilter's netlink (nfnetlink_rcv_msg)
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the generation of nftables: %w", err)
	}
	for _, m := range replies {
		if len(m.Data) < 4 {
			continue
		}
		attributes, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("ask for the generation of nftables: %w", err)
		}
		attributes.ByteOrder = binary.BigEndian
		for attributes.Next() {
			if attributes.Type() == unix.NFTA_GEN_ID {
				return attributes.Uint32(), nil
			}
		}
	}
	return 0, fmt.Errorf("ask for the generation of nftables: the kernel's answer has none")
}
