package director

import (
	"iter"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
)

// identity is a real server's place in the kernel's table: what it keeps when its name
// changes.
type identity struct {
	service ipvs.ServiceKey
	key     ipvs.DestinationKey
}

// place is where the kernel's table has a real server, or a sorry server.
type place struct {
	identity
	of ipvs.Service // the service that it is in
	rs *conf.RealServer
}

// places yields all the places of a virtual server's real servers and its sorry server.
func places(vs *conf.VirtualServer) iter.Seq[place] {
	return func(yield func(place) bool) {
		for service := range vs.Services() {
			at := func(rs *conf.RealServer) place {
				return place{identity{service.Key, vs.Destination(service.Key, rs).Key}, service, rs}
			}
			for i := range vs.RealServers {
				if !yield(at(&vs.RealServers[i])) {
					return
				}
			}
			if vs.SorryServer != nil && !yield(at(vs.SorryServer)) {
				return
			}
		}
	}
}

// identities names the real servers, without sorry servers, by their places.
func identities(cfg *conf.Config) map[identity]ServerID {
	ids := make(map[identity]ServerID)
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		for p := range places(vs) {
			if p.rs != vs.SorryServer {
				ids[p.identity] = ServerID{vs.Name, p.rs.Name}
			}
		}
	}
	return ids
}
