package netif

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Tunnel is an interface at which tunnels from anywhere to one address of this machine
// end.
type Tunnel struct {
	Name string
	// Kind is as in "ip link add type": "ipip" and "gre" carry IPv4 over IPv4, "ip6tnl"
	// and "ip6gre" IPv6 over IPv6.
	Kind  string
	Local netip.Addr
	// Checksum: it takes what has a GRE checksum and nothing else. Without, the reverse.
	Checksum bool
	Up       bool
}

// tunnelAllowLocalRemote is IP6_TNL_F_ALLOW_LOCAL_REMOTE (linux/ip6_tunnel.h). A director
// may send from a virtual address, which is this machine's too.
const tunnelAllowLocalRemote = 0x40

// Tunnels returns the tunnel interfaces that an address of their own and nothing else
// selects: no remote address, no key.
func Tunnels() ([]Tunnel, error) {
	h, err := openHandle()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var tunnels []Tunnel
	for _, l := range links {
		t := Tunnel{Name: l.Attrs().Name, Kind: l.Type(), Up: l.Attrs().Flags&net.FlagUp != 0}
		var local, remote net.IP
		switch l := l.(type) {
		case *netlink.Iptun:
			local, remote = l.Local, l.Remote
		case *netlink.Ip6tnl:
			local, remote = l.Local, l.Remote
		case *netlink.Gretun:
			local, remote = l.Local, l.Remote
			t.Checksum = l.IFlags&nl.GRE_CSUM != 0
			if l.IFlags&nl.GRE_KEY != 0 {
				continue
			}
		default:
			continue
		}
		a, ok := netip.AddrFromSlice(local)
		if t.Local = a.Unmap(); ok && !t.Local.IsUnspecified() && (len(remote) == 0 || remote.IsUnspecified()) {
			tunnels = append(tunnels, t)
		}
	}
	return tunnels, nil
}

// AddTunnel adds a tunnel interface, which is down. The kernel loads the module that it
// needs.
func AddTunnel(t Tunnel) error {
	h, err := openHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = t.Name
	local := net.IP(t.Local.AsSlice())
	var l netlink.Link
	switch t.Kind {
	case "ipip":
		l = &netlink.Iptun{LinkAttrs: attrs, Local: local, PMtuDisc: 1, Proto: unix.IPPROTO_IPIP}
	case "ip6tnl":
		l = &netlink.Ip6tnl{LinkAttrs: attrs, Local: local, Proto: unix.IPPROTO_IPV6, Flags: tunnelAllowLocalRemote}
	case "gre", "ip6gre":
		gre := &netlink.Gretun{LinkAttrs: attrs, Local: local, PMtuDisc: 1}
		if t.Checksum {
			gre.IFlags = nl.GRE_CSUM
		}
		l = gre
	default:
		return fmt.Errorf("add interface %s: %q is no kind of tunnel", t.Name, t.Kind)
	}
	if err := h.LinkAdd(l); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("add interface %s: the kernel has no tunnels of the kind %s and cannot load them: %w", t.Name, t.Kind, err)
		}
		return fmt.Errorf("add interface %s: %w", t.Name, err)
	}
	return nil
}

// SetUp sets an interface up, or down.
func SetUp(ifname string, up bool) error {
	if up {
		return onLink(ifname, "set up", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetUp(l) })
	}
	return onLink(ifname, "set down", func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetDown(l) })
}

// DeleteTunnel deletes a tunnel interface with its addresses.
func DeleteTunnel(ifname string) error {
	return onLink(ifname, "delete interface", func(h *netlink.Handle, l netlink.Link) error { return h.LinkDel(l) })
}

// Port is a UDP port at which the kernel takes Generic UDP Encapsulation (GUE) for every
// address of one family.
type Port struct {
	Number uint16 `json:"number"`
	IPv6   bool   `json:"ipv6,omitempty"`
}

// change sends one of the kernel's commands for the port. The library's own (v1.3.1) goes
// with a protocol of 0, which kernels refuse.
func (p Port) change(command uint8) error {
	family, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME)
	if err != nil {
		return fmt.Errorf("look up netlink family %s: %w", netlink.FOU_GENL_NAME, err)
	}
	af := uint8(unix.AF_INET)
	if p.IPv6 {
		af = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: command, Version: fouVersion})
	for _, attr := range []*nl.RtAttr{
		nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, p.Number)),
		nl.NewRtAttr(netlink.FOU_ATTR_AF, []byte{af}),
		nl.NewRtAttr(netlink.FOU_ATTR_TYPE, []byte{netlink.FOU_ENCAP_GUE}),
	} {
		req.AddData(attr)
	}
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

const fouVersion = 1 // FOU_GENL_VERSION, linux/fou.h

// GUEPorts lists the ports for GUE, and tells whether the kernel has its part for them,
// the module fou, loaded at all.
func GUEPorts() (ports []Port, loaded bool, err error) {
	if _, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("look up netlink family %s: %w", netlink.FOU_GENL_NAME, err)
	}
	// The kernel lists both families whatever it is asked for.
	fous, err := dump(func() ([]netlink.Fou, error) { return netlink.FouList(netlink.FAMILY_ALL) })
	if err != nil {
		return nil, true, fmt.Errorf("list the ports for gue: %w", err)
	}
	for _, f := range fous {
		if f.EncapType == netlink.FOU_ENCAP_GUE {
			ports = append(ports, Port{Number: uint16(f.Port), IPv6: f.Family == netlink.FAMILY_V6})
		}
	}
	return ports, true, nil
}

// AddGUEPort has the kernel take GUE at a port.
func AddGUEPort(p Port) error {
	if err := p.change(netlink.FOU_CMD_ADD); err != nil {
		return fmt.Errorf("take gue at UDP port %d: %w", p.Number, err)
	}
	return nil
}

// DeleteGUEPort undoes AddGUEPort.
func DeleteGUEPort(p Port) error {
	if err := p.change(netlink.FOU_CMD_DEL); err != nil {
		return fmt.Errorf("take gue at UDP port %d no more: %w", p.Number, err)
	}
	return nil
}

const modprobeTimeout = 20 * time.Second

// LoadModule loads a kernel module that the kernel does not load by itself.
func LoadModule(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), modprobeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "modprobe", name).CombinedOutput()
	if err != nil {
		if text := bytes.TrimSpace(out); len(text) > 0 {
			return fmt.Errorf("load the kernel module %s: %w: %s", name, err, text)
		}
		return fmt.Errorf("load the kernel module %s: %w", name, err)
	}
	return nil
}
