package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/ipvs"
)

// connNames finds the names of a connection's virtual and real server.
type connNames []connService

// connService is a virtual server as connections know it.
type connService struct {
	name     string
	protocol string // "tcp"; "fwmark" for a firewall mark
	mark     uint32
	ports    []ipvs.Ports // for a firewall mark those that get it, as far as is known
	servers  []connServer
}

type connServer struct {
	name string
	addr netip.AddrPort
}

// namesOfConfig are the names of a configuration.
func namesOfConfig(cfg *conf.Config) connNames {
	var names connNames
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		s := connService{name: vs.Name, protocol: vs.Service.Key.Protocol.String(), mark: vs.Service.Key.FWMark, ports: vs.Ports()}
		for _, rs := range vs.RealServers {
			s.servers = append(s.servers, connServer{rs.Name, rs.Address})
		}
		if vs.SorryServer != nil {
			s.servers = append(s.servers, connServer{vs.SorryServer.Name, vs.SorryServer.Address})
		}
		names = append(names, s)
	}
	return names
}

// namesOfStatus are the names that a daemon tells, also of real servers that are on their
// way out.
func namesOfStatus(s director.Status) connNames {
	var names connNames
	index := make(map[string]int)
	service := func(name, protocol string) *connService {
		i, ok := index[name]
		if !ok {
			i = len(names)
			index[name] = i
			names = append(names, connService{name: name, protocol: protocol})
		}
		return &names[i]
	}
	for _, v := range s.VirtualServers {
		of := service(v.Name, v.Protocol)
		if v.Protocol == ipvs.Protocol(0).String() {
			mark, _ := strconv.ParseUint(v.Address, 10, 32)
			of.mark = uint32(mark)
		}
		for _, text := range v.Addresses {
			if p, ok := parsePorts(text); ok {
				of.ports = append(of.ports, p)
			}
		}
		for _, r := range v.RealServers {
			if addr, err := netip.ParseAddrPort(r.Address); err == nil {
				of.servers = append(of.servers, connServer{r.Name, addr})
			}
		}
	}
	for _, l := range s.Leaving {
		key, err := ipvs.ParseServiceKey(l.Service)
		addr, aerr := netip.ParseAddrPort(l.Address)
		if err != nil || aerr != nil {
			continue
		}
		of := service(l.VirtualServer, key.Protocol.String())
		if of.mark = max(of.mark, key.FWMark); key.FWMark == 0 {
			of.ports = append(of.ports, ipvs.Ports{Addr: key.Addr.Addr(), First: key.Addr.Port(), Last: key.Addr.Port()})
		}
		of.servers = append(of.servers, connServer{l.RealServer, addr})
	}
	return names
}

// parsePorts reads what [ipvs.Ports] prints.
func parsePorts(text string) (ipvs.Ports, bool) {
	first, last, several := strings.Cut(text, "-")
	a, err := netip.ParseAddrPort(first)
	if err != nil {
		return ipvs.Ports{}, false
	}
	p := ipvs.Ports{Addr: a.Addr(), First: a.Port(), Last: a.Port()}
	if several {
		n, err := strconv.ParseUint(last, 10, 16)
		if err != nil {
			return ipvs.Ports{}, false
		}
		p.Last = uint16(n)
	}
	return p, true
}

// of returns the names of a connection's virtual and real server; empty: not known. A
// packet with a firewall mark is the mark's before it is its address's, and an address with
// its port comes before one with every port (ip_vs_service_find).
func (n connNames) of(c ipvs.Connection) (virtual, real string) {
	match := [...]func(connService) bool{
		func(s connService) bool { return s.mark != 0 && c.Protocol == "IP" && s.mark == markOf(c) },
		func(s connService) bool { return s.mark != 0 && s.to(c.Virtual, false) && s.server(c) != "" },
		func(s connService) bool { return s.is(c.Protocol) && s.to(c.Virtual, false) },
		func(s connService) bool { return s.is(c.Protocol) && s.to(c.Virtual, true) },
		// Somebody else sets the mark: only the real server tells.
		func(s connService) bool { return s.mark != 0 && len(s.ports) == 0 && s.server(c) != "" },
	}
	for _, is := range match {
		if i := slices.IndexFunc(n, is); i >= 0 {
			return n[i].name, n[i].server(c)
		}
	}
	return "", ""
}

// markOf is the firewall mark of a template, which has it in the place of the address.
func markOf(c ipvs.Connection) uint32 {
	return binary.BigEndian.Uint32(c.Virtual.Addr().AsSlice()) // of IPv6 the first four bytes
}

func (s connService) is(protocol string) bool {
	return s.mark == 0 && strings.EqualFold(s.protocol, protocol)
}

// to tells whether the service takes connections to an address; with every, because it
// takes all of its ports.
func (s connService) to(a netip.AddrPort, every bool) bool {
	return slices.ContainsFunc(s.ports, func(p ipvs.Ports) bool {
		return p.Addr == a.Addr() && (p.First == 0) == every && p.Has(a.Port())
	})
}

// server is the name of the real server that a connection goes to. Its port is the
// client's one where the packets are not translated.
func (s connService) server(c ipvs.Connection) string {
	name, several := "", false
	for _, r := range s.servers {
		switch {
		case r.addr == c.Destination:
			return r.name
		case r.addr.Addr() == c.Destination.Addr() && r.name != name:
			several = name != ""
			name = r.name
		}
	}
	if several {
		return ""
	}
	return name
}

// virtuals are the names of the virtual servers.
func (n connNames) virtuals() []string {
	var names []string
	for _, s := range n {
		names = append(names, s.name)
	}
	return names
}

// reals are the names of the real servers of one virtual server, or of all, each once.
func (n connNames) reals(virtual string) []string {
	var names []string
	for _, s := range n {
		for _, r := range s.servers {
			if (virtual == "" || s.name == virtual) && !slices.Contains(names, r.name) {
				names = append(names, r.name)
			}
		}
	}
	return names
}

// check refuses a name that there is not.
func (n connNames) check(virtual, real string) error {
	virtuals, reals := n.virtuals(), n.reals(virtual)
	switch {
	case virtual != "" && !slices.Contains(virtuals, virtual):
		return fmt.Errorf("no virtual server is named %q%s", virtual, conf.DidYouMean(virtual, virtuals))
	case real == "" || slices.Contains(reals, real):
		return nil
	case virtual != "":
		return fmt.Errorf("virtual server %s has no real server %q%s", virtual, real, conf.DidYouMean(real, reals))
	}
	return fmt.Errorf("no virtual server has a real server %q%s", real, conf.DidYouMean(real, reals))
}
