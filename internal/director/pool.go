package director

import (
	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// pool is what serves a virtual server.
type pool string

// The pools.
const (
	poolReal   pool = "real-servers"
	poolBackup pool = "backup-servers" // and what is left of the others
	poolSorry  pool = "sorry-server"
	poolEmpty  pool = "empty"
)

// Pool returns the real servers that the table holds, with the weights that they have
// there, and what serves: those that are not down and not disabled by an operator. Of
// those that are down it holds some all the same: with weight 0 those of a virtual server
// that keeps them, on_down, and as they are those that a panic holds.
//
// Those that take new connections, of weight 1 and more, count to the quorum. Backups are
// there with weight 0 until there are fewer than the quorum of the others; then they take
// connections too. With fewer than the quorum together the sorry server, if there is one,
// is the only one that takes any; the others stay with weight 0, so that their connections
// go on, unless the scheduler would refuse clients for that. Without a sorry server what
// is left stays in.
func Pool(vs *conf.VirtualServer, f Facts) ([]conf.RealServer, pool) {
	c := f.compose(vs)
	return c.servers, c.serves
}

// composed is a virtual server's pool, and what follows from it.
type composed struct {
	servers []conf.RealServer
	serves  pool
	// lost says that fewer than the quorum take connections, and allLost the same of all
	// together with the backups.
	lost, allLost bool
	// count are the real servers that count to the quorum, and weight is what they have
	// together.
	count  int
	weight uint64
}

func (f Facts) compose(vs *conf.VirtualServer) composed {
	c := composed{serves: poolReal}
	m, held := f.Pools[vs.Name], f.held(vs)
	primaries, backups := 0, 0
	for i := range vs.RealServers {
		rs, in := f.realServer(vs, &vs.RealServers[i], held)
		switch {
		case !in:
			continue
		case rs.Weight == 0:
		case rs.Backup:
			backups++
		default:
			primaries++
			c.weight += uint64(rs.Weight)
		}
		c.servers = append(c.servers, rs)
	}
	c.count = primaries
	c.lost, c.allLost = quorumLost(vs, primaries, m.Lost), quorumLost(vs, primaries+backups, m.AllLost)
	switch {
	case !c.lost:
		c.servers = standBy(vs, c.servers)
	case c.lost && c.allLost && vs.SorryServer != nil:
		c.serves = poolSorry
		if vs.Service.RefusesAtZero() {
			c.servers = nil
		}
		for i := range c.servers {
			c.servers[i].Weight = 0
		}
		c.servers = append(c.servers, *vs.SorryServer)
	case primaries+backups == 0:
		c.serves = poolEmpty
	case c.lost && backups > 0:
		c.serves = poolBackup
	}
	return c
}

// quorumLost tells whether the quorum is lost, was tells whether it was before.
func quorumLost(vs *conf.VirtualServer, serving int, was bool) bool {
	switch {
	case serving < vs.Quorum-vs.QuorumHysteresis:
		return true
	case serving >= vs.Quorum+vs.QuorumHysteresis:
		return false
	}
	return was
}

// standBy takes new connections from the backups. They keep those that they have, unless
// the scheduler would refuse clients for that.
func standBy(vs *conf.VirtualServer, list []conf.RealServer) []conf.RealServer {
	kept := list[:0]
	for _, rs := range list {
		if rs.Backup {
			rs.Weight = 0
		}
		if !rs.Backup || !vs.Service.RefusesAtZero() {
			kept = append(kept, rs)
		}
	}
	return kept
}

// realServer is a real server with the weight that it has in the table when it is called
// for, or false if it is not there. held are those that stay in although they are down.
//
// An operator's override counts in place of what checks say of the weight, and of nothing
// else: one that is down is down.
func (f Facts) realServer(vs *conf.VirtualServer, configured *conf.RealServer, held map[string]bool) (rs conf.RealServer, in bool) {
	rs = *configured
	refuses := vs.Service.RefusesAtZero()
	o, overridden := f.Overrides[ServerID{vs.Name, rs.Name}]
	switch down := f.status(configured) == healthcheck.Down && !held[rs.Name]; {
	case overridden && o.Kind == OverrideDisable:
		return rs, false
	case down && vs.QuiesceDown && !refuses:
		rs.Weight = 0
		return rs, true
	case down:
		return rs, false
	case overridden:
		return o.apply(rs)
	}
	rs.Weight, _ = f.weightOf(configured, held[rs.Name])
	rs.Weight = f.Pools[vs.Name].Rising[rs.Name].of(rs.Weight)
	// Clients come before the connections that could end.
	return rs, rs.Weight > 0 || configured.Weight == 0 || !refuses
}
