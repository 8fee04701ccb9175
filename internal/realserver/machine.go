package realserver

import (
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/sysctl"
)

// machine is what the steps are carried out on.
type machine interface {
	facts() (facts, error)
	do(Step) error
}

// thisMachine is the machine of the calling thread's network namespace.
type thisMachine struct{}

func (thisMachine) facts() (facts, error) {
	f := facts{sysctls: map[string]string{}, tunnels: map[string]tunnel{}}
	var err error
	if f.addresses, err = netif.AddressesByInterface(); err != nil {
		return facts{}, err
	}
	if f.routes, err = netif.HostRoutes(loopback); err != nil {
		return facts{}, err
	}
	tunnels, err := netif.Tunnels()
	if err != nil {
		return facts{}, err
	}
	for _, t := range tunnels {
		f.tunnels[t.Name] = tunnel{end: end{Kind: t.Kind, Local: t.Local, Checksum: t.Checksum}, up: t.Up}
	}
	if f.ports, f.fou, err = netif.GUEPorts(); err != nil {
		return facts{}, err
	}
	for _, name := range f.parameters() {
		if f.sysctls[name], err = sysctl.Get(name); err != nil {
			return facts{}, err
		}
	}
	return f, nil
}

func (thisMachine) do(s Step) error {
	switch s.Kind {
	case AddAddress:
		return netif.AddAddress(s.Device, host(s.Addr))
	case DeleteAddress:
		return netif.DeleteAddress(s.Device, host(s.Addr))
	case AddRoute:
		return netif.AddHostRoute(s.Device, s.Addr)
	case DeleteRoute:
		return netif.DeleteHostRoute(s.Device, s.Addr)
	case AddTunnel:
		return netif.AddTunnel(netif.Tunnel{Name: s.Device, Kind: s.end.Kind, Local: s.end.Local, Checksum: s.end.Checksum})
	case DeleteTunnel:
		return netif.DeleteTunnel(s.Device)
	case SetUp, SetDown:
		return netif.SetUp(s.Device, s.Kind == SetUp)
	case LoadModule:
		return netif.LoadModule(s.Device)
	case AddPort:
		return netif.AddGUEPort(s.Port)
	case DeletePort:
		return netif.DeleteGUEPort(s.Port)
	}
	return sysctl.Set(s.Param, s.Value)
}
