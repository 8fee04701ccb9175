package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// answer is where answers to probes through a virtual address come from.
type answer struct {
	vip      netip.Addr
	protocol string // as nft has it: "tcp", "udp"
	port     uint16
}

// answering are the answers to probes that this machine takes outside of connection tracking,
// in order: IPVS takes the probes out of it, unless it is told otherwise.
func answering(cfg *conf.Config) []answer {
	tracked := func(vs conf.VirtualServer) bool { return vs.FullNAT() }
	if cfg.IPVS.Parameters["conntrack"] == 1 || slices.ContainsFunc(cfg.VirtualServers, tracked) {
		return nil
	}
	checks := make(map[string]healthcheck.Spec, len(cfg.Checks))
	for _, sp := range cfg.Checks {
		checks[sp.Name] = sp
	}
	answers := make(map[answer]bool)
	for _, vs := range cfg.VirtualServers {
		for _, rs := range vs.RealServers {
			for name, path := range rs.Paths {
				sp := checks[name]
				a := answer{path.VIP, "tcp", cmp.Or(sp.Port, rs.Address.Port())}
				if sp.Type == healthcheck.UDP || sp.Type == healthcheck.DNS && !sp.DNS.TCP {
					a.protocol = "udp"
				}
				answers[a] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(answers), func(a, b answer) int {
		return cmp.Or(a.vip.Compare(b.vip), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port))
	})
}

// senders are the virtual addresses that answers come from.
func senders(answers []answer) []netip.Addr {
	var vips []netip.Addr
	for _, a := range answers {
		vips = append(vips, a.vip)
	}
	return slices.Compact(vips)
}

// answers looks for chains that drop what real servers answer from virtual addresses.
func (d *diagnosis) answers() {
	all := answering(d.cfg)
	for _, in := range d.DirectorFacts.Answers {
		let := slices.DeleteFunc(slices.Clone(all), func(a answer) bool {
			return in.Family == "ip" && a.vip.Is6() || in.Family == "ip6" && a.vip.Is4()
		})
		if in.Port || len(let) == 0 {
			continue
		}
		chain := in.Family + " " + in.Table + " " + in.Chain
		d.warn("the nftables chain "+chain+" drops, and no rule of its table names a virtual address that answers probes (via = \"vip\")",
			"For connection tracking these answers belong to no connection: if they do not come in, all the real servers are down.",
			letIn(chain, let)...)
	}
}

// letIn are the commands that have a chain accept these answers, and nothing else that says
// that it comes from there. Addresses with the same ports share one.
func letIn(chain string, answers []answer) []string {
	type source struct {
		vip      netip.Addr
		protocol string
	}
	ports := make(map[source][]string)
	for _, a := range answers {
		s := source{a.vip, a.protocol}
		ports[s] = append(ports[s], fmt.Sprint(a.port))
	}
	var rules []string                // without their addresses
	from := make(map[string][]string) // the addresses of each
	for _, a := range answers {
		s := source{a.vip, a.protocol}
		header := "ip"
		if a.vip.Is6() {
			header = "ip6"
		}
		rule := header + " saddr %s " + a.protocol + " sport " + set(ports[s]) + " accept"
		if !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
		if !slices.Contains(from[rule], a.vip.String()) {
			from[rule] = append(from[rule], a.vip.String())
		}
	}
	commands := make([]string, len(rules))
	for i, rule := range rules {
		commands[i] = "nft insert rule " + chain + " " + fmt.Sprintf(rule, set(from[rule]))
	}
	return commands
}

// set writes values as nft takes them, one or several.
func set(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return "{ " + strings.Join(values, ", ") + " }"
}
