package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// modules are what the virtual servers ask of IPVS, each once, with the first that does.
func modules(cfg *conf.Config) (list []Module, first map[Module]string) {
	first = make(map[Module]string)
	for _, vs := range cfg.VirtualServers {
		m := Module{vs.Service.Scheduler, vs.Service.Engine}
		if _, ok := first[m]; !ok {
			first[m] = vs.Name
			list = append(list, m)
		}
	}
	return list, first
}

// kernel looks whether the kernel has what the file asks for.
func (d *diagnosis) kernel() {
	f := d.DirectorFacts
	if len(d.cfg.VirtualServers) > 0 {
		switch f.IPVS {
		case Absent:
			d.wrong("this kernel has no IPVS", "No virtual server works without it. If its module is not there to be loaded, a kernel with it has to be installed.", "modprobe ip_vs")
		case Present:
			d.fine("this kernel has IPVS")
			d.schedulers()
		}
	}
	needs := tableUsers(d.cfg)
	if len(needs) == 0 {
		return
	}
	switch f.Tables {
	case Absent:
		d.wrong("this kernel has no nftables, and "+needs[0]+" needs it",
			"What it is needed for does not work. If its module is not there to be loaded, a kernel with it has to be installed.", "modprobe nf_tables")
	case Present:
		d.fine("this kernel has nftables")
	}
}

func (d *diagnosis) schedulers() {
	list, first := modules(d.cfg)
	for _, m := range list {
		what, module := "scheduler "+m.Scheduler, "ip_vs_"+m.Scheduler
		if m.Engine != "" {
			what += " with the persistence engine " + m.Engine
		}
		if !d.DirectorFacts.Lacking[m] {
			d.fine("this kernel has the %s", what)
			continue
		}
		commands := []string{"modprobe " + module}
		if m.Engine != "" {
			commands = append(commands, "modprobe ip_vs_pe_"+m.Engine)
		}
		d.wrong(fmt.Sprintf("this kernel lacks the %s of virtual server %s", what, first[m]),
			"The daemon does not start with it. If the module is not there to be loaded, another scheduler or kernel has to be chosen.", commands...)
	}
}

// tableUsers are what of the file needs nftables.
func tableUsers(cfg *conf.Config) []string {
	var users []string
	for _, vs := range cfg.VirtualServers {
		if len(vs.Marked) > 0 {
			users = append(users, "mark of virtual server "+vs.Name)
		}
		if vs.FullNAT() {
			users = append(users, "fullnat of virtual server "+vs.Name)
		}
	}
	for _, vr := range cfg.VirtualRouters {
		if !vr.Accept {
			users = append(users, "accept = false of [vrrp."+vr.Name+"]")
		}
	}
	return users
}

// parameters looks at those that a running daemon has to have set.
func (d *diagnosis) parameters() {
	if d.DirectorFacts.Daemon == nil {
		return
	}
	for _, p := range wantedParameters(d.cfg, d.Interfaces) {
		now, there := d.Sysctls[slashed(p.Name)]
		switch {
		case now == p.Value, p.From != "" && there && now != p.From:
			d.fine("%s is %s", p.Name, ipvs.PlainParameter(now))
			continue
		case !there:
			d.advise(Warning, fmt.Sprintf("this kernel has no parameter %s, which is to be %s", p.Name, ipvs.PlainParameter(p.Value)), sentence(p.Reason), "Leave it out, or use a kernel that has it.")
			continue
		}
		severity := Warning
		if p.Needed {
			severity = Wrong
		}
		d.add(Finding{Severity: severity, What: fmt.Sprintf("%s is %s instead of %s, although hadirector runs", p.Name, ipvs.PlainParameter(now), ipvs.PlainParameter(p.Value)),
			Why: sentence(p.Reason), Commands: []string{p.Command()}})
	}
}

// wantedParameters are what the daemon sets on this machine.
func wantedParameters(cfg *conf.Config, interfaces []netif.Interface) []ipvs.Parameter {
	byName := make(map[string][]netip.Prefix)
	for _, i := range interfaces {
		byName[i.Name] = nil
		for _, a := range i.Addresses {
			byName[i.Name] = append(byName[i.Name], a.Prefix)
		}
	}
	return director.Spread(director.Needs(cfg, nil), byName)
}

// slashed is a parameter's name in the form of package sysctl.
func slashed(name string) string {
	return strings.NewReplacer(".", "/", "/", ".").Replace(name)
}

// destinations looks at the ways to the real servers.
func (d *diagnosis) destinations() {
	for i := range d.cfg.VirtualServers {
		vs := &d.cfg.VirtualServers[i]
		servers := vs.RealServers
		if vs.SorryServer != nil {
			servers = append(slices.Clone(servers), *vs.SorryServer)
		}
		for _, rs := range servers {
			d.destination(vs, rs)
		}
	}
}

