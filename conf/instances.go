package conf

import (
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/vrrp"
)

// Instances returns one director's view of every virtual router, in the order of the
// file: its own priority, the other directors as peers and senders, and Preempt_Mode as
// it is at the moment. ready tells whether the director would be as good a Master as its
// peer; it counts only with preempt = "when-ready". There are none for an unknown
// director.
//
// What changes as the daemon runs is not in them: the effects of tracks, Hold, Fault and
// Adopt are the caller's.
func (c *Config) Instances(director string, ready bool) []vrrp.Instance {
	self, ok := c.Director(director)
	if !ok {
		return nil
	}
	var all []vrrp.Instance
	for _, vr := range c.VirtualRouters {
		all = append(all, c.instance(vr, self, ready))
	}
	return all
}

func (c *Config) instance(vr VirtualRouter, self Director, ready bool) vrrp.Instance {
	in := vrrp.Instance{
		Name: vr.Name,
		ID:   vrrp.ID{Interface: vr.Interface, Family: vr.family(), VRID: vr.VRID},
		Params: vrrp.Params{
			Version:        vr.Version,
			Priority:       vr.Priority[self.Name],
			AdvertInterval: vr.AdvertInterval,
			Preempt:        vr.Preempt == PreemptAlways || vr.Preempt == PreemptWhenReady && ready,
			PreemptDelay:   vr.PreemptDelay,
			Addresses:      slices.Clone(vr.VirtualAddresses),
			Source:         vr.source(self),
			Auth:           vr.Auth,
			Excluded:       slices.Clone(vr.ExcludedAddresses),
			StartDelay:     vr.StartDelay,
			Announcements:  announcements(vr.Announce),
		},
		Group:    vr.SyncGroup,
		Unicast:  vr.Unicast,
		Prefer:   self.Address,
		Checksum: vr.Checksum,
		TTL:      unlessDefault(vr.UnicastTTL),
		MinTTL:   unlessDefault(vr.UnicastMinTTL),
		HMAC:     vr.HMAC,
		VMAC:     vr.VMAC,
		Routes:   slices.Clone(vr.Routes),
		Rules:    slices.Clone(vr.Rules),
		// An owner takes packets to its addresses whatever Accept_Mode is (RFC 9568
		// section 6.4.3).
		Refuse:        !vr.Accept && vr.Priority[self.Name] != vrrp.PriorityOwner,
		LinkUpDelay:   vr.LinkUpDelay,
		LinkDownDelay: vr.LinkDownDelay,
	}
	for _, d := range c.Directors {
		if d.Name != self.Name {
			in.Peers = append(in.Peers, vr.sender(d))
			in.Senders = append(in.Senders, vrrp.Sender{Name: d.Name, Addresses: []netip.Addr{vr.sender(d)}})
		}
	}
	return in
}

// source is the address that a director has to send from. Multicast may come from any
// address of the interface, which the runner knows; unicast peers expect the address
// that they send to.
func (vr VirtualRouter) source(self Director) netip.Addr {
	if _, given := vr.Source[self.Name]; given || vr.Unicast {
		return vr.sender(self)
	}
	return netip.Addr{}
}

// unlessDefault returns a TTL, 0 for the one that advertisements have anyway.
func unlessDefault(ttl int) int {
	if ttl == defaultTTL {
		return 0
	}
	return ttl
}
