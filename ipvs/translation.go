package ipvs

import (
	"cmp"
	"fmt"
	"net/netip"
)

// Translation says that the connections which a service forwards to a destination by NAT
// are to come from another address than the client's: full NAT. A stock kernel's IPVS does
// not do that; nftables does, on what has gone through IPVS.
type Translation struct {
	Service ServiceKey
	Server  DestinationKey
	Source  netip.Addr // what the destination sees; invalid: what the client connected to
}

// String returns "fullnat tcp 10.0.0.100:80 to 10.0.0.21:80", and behind it the source if
// there is one: "from 10.0.0.11".
func (t Translation) String() string {
	s := fmt.Sprintf("fullnat %s to %s", t.Service, t.Server)
	if t.Source.IsValid() {
		s += " from " + t.Source.String()
	}
	return s
}

// Compare orders translations by service, destination and source.
func (t Translation) Compare(u Translation) int {
	return cmp.Or(t.Service.Compare(u.Service), t.Server.Compare(u.Server), t.Source.Compare(u.Source))
}
