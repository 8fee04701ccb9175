package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/vrrp"
)

func (d *diagnosis) director() {
	d.identity()
	d.daemon()
	d.links()
	for i := range d.cfg.VirtualRouters {
		vr := &d.cfg.VirtualRouters[i]
		d.leftover(vr)
		d.keepalivedPeer(vr)
	}
	d.otherPrograms()
	d.kernel()
	d.parameters()
	d.destinations()
	d.key()
	d.firewall()
	d.sync()
	d.answers()
	d.report.Director = d.self
}

// identity looks whether it is known which director this is, and whether its peers reach it.
func (d *diagnosis) identity() {
	_, err := d.cfg.FindDirector(d.Asked, d.Environment, d.Hostname, d.local())
	if err != nil {
		d.advise(Wrong, err.Error(), "The daemon does not start.",
			"Give this machine the address or the host name that the file has for it; or run 'systemctl edit hadirector' and write Environment="+conf.DirectorVariable+"=NAME below [Service].")
		return
	}
	me, ok := d.cfg.Director(d.self)
	if !ok {
		return // a plain load balancer
	}
	if d.isLocal(me.Address) {
		d.fine("the address %v of director %s is on an interface", me.Address, me.Name)
		return
	}
	what := fmt.Sprintf("the address %v of director %s is on no interface", me.Address, me.Name)
	const why = "The other directors reach this one there, for sync, membership and unicast advertisements."
	for _, i := range d.Interfaces {
		for _, p := range i.Addresses {
			if !i.Loopback && p.Prefix.Bits() < p.Prefix.Addr().BitLen() && p.Prefix.Masked().Contains(me.Address) {
				d.wrong(what, why, fmt.Sprintf("ip addr add %v dev %s", netip.PrefixFrom(me.Address, p.Prefix.Bits()), quote(i.Name)))
				return
			}
		}
	}
	d.advise(Wrong, what, why, "Configure it on its interface, in the way of this distribution.")
}

// daemon looks at the program that runs, if one does.
func (d *diagnosis) daemon() {
	f := d.DirectorFacts
	if f.Enabled["keepalived.service"] && f.Enabled["hadirector.service"] {
		d.wrong("keepalived.service is enabled beside hadirector.service",
			"After the next start of this machine both write the same addresses and the same table.", "systemctl disable keepalived.service")
	}
	if f.NoDaemon {
		command := "hadirector run -c " + quote(d.cfg.File)
		if f.Systemd {
			command = "systemctl start hadirector"
		}
		d.warn("no hadirector runs", "This director serves nobody, and takes over from nobody.", command)
	}
	s := f.Daemon
	if s == nil {
		return
	}
	if s.Version == f.Version {
		d.fine("the daemon that runs has this program's version")
	} else {
		d.warn(fmt.Sprintf("the daemon that runs is version %s, and this program is %s", s.Version, f.Version),
			"The daemon is not the one that is installed.", "systemctl restart hadirector")
	}
	if hash := d.cfg.Fingerprint(); s.Config.Hash == fmt.Sprintf("%x", hash[:6]) { // as the daemon prints it
		d.fine("the daemon has the configuration of %s", d.cfg.File)
	} else {
		d.warn("the daemon has another configuration than "+d.cfg.File+" says now",
			"What was changed in the file counts from the next reload or start, maybe that of a night.", d.reload())
	}
	for _, p := range s.Peers {
		d.peer(p)
	}
	d.realtime()
}

// peer looks at another director as the daemon knows it.
func (d *diagnosis) peer(p director.PeerStatus) {
	switch {
	case p.ConfigHash == "": // not heard of yet
	case p.SameConfig:
		d.fine("director %s has the same configuration", p.Name)
	default:
		what := "director " + p.Name + " has another configuration"
		if len(p.Differs) > 0 {
			what += ", in " + strings.Join(p.Differs, ", ")
		}
		d.advise(Warning, what, "After a failover clients are served by the other one.",
			fmt.Sprintf("Copy %s from the director where it is right to the other, and run '%s' there.", d.cfg.File, d.reload()))
	}
}

// reload is the command that has the daemon load its file.
func (d *diagnosis) reload() string {
	if d.cfg.Admin.Socket == conf.DefaultSocket {
		return "hadirector reload"
	}
	return "hadirector reload --socket " + quote(d.cfg.Admin.Socket)
}

