package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/syncd"
)

// relaysConnections tells whether connections are relayed between the directors of a
// configuration.
func relaysConnections(cfg *conf.Config) bool {
	return cfg.Sync != nil && cfg.Sync.Mode == conf.SyncRelay && len(cfg.VirtualServers) > 0 && len(cfg.Directors) > 1
}

// syncPeers are the addresses that the other directors' streams come from.
func (f Facts) syncPeers(cfg *conf.Config) []netip.Addr {
	var peers []netip.Addr
	for _, d := range cfg.Directors {
		for _, a := range d.SyncLinks() {
			if !f.isLocal(a) {
				peers = append(peers, a)
			}
		}
	}
	return peers
}

// sync looks at what the relay of connections needs.
func (d *diagnosis) sync() {
	me, named := d.cfg.Director(d.self)
	if !named || !relaysConnections(d.cfg) {
		return
	}
	d.syncAddresses(me)
	d.syncModules()
	d.syncFirewall(me)
	d.syncDaemon()
}

// syncAddresses looks where this director's addresses for the stream are.
func (d *diagnosis) syncAddresses(me conf.Director) {
	links := me.SyncLinks()
	for _, a := range links {
		if !d.isLocal(a) && a != me.Address { // that is looked at without sync, too
			d.advise(Wrong, fmt.Sprintf("%v, of sync_addresses of director %s, is on no interface", a, me.Name),
				"The other directors reach this one there, so connections do not come this way.",
				"Configure it on its interface, in the way of this distribution, or correct "+d.cfg.File+".")
		}
	}
	wanted := d.cfg.Sync.Interface
	at := d.places(links[0])
	if wanted == "" || len(at) == 0 || slices.ContainsFunc(at, func(p place) bool { return p.on.Name == wanted }) {
		return
	}
	d.advise(Warning, fmt.Sprintf("%v of director %s is on %s, not on %s", links[0], me.Name, at[0].on.Name, wanted),
		"The stream of connections goes another way than interface of [sync] says.",
		fmt.Sprintf("Move the address, or write interface = %q in [sync] of %s.", at[0].on.Name, d.cfg.File))
}

// syncModules looks for the kernel modules of the relay.
func (d *diagnosis) syncModules() {
	m := d.DirectorFacts.SyncModules
	const install = " If the module is not there to be loaded, a kernel with it has to be installed."
	if m["udp_diag"] == Absent {
		d.wrong("this kernel has no udp_diag", "Without it the daemon cannot see what the kernel has taken of the peers' connections, and tells it none."+install, "modprobe udp_diag")
	}
	if m["dummy"] == Absent && m["veth"] == Absent {
		d.wrong("this kernel has neither dummy nor veth", "The kernel's sync daemons talk on an interface of one of these kinds."+install, "modprobe dummy")
	}
	if m["udp_diag"] == Present && (m["dummy"] == Present || m["veth"] == Present) {
		d.fine("this kernel has the modules that connection sync needs")
	}
}

// syncFirewall looks for chains that may drop the stream, or what the kernel's daemons say.
func (d *diagnosis) syncFirewall(me conf.Director) {
	var four, six bool
	for _, a := range me.SyncLinks() {
		four, six = four || a.Is4(), six || a.Is6()
	}
	found := false
	for _, in := range d.DirectorFacts.Streams {
		if in.Port || in.Family == "ip" && !four || in.Family == "ip6" && !six {
			continue
		}
		found = true
		chain := in.Family + " " + in.Table + " " + in.Chain
		d.warn(fmt.Sprintf("the nftables chain %s drops, and no rule of its table names stream_port %d of [sync]", chain, d.cfg.Sync.StreamPort),
			"If the other directors cannot reach it, no connection survives a failover.",
			fmt.Sprintf("nft insert rule %s tcp dport %d accept", chain, d.cfg.Sync.StreamPort))
	}
	for _, b := range d.DirectorFacts.Barriers {
		found = true
		chain, direction := b.Family+" "+b.Table+" "+b.Chain, "iifname"
		if b.Out {
			direction = "oifname"
		}
		d.warn(fmt.Sprintf("the nftables chain %s drops, and no rule of its table names %s", chain, syncd.PrivateInterface),
			"The kernel's sync daemons talk there to this machine alone. What is dropped they do not miss: connections are silently not synchronised.",
			fmt.Sprintf("nft insert rule %s %s %s accept", chain, direction, syncd.PrivateInterface))
	}
	if !found && d.DirectorFacts.Tables == Present {
		d.fine("no nftables chain drops what no rule names of connection sync")
	}
}

// syncDaemon looks at the relay as the daemon knows it.
func (d *diagnosis) syncDaemon() {
	if d.DirectorFacts.Daemon == nil || d.DirectorFacts.Daemon.Sync == nil {
		return
	}
	s := d.DirectorFacts.Daemon.Sync
	const look = "See 'hadirector status' and the daemon's log."
	if s.RelayError != "" && !d.DirectorFacts.Key.Missing && d.DirectorFacts.Key.Broken == "" {
		d.advise(Wrong, "connections are not synchronised", sentence(s.RelayError), look)
	}
	r := s.RelayStatus
	if r == nil {
		return
	}
	barrier := len(d.DirectorFacts.Barriers) > 0
	if r.Capture.Error != "" {
		advice := look
		if barrier {
			advice = "Let the firewall pass what is named above."
		}
		d.advise(Wrong, "the kernel's connections are not heard, so the other directors do not get them", sentence(r.Capture.Error), advice)
	}
	if r.Inject.Error != "" && d.DirectorFacts.SyncModules["udp_diag"] != Absent {
		d.advise(Wrong, "the kernel is not told the other directors' connections", sentence(r.Inject.Error), look)
	}
	if r.Capture.TickError != "" {
		d.advise(Warning, "new connections are told to the other directors up to 2 s late", sentence(r.Capture.TickError), look)
	}
	for _, p := range r.Peers {
		for _, l := range p.Links {
			switch {
			case l.Connected:
				d.fine("the stream from %s to %s of director %s is connected", l.From, l.To, p.Name)
			case l.Error != "":
				d.advise(Warning, fmt.Sprintf("there is no stream from %s to %s of director %s", l.From, l.To, p.Name), sentence(l.Error),
					fmt.Sprintf("If director %s runs, let TCP to port %d pass between the two, and compare the key files.", p.Name, d.cfg.Sync.StreamPort))
			}
		}
	}
}
