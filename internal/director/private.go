package director

import (
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// relays tells whether connections are relayed between the directors. The kernel's sync
// daemons then talk on a private interface.
func relays(cfg *conf.Config) bool {
	return cfg.Sync != nil && cfg.Sync.Mode == conf.SyncRelay && len(cfg.VirtualServers) > 0 && len(cfg.Directors) > 1
}

// syncs tells whether the kernel's sync daemons are of use. Without a virtual server there is
// no connection to tell of, and [sync] is for the membership alone; without another director
// there is nobody to relay to.
func syncs(cfg *conf.Config) bool {
	return relays(cfg) || cfg.Sync != nil && cfg.Sync.Mode == conf.SyncKernel && len(cfg.VirtualServers) > 0
}

const backupOnly = "backup_only"

// relayDaemons are the kernel's sync daemons for a relay. Both run whatever this director's
// role is: nothing of theirs is on a wire, so a takeover has none to start. But a kernel with
// backup_only schedules nothing as long as a backup daemon runs (sysctl_backup_only,
// include/net/ip_vs.h), so with that they follow the roles.
func relayDaemons(cfg *conf.Config, master, backup bool) []syncd.Daemon {
	if cfg.IPVS.Parameters[backupOnly] == 0 {
		master, backup = true, true
	}
	return syncd.RelayDaemons(cfg.Sync.SyncID, master, backup)
}

// relayNeeds are the kernel parameters that a relay asks for.
func relayNeeds(cfg *conf.Config) (needs []Need) {
	if !relays(cfg) {
		return nil
	}
	const by = "sync: "
	for _, p := range syncd.RelayParameters() {
		needs = append(needs, need(p.Name, p.Value, by+p.Reason))
	}
	if cfg.IPVS.Parameters[backupOnly] == 0 {
		needs = append(needs, needed("net.ipv4.vs."+backupOnly, "0", by+"a director with a backup daemon schedules too"))
	}
	return needs
}

// tickKey is the service of the tick, which makes the kernel's master daemon send what it
// holds back: see syncd.TickService. It is no virtual server.
var tickKey = ipvs.AddrKey(ipvs.TCP, syncd.TickService)

func tickEntry() ipvs.Entry {
	server := ipvs.Destination{Key: syncd.TickServer, Forward: ipvs.ForwardDirect, Weight: 1}
	return ipvs.Entry{
		Service:      ipvs.Service{Key: tickKey, Scheduler: probeScheduler},
		Destinations: map[ipvs.DestinationKey]ipvs.Destination{server.Key: server},
	}
}

// tick has the service of the tick in the table, or has it not there. The tables of Backups
// do without: they have no young connections that should not wait.
func (d *Desired) tick(wanted bool) {
	if _, there := d.Table[tickKey]; there == wanted {
		return
	}
	if wanted {
		d.Table[tickKey] = tickEntry()
	} else {
		delete(d.Table, tickKey)
	}
	d.changed = map[ipvs.ServiceKey]bool{tickKey: true}
}

// ticks tells whether there is to be a tick.
func (d *Desired) ticks() bool {
	_, there := d.Table[tickKey]
	return there
}

// compileSync says what the kernel needs for the synchronisation of connections, which
// follows the roles of this director.
func (d *Desired) compileSync(cfg *conf.Config, self string, f Facts) {
	d.Private, d.Daemons, d.SyncAddr = relays(cfg), nil, netip.Addr{}
	master, backup := roles(cfg, f.VRRP)
	d.tick(d.Private && master)
	switch {
	case d.Private:
		d.Daemons = relayDaemons(cfg, master, backup)
	case syncs(cfg):
		d.Daemons = syncd.Desired(syncd.Config{Interface: cfg.Sync.Interface, SyncID: cfg.Sync.SyncID}, master, backup)
		if me, ok := cfg.Director(self); ok {
			d.SyncAddr = me.Address
		}
	}
}

// logSync says once what keeps the relay of connections from working, and the end of that.
func (d *Director) logSync(p Pass) {
	errs := texts(p.SyncErrs)
	slices.Sort(errs)
	text := listed(errs)
	if text == d.said.sync {
		return
	}
	d.said.sync = text
	if text == "" {
		d.o.Logger.Info("kernel does what connection sync needs again")
		d.record(Event{At: p.At, Kind: EventSyncRecovered, Object: "sync", Text: "the kernel does what connection sync needs again"})
		return
	}
	d.o.Logger.Error("kernel refused what connection sync needs, trying again", "err", text)
	d.record(Event{At: p.At, Kind: EventSyncFailure, Object: "sync", Text: text})
}

// privateSteps are commands about the private interface as a plan's steps.
func privateSteps(commands []string) []Step {
	var list []Step
	for _, c := range commands {
		list = append(list, Step{Command: c})
	}
	list[0].Comment = "connection sync: the kernel's daemons talk here to this program alone"
	return list
}

// The private interface as an operator would make it and take it away.
var (
	makePrivate = []string{
		"ip link add " + syncd.PrivateInterface + " type dummy",
		"ip link set " + syncd.PrivateInterface + " alias '" + syncd.PrivateAlias + "' arp off multicast on",
		"sysctl -w net.ipv6.conf." + syncd.PrivateInterface + ".disable_ipv6=1",
		"ip addr add " + syncd.PrivatePrefix.String() + " dev " + syncd.PrivateInterface,
		"ip link set " + syncd.PrivateInterface + " up",
	}
	dropPrivate = []string{"ip link del " + syncd.PrivateInterface}
)
