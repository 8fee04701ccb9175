package conf

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// viaKey is the key of the types of checks that connect.
const viaKey = "via"

// The ways to a real server: to its own address, or to the virtual one as clients come.
const (
	viaServer = "server"
	viaVIP    = "vip"
)

func (p *parser) via(t *node) bool {
	return p.choice(t.kid(viaKey), "a way to the real server", viaServer, []string{viaServer, viaVIP}, nil) == viaVIP
}

func (w *writer) via(vip bool) {
	if vip {
		w.text(viaKey, viaVIP)
	} else {
		w.text(viaKey, viaServer)
	}
}

// The firewall marks of probes through virtual addresses are the first one, a multiple of
// their number, and those behind it, so that rules can tell them by a mask.
const (
	probeMarksKey     = "probe_marks"
	probeMarkCount    = 1 << 24
	defaultProbeMarks = 0x68000000
)

func (p *parser) probeMarks(n *node) uint32 {
	first := uint32(p.integer(n, defaultProbeMarks, probeMarkCount, 0xff000000))
	if first%probeMarkCount != 0 {
		p.errorf(n, "0x%08x is not a multiple of 0x%08x, such as 0x%08x", first, probeMarkCount, defaultProbeMarks)
		return defaultProbeMarks
	}
	return first
}

func (w *writer) probeMarks(first uint32) { w.value(probeMarksKey, fmt.Sprintf("0x%08x", first)) }

// waypoint is what a probe's mark stands for: one real server, and how packets get there.
type waypoint struct {
	addr    netip.Addr
	forward ipvs.ForwardMethod
	tunnel  Tunnel
}

func waypointOf(rs *RealServer) waypoint { return waypoint{rs.Address.Addr(), rs.Forward, rs.Tunnel} }

// probePaths gives the real servers that are asked through their virtual address the paths,
// and reports those that cannot be.
func (p *parser) probePaths(c *Config) {
	via := make(map[string]bool)
	for _, s := range c.Checks {
		if s.ViaVIP {
			via[s.Name] = true
		}
	}
	if len(via) == 0 {
		return
	}
	said := make(map[*node]bool) // at the key of a virtual server's check one real server is enough
	c.eachThroughVIP(via, func(vs *VirtualServer, rs *RealServer, check string) {
		if at := p.checkKey(vs, rs); !said[at] {
			said[at] = p.checkThroughVIP(at, vs, rs, check)
		}
	})
	p.probeContradictions(c, via)
	marks := c.waypointMarks(via)
	c.eachThroughVIP(via, func(vs *VirtualServer, rs *RealServer, check string) {
		if vips := vs.VIPs(); len(vips) > 0 {
			if rs.Paths == nil {
				rs.Paths = make(map[string]healthcheck.Path)
			}
			rs.Paths[check] = healthcheck.Path{VIP: vips[0], Mark: marks[waypointOf(rs)]}
		}
	})
}

// eachThroughVIP goes through the real servers with a check that asks them through the
// virtual address.
func (c *Config) eachThroughVIP(via map[string]bool, f func(vs *VirtualServer, rs *RealServer, check string)) {
	for i := range c.VirtualServers {
		vs := &c.VirtualServers[i]
		for j := range vs.RealServers {
			rs := &vs.RealServers[j]
			for _, check := range rs.Checks {
				if via[check] {
					f(vs, rs, check)
				}
			}
		}
	}
}

// checkKey is the key that says what checks a real server has.
func (p *parser) checkKey(vs *VirtualServer, rs *RealServer) *node {
	t := p.root.at("virtual_server", vs.Name)
	if at := t.at("real_server", rs.Name).kid("check"); at != nil {
		return at
	}
	return t.at("check")
}

// checkThroughVIP reports a real server that a probe through the virtual address does not get
// to as clients do.
func (p *parser) checkThroughVIP(at *node, vs *VirtualServer, rs *RealServer, check string) (reported bool) {
	switch forward := rs.Forward; {
	case forward != ipvs.ForwardDirect && forward != ipvs.ForwardTunnel:
		p.errorf(at, "the check %s has via = \"vip\", and %s has forward = %q: only with dr and tun the real server has the virtual address",
			check, rs.Name, forwardName(forward))
	case vs.located() && len(vs.VIPs()) == 0:
		p.errorf(at, "the check %s has via = \"vip\", and the file does not say which addresses clients of the firewall mark connect to: want mark = [\"10.0.0.100:80\"]", check)
	case rs.Address.IsValid() && rs.Address.Addr().IsLoopback():
		p.errorf(at, "the check %s has via = \"vip\", and %s is this machine: there is no way to look at", check, rs.Name)
	default:
		return false
	}
	return true
}

// probeContradictions reports what gets in the way of the probes' marks.
func (p *parser) probeContradictions(c *Config, via map[string]bool) {
	first := c.IPVS.ProbeMarks
	for _, vs := range c.VirtualServers {
		if mark := vs.Service.Key.FWMark; mark-mark%probeMarkCount == first && mark != 0 {
			p.errorf(p.root.at("virtual_server", vs.Name, "fwmark"), "%d is among the marks of probes, 0x%08x to 0x%08x: want another one, or other probe_marks in [ipvs]",
				mark, first, first+probeMarkCount-1)
		}
	}
	if c.IPVS.Parameters["backup_only"] == 1 {
		p.errorf(p.root.at("ipvs", "backup_only"), "the check %s has via = \"vip\", and with this the kernel of a Backup sends its probes to the Master: want false",
			slices.Min(slices.Collect(maps.Keys(via))))
	}
}

// waypointMarks gives each waypoint a mark of its own. It follows from the waypoint itself,
// but for the few of which two would have the same one: directors have the same marks, and
// a reload that adds a real server does not move those of others.
func (c *Config) waypointMarks(via map[string]bool) map[waypoint]uint32 {
	marks := make(map[waypoint]uint32)
	c.eachThroughVIP(via, func(_ *VirtualServer, rs *RealServer, _ string) { marks[waypointOf(rs)] = 0 })
	taken := make(map[uint32]bool, len(marks))
	for _, w := range slices.SortedFunc(maps.Keys(marks), waypoint.compare) {
		offset := w.hash()
		for taken[offset] && len(taken) < probeMarkCount {
			offset = (offset + 1) % probeMarkCount
		}
		taken[offset] = true
		marks[w] = c.IPVS.ProbeMarks + offset
	}
	return marks
}

func (w waypoint) compare(o waypoint) int {
	return cmp.Or(w.addr.Compare(o.addr), cmp.Compare(w.forward, o.forward), cmp.Compare(w.tunnel.Type, o.tunnel.Type),
		cmp.Compare(w.tunnel.Port, o.tunnel.Port), cmp.Compare(w.tunnel.Flags, o.tunnel.Flags))
}

func (w waypoint) hash() uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, w.addr, w.forward, w.tunnel)
	return h.Sum32()>>24 ^ h.Sum32()&(probeMarkCount-1)
}
