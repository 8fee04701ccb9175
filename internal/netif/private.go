package netif

import (
	"fmt"
	"net/netip"
)

// PrivateLink is an interface of the daemon's own that leads nowhere: a dummy link, or a
// veth pair with both ends here where the kernel has no dummy links. What is sent on it is
// seen by this machine's packet sockets and by nobody else.
//
// Later runs know the link by its alias. Every method may be
// called again at any time; one goroutine writes one link.
type PrivateLink struct {
	Name string
	Peer string // the other end's name if it is a veth pair
	// Alias marks links that were made here ("ip link set alias").
	Alias string
	// Address is a host's: no route goes with it.
	Address netip.Prefix
}

// PrivateState is how Ensure has left a private link.
type PrivateState struct {
	Index int
	// Made: there was none. Sockets that were bound to one before hear nothing any more.
	Made bool
	// Mended is what somebody else had changed, in words for a log.
	Mended []string
}

// privateMTU is the least that takes the largest message of a sync daemon whole.
const privateMTU = 1500

// foundLink is a link that has the name of a private one.
type foundLink struct {
	kind, alias string
	up          bool
	addresses   int
}

// judge tells whether a link is the private one. One without the alias that is not in use
// is what a run that was killed had begun to make.
func (p PrivateLink) judge(l foundLink) verdict {
	if l.kind != "dummy" && l.kind != "veth" {
		return leave
	}
	if l.alias == p.Alias || l.alias == "" && !l.up && l.addresses == 0 {
		return adopt
	}
	return leave
}

func (l foundLink) String() string {
	if l.alias == "" {
		return fmt.Sprintf("a %s link", l.kind)
	}
	return fmt.Sprintf("a %s link with the alias %q", l.kind, l.alias)
}

// privateSettings are the parameters of the link: it has no IPv6. They end with it.
func privateSettings(link string) []setting {
	return []setting{{name: "net/ipv6/conf/" + link + "/disable_ipv6", value: "1"}}
}
