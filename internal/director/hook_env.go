package director

import (
	"fmt"
	"strings"

	"github.com/hadirector/hadirector/conf"
)

// hookEnv is what a hook finds in its environment, as things are when it begins.
func (d *Director) hookEnv(vs *conf.VirtualServer, is quorum) []string {
	event := "quorum-up"
	if is == quorumDown {
		event = "quorum-down"
	}
	c := d.facts.compose(vs)
	there := 0
	for _, rs := range vs.RealServers {
		if !rs.Backup {
			there++
		}
	}
	env := []string{
		"HADIRECTOR_EVENT=" + event,
		"HADIRECTOR_NAME=" + d.o.Self,
		"HADIRECTOR_VIRTUAL_SERVER=" + vs.Name,
		"HADIRECTOR_ADDRESS=" + addressesOf(vs),
		fmt.Sprintf("HADIRECTOR_QUORUM=%d", vs.Quorum),
		fmt.Sprintf("HADIRECTOR_QUORUM_HYSTERESIS=%d", vs.QuorumHysteresis),
		fmt.Sprintf("HADIRECTOR_REAL_SERVERS=%d", there),
		fmt.Sprintf("HADIRECTOR_SERVING=%d", c.count),
		fmt.Sprintf("HADIRECTOR_WEIGHT=%d", c.weight),
		"HADIRECTOR_SERVES=" + string(c.serves),
	}
	if key := vs.Service.Key; key.FWMark != 0 {
		env = append(env, fmt.Sprintf("HADIRECTOR_FWMARK=%d", key.FWMark))
	} else {
		env = append(env, "HADIRECTOR_PROTOCOL="+key.Protocol.String())
	}
	if vr := routerOf(d.force.cfg, vs); vr != "" {
		env = append(env, "HADIRECTOR_VIRTUAL_ROUTER="+vr, "HADIRECTOR_ROLE="+d.facts.VRRP[vr].String())
	}
	return env
}

// addressesOf are where clients connect to, as the configuration writes it.
func addressesOf(vs *conf.VirtualServer) string {
	ports := vs.Ports()
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = p.String()
	}
	return strings.Join(list, " ")
}

// routerOf is the name of the virtual router that has the first address of a virtual server;
// empty: none has it.
func routerOf(cfg *conf.Config, vs *conf.VirtualServer) string {
	vips := vs.VIPs()
	if len(vips) == 0 {
		return ""
	}
	for _, vr := range cfg.VirtualRouters {
		if vr.Holds(vips[0]) {
			return vr.Name
		}
	}
	return ""
}
