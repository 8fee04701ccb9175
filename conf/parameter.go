package conf

// parameters are the kernel's parameters of IPVS that [ipvs] has, by the kernel's names
// (Documentation/networking/ipvs-sysctl.rst, net/netfilter/ipvs/ip_vs_ctl.c vs_vars).
// Those of the sync daemons are not among them.
var parameters = []struct {
	name string
	most int64 // 0: a switch
}{
	{"backup_only", 0},
	{"conn_reuse_mode", 3},
	{"conntrack", 0},
	{"expire_nodest_conn", 0},
	{"expire_quiescent_template", 0},
	{"ignore_tunneled", 0},
	{"pmtu_disc", 0},
	{"schedule_icmp", 0},
	{"sloppy_sctp", 0},
	{"sloppy_tcp", 0},
}

func parameterNames() []string {
	names := make([]string, len(parameters))
	for i, k := range parameters {
		names[i] = k.name
	}
	return names
}

// parameters reads the keys of [ipvs] that are the kernel's. There is no default: what is
// not given is left as the kernel has it.
func (p *parser) parameters(n *node) map[string]int64 {
	var values map[string]int64
	set := func(name string, v int64) {
		if values == nil {
			values = make(map[string]int64)
		}
		values[name] = v
	}
	for _, k := range parameters {
		kid := n.kid(k.name)
		if kid == nil {
			continue
		}
		if k.most > 0 {
			set(k.name, p.integer(kid, 0, 0, k.most))
		} else if p.boolean(kid, false) {
			set(k.name, 1)
		} else {
			set(k.name, 0)
		}
	}
	return values
}

// parameters writes those that are to have a value.
func (w *writer) parameters(values map[string]int64) {
	for _, k := range parameters {
		v, ok := values[k.name]
		switch {
		case !ok:
		case k.most > 0:
			w.integer(k.name, v)
		default:
			w.boolean(k.name, v != 0)
		}
	}
}
