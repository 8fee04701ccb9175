package realserver

import (
	"fmt"
	"net/netip"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/sysctl"
)

// loopback is where the virtual addresses of direct routing are.
const loopback = "lo"

// Kind is what a [Step] does.
type Kind uint8

// The kinds of steps.
const (
	SetSysctl Kind = iota
	AddAddress
	AddRoute
	DeleteRoute
	DeleteAddress
	AddTunnel
	DeleteTunnel
	SetUp
	SetDown
	LoadModule
	AddPort
	DeletePort
)

// Step is one change to the machine.
type Step struct {
	Kind Kind
	// Device is the interface of all kinds but SetSysctl, LoadModule and those of ports.
	// Of LoadModule it is the module.
	Device string
	// Addr is the virtual address, or the address at which a tunnel ends.
	Addr netip.Addr
	// Param, in the form of package sysctl, and Value are those of SetSysctl.
	Param, Value string
	// Port is that of AddPort and DeletePort.
	Port netif.Port

	end end // of AddTunnel
}

// String is the step as a command line.
func (s Step) String() string {
	switch s.Kind {
	case AddAddress:
		return fmt.Sprintf("ip addr add %v dev %s", host(s.Addr), s.Device)
	case DeleteAddress:
		return fmt.Sprintf("ip addr del %v dev %s", host(s.Addr), s.Device)
	case AddRoute:
		return fmt.Sprintf("ip route add %v dev %s", host(s.Addr), s.Device)
	case DeleteRoute:
		return fmt.Sprintf("ip route del %v dev %s", host(s.Addr), s.Device)
	case AddTunnel:
		return fmt.Sprintf("ip link add %s type %s%s", s.Device, s.end, s.end.options())
	case DeleteTunnel:
		return "ip link del " + s.Device
	case SetUp:
		return fmt.Sprintf("ip link set %s up", s.Device)
	case SetDown:
		return fmt.Sprintf("ip link set %s down", s.Device)
	case LoadModule:
		return "modprobe " + s.Device
	case AddPort:
		return fmt.Sprintf("ip fou add port %s", portText(s.Port))
	case DeletePort:
		return fmt.Sprintf("ip fou del port %s", portText(s.Port))
	}
	return fmt.Sprintf("sysctl -w %s=%s", sysctl.Dotted(s.Param), s.Value)
}

// String is the end as ip(8) has it: "ipip local 10.0.0.21".
func (e end) String() string {
	text := fmt.Sprintf("%s local %v", e.Kind, e.Local)
	if e.Checksum {
		text += " icsum"
	}
	return text
}

// options are those that ip(8) needs besides.
func (e end) options() string {
	if e.Kind == "ip6tnl" {
		return " mode ip6ip6 allow-localremote"
	}
	return ""
}

// portText is a port as ip-fou(8) has it.
func portText(p netif.Port) string {
	if p.IPv6 {
		return fmt.Sprintf("%d gue -6", p.Number)
	}
	return fmt.Sprintf("%d gue", p.Number)
}

// host is the address with its full prefix length. With a shorter one on the
// loopback interface the whole subnet would be local.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
