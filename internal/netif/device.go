package netif

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/hadirector/hadirector/vrrp"
)

// device is a virtual router's own link, as it has to be or as the kernel has it.
type device struct {
	// Base is the interface below it.
	Base string `json:"base"`
	// Family is the virtual router's. The settings of Base are for IPv4 alone.
	Family vrrp.Family `json:"family"`
	mac    [6]byte
	parent int  // index of the interface below
	isVLAN bool // macvlan
	mode   string
}

func wantedDevice(in vrrp.Instance, parent int) device {
	return device{
		Base: in.ID.Interface, Family: in.ID.Family, mac: vrrp.VirtualMAC(in.ID.Family, in.ID.VRID),
		parent: parent, isVLAN: true, mode: "private",
	}
}

// isVirtualMAC tells whether an address is a virtual router's (RFC 9568 section 7.3).
func isVirtualMAC(mac net.HardwareAddr) bool {
	return len(mac) == 6 && [4]byte(mac[:4]) == [4]byte{0x00, 0x00, 0x5e, 0x00} && (mac[4] == 1 || mac[4] == 2)
}

// verdict is what to do about a link that has the name of a virtual router's own.
type verdict int

const (
	adopt verdict = iota // it is as it should be
	renew                // it is ours and wrong
	leave                // it is somebody else's
)

// judge compares a link that is there with the wanted one. ours says that it has been
// made here, by this run or an earlier one. A link that is exactly as it should be is
// taken for one of ours: nobody else makes a private macvlan with this address.
func judge(have, want device, ours bool) verdict {
	switch {
	case have.isVLAN && have.mac == want.mac && have.parent == want.parent && have.mode == want.mode:
		return adopt
	case ours && have.isVLAN:
		return renew
	}
	return leave
}

// String says what kind of link it is, for the operator who has to tell whose it is.
func (d device) String() string {
	if !d.isVLAN {
		return "no macvlan"
	}
	return fmt.Sprintf("a macvlan in %s mode with address %v on %s", d.mode, net.HardwareAddr(d.mac[:]), d.Base)
}

// setting is one kernel parameter and the value that it needs.
type setting struct {
	name, value string
	// good are further values that serve as well.
	good []string
}

func (s setting) satisfiedBy(value string) bool {
	return value == s.value || slices.Contains(s.good, value)
}

// deviceSettings are the parameters of the link itself. They end with it.
//
// IPv4: ARP requests for addresses of other links are not answered with the virtual MAC
// address (arp_ignore); packets from addresses that are reached over the interface
// below are accepted, advertisements first of all (rp_filter), also from an address of
// this machine (accept_local).
//
// IPv6: no address is made of the virtual MAC address, because two directors would have
// the same (RFC 9568 section 7.4), and nothing is asked for from it while this director
// is Backup. With v6 the link needs IPv6 even if the machine's default is to have none.
func deviceSettings(link string, v6 bool) []setting {
	conf4, conf6 := "net/ipv4/conf/"+link+"/", "net/ipv6/conf/"+link+"/"
	s := []setting{
		{name: conf4 + "arp_ignore", value: "1"},
		{name: conf4 + "accept_local", value: "1"},
		{name: conf4 + "rp_filter", value: "0"},
		{name: conf4 + "promote_secondaries", value: "1"},
		{name: conf6 + "addr_gen_mode", value: "1"}, // none
		{name: conf6 + "accept_ra", value: "0"},
		{name: conf6 + "router_solicitations", value: "0"},
	}
	if v6 {
		s = append(s, setting{name: conf6 + "disable_ipv6", value: "0"})
	}
	return s
}

// baseSettings are the parameters of an interface with virtual routers' links above it.
// It must not answer ARP for their addresses (arp_ignore, arp_filter), and must not name
// them in its own requests: the neighbours would learn the address with the wrong MAC
// address when the Master answers them (arp_announce).
func baseSettings(base string) []setting {
	conf := "net/ipv4/conf/" + base + "/"
	return []setting{
		{name: conf + "arp_ignore", value: "1", good: []string{"2"}},
		{name: conf + "arp_filter", value: "1"},
		{name: conf + "arp_announce", value: "2"},
	}
}

const rpFilter = "net/ipv4/conf/%s/rp_filter"

// rpFilterSettings take the machine's rp_filter off "all" and put it on each interface
// and on "default". The kernel uses the higher of "all" and the interface's own, so the
// links of virtual routers could not be without it otherwise; for every other interface
// nothing changes. Those for "all" come last, so that no interface is ever without.
func rpFilterSettings(all string, interfaces []string) []setting {
	if n, err := strconv.Atoi(all); err != nil || n == 0 {
		return nil
	}
	s := []setting{{name: fmt.Sprintf(rpFilter, "default"), value: all, good: []string{"2"}}}
	for _, ifname := range interfaces {
		s = append(s, setting{name: fmt.Sprintf(rpFilter, ifname), value: all, good: []string{"2"}})
	}
	return append(s, setting{name: fmt.Sprintf(rpFilter, "all"), value: "0"})
}
