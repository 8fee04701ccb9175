package main

import (
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/syncd"
)

// privateLink is a director.PrivateLink.
type privateLink struct{ netif.PrivateLink }

func newPrivateLink() privateLink {
	return privateLink{netif.PrivateLink{
		Name: syncd.PrivateInterface, Peer: syncd.PrivatePeer, Alias: syncd.PrivateAlias, Address: syncd.PrivatePrefix,
	}}
}

func (l privateLink) Ensure() (director.PrivateState, error) {
	s, err := l.PrivateLink.Ensure()
	return director.PrivateState{Index: s.Index, Made: s.Made, Mended: s.Mended}, err
}