// realtime looks whether the process that must not be late can be in time.
func (d *diagnosis) realtime() {
	p := d.DirectorFacts.Daemon.VRRPProcess
	if p == nil || !p.Up || len(d.cfg.VirtualRouters) == 0 {
		return
	}
	var lacks []string
	if p.Scheduling != "rr" {
		lacks = append(lacks, "is not scheduled in real time (SCHED_RR)")
	}
	if !p.Locked {
		lacks = append(lacks, "may be paged out")
	}
	if len(lacks) == 0 {
		d.fine("the VRRP process is scheduled in real time, and its memory is locked")
		return
	}
	d.advise(Warning, "the VRRP process "+strings.Join(lacks, " and "),
		"On a busy machine its advertisements are late, and another director takes over without need.",
		"Run the daemon by the unit file that comes with it, which gives it CAP_SYS_NICE and LimitMEMLOCK=infinity; a container has to be given both.")
}

// links looks at the interfaces of the virtual routers, of which many may have the same
// one.
func (d *diagnosis) links() {
	type use struct {
		ifname        string
		four, unicast bool
	}
	of := func(vr *conf.VirtualRouter) use {
		return use{vr.Interface, vr.VirtualAddresses[0].Addr().Is4(), vr.Unicast}
	}
	count := make(map[use]int)
	for i := range d.cfg.VirtualRouters {
		count[of(&d.cfg.VirtualRouters[i])]++
	}
	for i := range d.cfg.VirtualRouters {
		vr := &d.cfg.VirtualRouters[i]
		if n := count[of(vr)]; n > 0 {
			d.linkOf(vr, n-1)
			delete(count, of(vr))
		}
	}
}

// linkOf looks at the interface of a virtual router and of more like it.
func (d *diagnosis) linkOf(vr *conf.VirtualRouter, more int) {
	const why = "No virtual address can be on it, so this director is in the state Fault."
	i, ok := d.named(vr.Interface)
	name := "the interface " + vr.Interface + " of [vrrp." + vr.Name + "]"
	if more > 0 {
		name += fmt.Sprintf(" and %d more", more)
	}
	four := vr.VirtualAddresses[0].Addr().Is4()
	switch {
	case !ok:
		var others []string
		for _, other := range d.Interfaces {
			if !other.Loopback {
				others = append(others, other.Name)
			}
		}
		d.advise(Wrong, name+" does not exist", why,
			fmt.Sprintf("Name one of those that there are (%s) in %s, or find out why it is not there.", strings.Join(others, ", "), d.cfg.File))
	case !i.Up:
		d.wrong(name+" is down", why, "ip link set "+quote(i.Name)+" up")
	case !i.Carrier:
		d.advise(Wrong, name+" has no carrier", why, "Look at the cable, and at the port of the switch.")
	case slices.ContainsFunc(i.Addresses, func(a netif.InterfaceAddress) bool { return sends(a, vr) }):
		d.fine("%s is up, with an address to send from", name)
	case four:
		d.advise(Wrong, name+" has no IPv4 address but the virtual ones", "Advertisements need one to come from, so there are none.",
			"Configure an own address of this director on it, in the way of this distribution.")
	case vr.Unicast:
		d.advise(Wrong, name+" has no IPv6 address but the virtual ones", "Advertisements need one to come from, so there are none.",
			"Configure an own address of this director on it, in the way of this distribution.")
	default:
		d.wrong(name+" has no link-local IPv6 address", "Advertisements come from that one, so there are none.",
			"sysctl -w net.ipv6.conf."+dotted(i.Name)+".disable_ipv6=0", "sysctl -w net.ipv6.conf."+dotted(i.Name)+".addr_gen_mode=0")
	}
}

// sends tells whether advertisements of a virtual router can come from the address.
func sends(a netif.InterfaceAddress, vr *conf.VirtualRouter) bool {
	own := a.Prefix.Addr()
	switch {
	case a.Duplicate, own.Is4() != vr.VirtualAddresses[0].Addr().Is4():
		return false
	case own.Is6() && !vr.Unicast && !own.IsLinkLocalUnicast():
		return false
	}
	owned := slices.Contains(slices.Collect(maps.Values(vr.Priority)), vrrp.PriorityOwner)
	return owned || !slices.ContainsFunc(vr.VirtualAddresses, func(p netip.Prefix) bool { return p.Addr() == own })
}

// settled is how long a virtual router that was Master may have its addresses: the facts
// are not all of one moment, and after a restart they stay until another director is heard.
const settled = 5 * time.Second

