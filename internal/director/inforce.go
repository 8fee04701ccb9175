package director

import (
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/syncd"
)

// inForce is a configuration with what is derived from it once.
type inForce struct {
	cfg         *conf.Config
	at          time.Time // when it was put in force
	text        string    // canonical
	fingerprint [16]byte
	targets     map[healthcheck.Target]healthcheck.Spec
	// users are the real servers that a target stands for.
	users map[healthcheck.Target][]user
	// tracked are the virtual servers that are tracks, with the names of these.
	tracked map[*conf.VirtualServer][]string
	// servers are the names of the real servers.
	servers map[ServerID]bool
	scopes  syncd.Scopes // what other directors are told of connections
}

// user is a real server of a virtual server.
type user struct {
	vs *conf.VirtualServer
	rs *conf.RealServer
}

func newInForce(cfg *conf.Config) inForce {
	text := cfg.Canonical()
	f := inForce{
		cfg: cfg, at: time.Now(), text: text, fingerprint: conf.FingerprintOf(text),
		targets: Targets(cfg), users: make(map[healthcheck.Target][]user),
		tracked: make(map[*conf.VirtualServer][]string), servers: make(map[ServerID]bool),
		scopes: cfg.SyncScopes(),
	}
	tracks := make(map[string][]string)
	for _, t := range cfg.Tracks {
		if t.Type == conf.TrackVirtualServer {
			tracks[t.VirtualServer] = append(tracks[t.VirtualServer], t.Name)
		}
	}
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		if names := tracks[vs.Name]; len(names) > 0 {
			f.tracked[vs] = names
		}
		for j := range vs.RealServers {
			rs := &vs.RealServers[j]
			f.servers[ServerID{vs.Name, rs.Name}] = true
			for t := range targetsOf(rs) {
				f.users[t] = append(f.users[t], user{vs, rs})
			}
		}
	}
	return f
}

// notReady is [NotReady] for the configuration in force, with its tracks.
func (f inForce) notReady(waiting int, facts Facts) []string {
	return append(NotReady(waiting, facts), tracksNotReady(f.cfg, facts.Tracks)...)
}

// hasDirector tells whether a director of that name can run with a configuration. One
// without directors is a plain load balancer's, and its director has any name.
func hasDirector(cfg *conf.Config, name string) bool {
	_, ok := cfg.Director(name)
	return ok || len(cfg.Directors) == 0
}

// virtualRouter finds a virtual router by its name.
func virtualRouter(cfg *conf.Config, name string) (conf.VirtualRouter, bool) {
	i := slices.IndexFunc(cfg.VirtualRouters, func(vr conf.VirtualRouter) bool { return vr.Name == name })
	if i < 0 {
		return conf.VirtualRouter{}, false
	}
	return cfg.VirtualRouters[i], true
}
