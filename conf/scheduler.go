package conf

import (
	"strings"

	"github.com/hadirector/hadirector/ipvs"
)

// schedulers are the kernel's (net/netfilter/ipvs/ip_vs_*.c).
var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf", "twos"}

// schedulerOther are what other load balancers call some of them.
var schedulerOther = map[string]string{
	"roundrobin": "rr", "round-robin": "rr", "round_robin": "rr", "weighted-round-robin": "wrr",
	"leastconn": "lc", "least-conn": "lc", "least_conn": "lc", "least-connection": "lc", "least-connections": "lc",
	"source": "sh", "source-hash": "sh", "destination-hash": "dh", "maglev": "mh", "failover": "fo", "overflow": "ovf",
}

// schedulerFlags are the flags of the schedulers that have any, by ipvsadm's names. The
// kernel gives both schedulers the same bits (IP_VS_SVC_F_SCHED_*, linux/ip_vs.h).
var schedulerFlags = []struct {
	name, scheduler string
	flag            ipvs.ServiceFlags
}{
	{"sh-fallback", "sh", ipvs.FlagSched1},
	{"sh-port", "sh", ipvs.FlagSched2},
	{"mh-fallback", "mh", ipvs.FlagSched1},
	{"mh-port", "mh", ipvs.FlagSched2},
}

// scheduler reads a virtual server's scheduler with its flags.
func (p *parser) scheduler(t *node) (name string, flags ipvs.ServiceFlags) {
	n := t.kid("scheduler")
	if n == nil {
		return defaultScheduler, p.schedulerFlags(t.kid("scheduler_flags"), defaultScheduler)
	}
	name = p.choice(n, "a scheduler", "", schedulers, schedulerOther)
	flags = p.schedulerFlags(t.kid("scheduler_flags"), name)
	if name == "" {
		name = defaultScheduler
	}
	return name, flags
}

// schedulerFlags reads the flags of a scheduler; an empty one was refused, and any flag
// may be its own.
func (p *parser) schedulerFlags(n *node, scheduler string) (flags ipvs.ServiceFlags) {
	if n == nil || !p.array(n, `an array of scheduler flags, such as ["sh-port"]`) {
		return 0
	}
	var names []string
	for _, f := range schedulerFlags {
		names = append(names, f.name)
	}
	for _, e := range n.elems {
		name := p.choice(e, "a scheduler flag", "", names, nil)
		for _, f := range schedulerFlags {
			switch {
			case f.name != name:
			case scheduler != "" && f.scheduler != scheduler:
				p.errorf(e, "%s is a flag of the scheduler %s, and this virtual server has %s", name, f.scheduler, scheduler)
			case flags&f.flag != 0:
				p.errorf(e, "%s is named twice", name)
			default:
				flags |= f.flag
			}
		}
	}
	return flags
}

// schedulerFlagNames is the reverse of schedulerFlags.
func schedulerFlagNames(s ipvs.Service) string {
	var names []string
	for _, f := range schedulerFlags {
		if f.scheduler == s.Scheduler && s.Flags&f.flag != 0 {
			names = append(names, `"`+f.name+`"`)
		}
	}
	return strings.Join(names, ", ")
}
