package conf

import (
	"slices"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// syncScopeNames are the values of a virtual server's sync.
var syncScopeNames = []string{
	syncd.ScopeAll.String(), syncd.ScopeEstablished.String(), syncd.ScopeTemplates.String(), syncd.ScopeOff.String(),
}

// syncScope reads what the other directors are told of a virtual server's connections.
func (p *parser) syncScope(t *node) syncd.Scope {
	other := map[string]string{"none": "off", "no": "off", "persistence": "templates", "persistent": "templates", "yes": "all"}
	name := p.choice(t.kid("sync"), "a scope of sync", syncd.ScopeAll.String(), syncScopeNames, other)
	return syncd.Scope(slices.Index(syncScopeNames, name))
}

// syncContradictions warns of keys of the relay where there is none, and of scopes that
// leave nothing.
func (p *parser) syncContradictions(c *Config) {
	relay := c.Sync != nil && c.Sync.Mode == SyncRelay
	for _, d := range c.Directors {
		if d.SyncAddresses != nil && !relay {
			p.warnf(p.root.at("director", d.Name, "sync_addresses"), "%s", noRelay(p.root.kid("sync")))
		}
	}
	for i := range c.VirtualServers {
		vs := &c.VirtualServers[i]
		at := p.root.at("virtual_server", vs.Name).kid("sync")
		persistent := vs.Service.Flags&ipvs.FlagPersistent != 0
		switch {
		case vs.Sync == syncd.ScopeAll:
		case !relay:
			p.warnf(at, "%s", noRelay(p.root.kid("sync")))
		case vs.Sync == syncd.ScopeTemplates && !persistent:
			p.warnf(at, "without persistence there are no templates: this is \"off\"")
		case vs.Sync == syncd.ScopeEstablished && vs.protocol() == ipvs.UDP && !persistent:
			p.warnf(at, "udp has no established connections: this is \"off\"")
		}
	}
}

// SyncScopes tells what the other directors are told of the connections of the virtual
// servers. Probes through virtual addresses are never told of: each director has its own.
func (c *Config) SyncScopes() syncd.Scopes {
	var rules []syncd.ScopeRule
	for i := range c.VirtualServers {
		vs := &c.VirtualServers[i]
		for s := range vs.Services() {
			rules = append(rules, syncd.ScopeRule{
				Protocol: syncd.Protocol(s.Key.Protocol), Virtual: s.Key.Addr,
				FWMark: s.Key.FWMark, IPv6: s.Key.IPv6, Scope: vs.Sync,
			})
		}
	}
	for _, s := range c.Checks {
		if s.ViaVIP {
			// Without such a check the marks are anybody's.
			return syncd.NewScopes(rules, syncd.Marks{First: c.IPVS.ProbeMarks, Last: c.IPVS.ProbeMarks + probeMarkCount - 1})
		}
	}
	return syncd.NewScopes(rules)
}
