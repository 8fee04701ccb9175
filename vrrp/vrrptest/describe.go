package vrrptest

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hadirector/hadirector/vrrp"
)

// Describe renders an action as transcripts and test tables have it:
//
//	advert 200
//	acquire 192.0.2.100/24
//	backup→master (master-down)
//	master→backup (higher-priority, peer 192.0.2.2 priority 250)
func Describe(a vrrp.Action) string {
	switch a := a.(type) {
	case vrrp.SendAdvert:
		return fmt.Sprintf("advert %d", a.Advert.Priority)
	case vrrp.AcquireAddrs:
		return "acquire " + join(a.Addresses)
	case vrrp.ReleaseAddrs:
		return "release " + join(a.Addresses)
	case vrrp.Announce:
		return "announce " + join(a.Addresses)
	case vrrp.Transitioned:
		about := string(a.Reason)
		if a.Peer.IsValid() {
			about += fmt.Sprintf(", peer %v priority %d", a.Peer, a.PeerPriority)
		}
		if a.Detail != "" {
			about += ": " + a.Detail
		}
		return fmt.Sprintf("%v→%v (%s)", a.From, a.To, about)
	}
	return fmt.Sprintf("%#v", a)
}

// DescribeAll renders actions in their order.
func DescribeAll(actions []vrrp.Action) []string {
	var out []string
	for _, a := range actions {
		out = append(out, Describe(a))
	}
	return out
}

func join(addrs []netip.Prefix) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, " ")
}
