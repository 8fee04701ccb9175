package ipvstest

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// The modules of a kernel with all of IPVS.
var (
	schedulers = []string{"none", "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos"}
	engines    = []string{"", "sip"}
)

// apply checks in the order of ip_vs_genl_set_cmd (net/netfilter/ipvs/ip_vs_ctl.c):
// the service, the destination's values, the destination.
func (k *Kernel) apply(op ipvs.Op) error {
	switch op := op.(type) {
	case ipvs.AddService:
		if _, exists := k.table[op.Service.Key]; exists {
			return unix.EEXIST
		}
		if err := checkService(op.Service); err != nil {
			return err
		}
		k.table[op.Service.Key] = ipvs.Entry{
			Service:      op.Service.Canonical(),
			Destinations: map[ipvs.DestinationKey]ipvs.Destination{},
		}
	case ipvs.EditService:
		e, exists := k.table[op.Service.Key]
		if !exists {
			return unix.ESRCH
		}
		if err := checkService(op.Service); err != nil {
			return err
		}
		e.Service = op.Service.Canonical()
		k.table[op.Service.Key] = e
	case ipvs.DeleteService:
		if _, exists := k.table[op.Key]; !exists {
			return unix.ESRCH
		}
		delete(k.table, op.Key)
		delete(k.observed, op.Key)
	case ipvs.AddDestination:
		return k.setDestination(op.Service, op.Destination, false)
	case ipvs.EditDestination:
		return k.setDestination(op.Service, op.Destination, true)
	case ipvs.DeleteDestination:
		e, exists := k.table[op.Service]
		if !exists {
			return unix.ESRCH
		}
		if _, exists := e.Destinations[op.Key]; !exists {
			return unix.ENOENT
		}
		delete(e.Destinations, op.Key)
		delete(k.observed[op.Service], op.Key)
	}
	return nil
}

func (k *Kernel) setDestination(key ipvs.ServiceKey, d ipvs.Destination, edit bool) error {
	e, exists := k.table[key]
	if !exists {
		return unix.ESRCH
	}
	d = d.Canonical()
	if d.Key.Addr().Is6() != key.Is6() && (len(k.daemons) > 0 || d.Forward != ipvs.ForwardTunnel) {
		return unix.EINVAL
	}
	switch {
	case d.Weight > ipvs.MaxWeight, d.LowerThreshold > d.UpperThreshold:
		return unix.ERANGE
	case d.Tunnel == ipvs.TunnelGUE && d.TunnelPort == 0:
		return unix.EINVAL
	}
	switch _, exists := e.Destinations[d.Key]; {
	case edit && !exists:
		return unix.ENOENT
	case !edit && exists:
		return unix.EEXIST
	}
	e.Destinations[d.Key] = d
	return nil
}

func checkService(s ipvs.Service) error {
	if !slices.Contains(schedulers, s.Scheduler) || !slices.Contains(engines, s.Engine) {
		return unix.ENOENT
	}
	if s = s.Canonical(); s.Key.Is6() && s.PersistenceBits < 0 {
		return unix.EINVAL
	}
	return nil
}