// leftover looks for virtual addresses on a director that is not Master.
func (d *diagnosis) leftover(vr *conf.VirtualRouter) {
	if d.self == "" || vr.Priority[d.self] == vrrp.PriorityOwner {
		return
	}
	because := "no hadirector runs"
	if s := d.DirectorFacts.Daemon; s != nil {
		i := slices.IndexFunc(s.VirtualRouters, func(r director.RouterStatus) bool { return r.Name == vr.Name })
		if i < 0 { // the file may be newer than the daemon
			return
		}
		r := s.VirtualRouters[i]
		if r.State == vrrp.Master.String() || !r.Since.IsZero() && s.At.Sub(r.Since) < settled {
			return
		}
		because = "[vrrp." + vr.Name + "] is " + s.VirtualRouters[i].State + " here"
	} else if !d.DirectorFacts.NoDaemon {
		return
	}
	found := false
	for _, p := range slices.Concat(vr.VirtualAddresses, vr.ExcludedAddresses) {
		for _, at := range d.places(p.Addr()) {
			if at.on.Loopback || at.on.Kind == "dummy" || isTunnel(at.on) {
				continue // that of a real server
			}
			found = true
			d.wrong(fmt.Sprintf("the virtual address %v is on %s, although %s", at.Prefix, at.on.Name, because),
				"Two machines answer for it as soon as another director is Master.",
				fmt.Sprintf("ip addr del %v dev %s", at.Prefix, quote(at.on.Name)))
		}
	}
	if !found {
		d.fine("no virtual address of [vrrp.%s] is here while it must not be", vr.Name)
	}
}

// keepalivedPeer gives hints for a pair of which keepalived is the other half.
func (d *diagnosis) keepalivedPeer(vr *conf.VirtualRouter) {
	name := "[vrrp." + vr.Name + "]"
	if len(d.cfg.Directors) == 1 && vr.VirtualAddresses[0].Addr().Is4() && (vr.Version != vrrp.Version2 || vr.AdvertInterval.Seconds() != 1) {
		d.advise(Warning, fmt.Sprintf("%s speaks VRRP version %d every %v, and %s has no other director", name, vr.Version, vr.AdvertInterval, d.cfg.File),
			"A keepalived beside it speaks version 2 every second unless it is told otherwise, and two that differ are both Master.",
			"If there is one, write version = 2 and advert_interval = \"1s\" in "+name+"; if there is none, leave it.")
	}
	s := d.DirectorFacts.Daemon
	if s == nil {
		return
	}
	i := slices.IndexFunc(s.VirtualRouters, func(r director.RouterStatus) bool { return r.Name == vr.Name })
	if i < 0 {
		return
	}
	discarded := s.VirtualRouters[i].Counters.Discarded
	if n := discarded["ttl"]; n > 0 && vr.Unicast && vr.VirtualAddresses[0].Addr().Is6() && vr.UnicastMinTTL > keepalivedHopLimit {
		d.advise(Warning, fmt.Sprintf("%d advertisements for %s were discarded for their hop limit", n, name),
			"keepalived sends unicast over IPv6 with 64, and two directors of which one does not hear the other are both Master.",
			fmt.Sprintf("If the other one is keepalived, write unicast_min_ttl = %d in %s.", keepalivedHopLimit, name))
	}
	if n := discarded["version"]; n > 0 {
		d.advise(Warning, fmt.Sprintf("%d advertisements for %s were discarded for their version, which is not %d", n, name, vr.Version),
			"Two directors that do not understand each other are both Master.",
			"Give both the same version; keepalived's is 2 unless it is told otherwise (vrrp_version).")
	}
	if n := discarded["interval"]; n > 0 {
		d.advise(Warning, fmt.Sprintf("%d advertisements for %s were discarded for their interval, which is not %v", n, name, vr.AdvertInterval),
			"Two directors that do not understand each other are both Master.",
			"Give both the same interval: advert_interval in "+name+", advert_int in keepalived's file.")
	}
}

// keepalivedHopLimit is what keepalived sends unicast over IPv6 with.
const keepalivedHopLimit = 64

// otherPrograms looks for programs that write the same addresses.
func (d *diagnosis) otherPrograms() {
	if len(d.cfg.VirtualRouters) == 0 && len(d.cfg.VirtualServers) == 0 {
		return
	}
	for _, p := range d.DirectorFacts.Others {
		command := fmt.Sprintf("kill %d", p.PID)
		if p.Unit != "" {
			command = "systemctl disable --now " + quote(p.Unit)
		}
		d.wrong(fmt.Sprintf("%s runs here too (process %d)", p.Name, p.PID),
			"Two programs that speak VRRP on one machine write the same addresses, and each undoes what the other does.", command)
	}
	if len(d.DirectorFacts.Others) == 0 {
		d.fine("no other program speaks VRRP here")
	}
}