func (d *diagnosis) destination(vs *conf.VirtualServer, rs conf.RealServer) {
	own := rs.Address.Addr()
	name := fmt.Sprintf("real server %s of virtual server %s, %v,", rs.Name, vs.Name, own)
	way, ok := d.DirectorFacts.Ways[own]
	switch {
	case !ok:
		d.advise(Wrong, name+" cannot be reached: there is no route", "It counts as down.",
			"Add a route to it, in the way of this distribution.")
	case way.Local:
		d.advise(Warning, name+" is this machine itself",
			"It answers as long as this director is Master; for another Master it has to be set up as a real server, see 'hadirector doctor realserver'.",
			"If that is not meant, correct its address in "+d.cfg.File+".")
	case rs.Forward == ipvs.ForwardDirect && way.Gateway.IsValid():
		d.advise(Wrong, fmt.Sprintf("%s is behind the router %v, and forward is \"dr\"", name, way.Gateway),
			"Direct routing changes nothing but the Ethernet address, so the router sends the packets back to the virtual address, which is here.",
			"Write forward = \"tun\" or \"fullnat\" for it, or give it an address on a network of the director.")
	case rs.Forward == ipvs.ForwardMasq && d.withClients(own).IsValid():
		d.advise(Warning, fmt.Sprintf("%s is in the network of clients, %v, and forward is \"nat\"", name, d.withClients(own)),
			"It answers clients of that network directly, past the director, and they discard the answers; other clients are served.",
			"If there are clients in that network, use forward = \"dr\" or \"fullnat\", or give the real servers a network of their own.")
	default:
		d.fine("%s is reached by %s", name, way.Interface)
	}
}

// withClients is the network of a virtual address of a virtual server that a real server is
// in too.
func (d *diagnosis) withClients(own netip.Addr) netip.Prefix {
	for _, vr := range d.cfg.VirtualRouters {
		for _, p := range slices.Concat(vr.VirtualAddresses, vr.ExcludedAddresses) {
			clients := slices.ContainsFunc(d.cfg.VirtualServers, func(vs conf.VirtualServer) bool { return slices.Contains(vs.VIPs(), p.Addr()) })
			if clients && p.Masked().Contains(own) {
				return p.Masked()
			}
		}
	}
	return netip.Prefix{}
}

// key looks at the file of the cluster key.
func (d *diagnosis) key() {
	if d.cfg.Sync == nil || d.cfg.Sync.KeyFile == "" {
		return
	}
	file, k := d.cfg.Sync.KeyFile, d.DirectorFacts.Key
	const why = "Without it the directors know nothing of each other but VRRP, and connections are not synchronised."
	switch {
	case k.Missing:
		d.add(Finding{Severity: Wrong, What: "the cluster key " + file + " does not exist", Why: why,
			Advice: "If another director has it, copy that one. Else make one, and copy it to the others.", Commands: []string{"hadirector keygen " + quote(file)}})
	case k.Mode&0o077 != 0:
		d.wrong(fmt.Sprintf("the cluster key %s may be used by others (mode %04o)", file, k.Mode),
			"It is refused. Who has read it can pose as a director: make a new one if anybody may have.", "chmod 600 "+quote(file))
	case k.Owner != 0:
		d.wrong(fmt.Sprintf("the cluster key %s belongs to user %d", file, k.Owner), "It is refused: that user can exchange it.", "chown root "+quote(file))
	case k.Broken != "":
		d.advise(Wrong, k.Broken, why, "Copy the file from another director.")
	case !d.unseenKey():
		d.fine("the cluster key %s is there, for root alone", file)
	}
}

func (d *diagnosis) unseenKey() bool {
	return slices.ContainsFunc(d.Unseen, func(u Unseen) bool { return u.What == theKey })
}

// theKey is how a report calls the cluster key.
const theKey = "the cluster key"

// firewall looks for chains that may drop what comes from other directors.
func (d *diagnosis) firewall() {
	var four, six bool
	for _, vr := range d.cfg.VirtualRouters {
		if vrrp.FamilyOf(vr.VirtualAddresses[0].Addr()) == vrrp.IPv4 {
			four = true
		} else {
			six = true
		}
	}
	me, named := d.cfg.Director(d.self)
	members := named && len(d.cfg.Directors) > 1 && d.cfg.Sync != nil && d.cfg.Sync.KeyFile != ""
	found := false
	for _, in := range d.DirectorFacts.Inputs {
		chain := in.Family + " " + in.Table + " " + in.Chain
		sees := func(four, six bool) bool {
			return in.Family == "inet" && (four || six) || in.Family == "ip" && four || in.Family == "ip6" && six
		}
		if sees(four, six) && !in.VRRP {
			found = true
			d.warn("the nftables chain "+chain+" drops, and no rule of its table names VRRP (protocol 112)",
				"If advertisements do not come in, this director becomes Master beside the other one.",
				"nft insert rule "+chain+" meta l4proto 112 accept")
		}
		if members && sees(me.Address.Is4(), me.Address.Is6()) && !in.Port {
			found = true
			d.warn(fmt.Sprintf("the nftables chain %s drops, and no rule of its table names port %d of [sync]", chain, d.cfg.Sync.Port),
				"If the other directors cannot reach it, TCP and UDP, there is no membership and no sync.",
				fmt.Sprintf("nft insert rule %s tcp dport %d accept", chain, d.cfg.Sync.Port),
				fmt.Sprintf("nft insert rule %s udp dport %d accept", chain, d.cfg.Sync.Port))
		}
	}
	if !found && d.DirectorFacts.Tables == Present {
		d.fine("no nftables chain drops what no rule names of VRRP and [sync]")
	}
}
