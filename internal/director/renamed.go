package director

import (
	"slices"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// nameNow is the name in the configuration in force of a virtual router that has
// reported something. It goes on under its old name until the kernel has been brought to
// that configuration, and what it reported before is still on its way.
func (d *Director) nameNow(reported string) string {
	for _, cfg := range []*conf.Config{d.running, d.ranBefore} {
		if cfg == nil {
			break
		}
		if vr, ok := virtualRouter(cfg, reported); ok {
			if name, ok := nameOf(d.force.cfg, idOf(vr)); ok {
				return name
			}
			break
		}
	}
	return reported
}

// nameOf is the name of a virtual router in a configuration.
func nameOf(cfg *conf.Config, id vrrp.ID) (name string, ok bool) {
	i := slices.IndexFunc(cfg.VirtualRouters, func(vr conf.VirtualRouter) bool { return idOf(vr) == id })
	if i < 0 {
		return "", false
	}
	return cfg.VirtualRouters[i].Name, true
}

// idOf is what a virtual router keeps when its name changes.
func idOf(vr conf.VirtualRouter) vrrp.ID {
	return vrrp.ID{Interface: vr.Interface, Family: vrrp.FamilyOf(vr.VirtualAddresses[0].Addr()), VRID: vr.VRID}
}
