package ipvsnl

import (
	"errors"
	"fmt"

	"github.com/hadirector/hadirector/ipvs"
)

// ErrNoTunnel is what [Client.Apply] wraps when the kernel is too old for a destination's
// tunnel.
var ErrNoTunnel = errors.New("the kernel is too old")

// tunnelSupport is which tunnels the kernel is known to have. One that lacks them takes the
// request and makes an IP in IP tunnel of it, because it ignores attributes that it does not
// know; what it lists tells.
type tunnelSupport struct {
	known bool
	types bool // IPVS_DEST_ATTR_TUN_TYPE: GUE, since Linux 5.2
	flags bool // IPVS_DEST_ATTR_TUN_FLAGS: checksums and GRE, since Linux 5.3
}

// learn takes what a listed destination tells.
func (t *tunnelSupport) learn(listed []listedDestination) {
	for _, d := range listed {
		_, types := d.attrs[destTunType]
		_, flags := d.attrs[destTunFlags]
		*t = tunnelSupport{known: true, types: types, flags: flags}
	}
}

// check tells what the kernel lacks for the destination, as far as is known.
func (t tunnelSupport) check(d ipvs.Destination) error {
	switch {
	case !t.known:
	case !t.types:
		return fmt.Errorf("%w for %v tunnels, it has only ipip: gue came with Linux 5.2, gre with 5.3", ErrNoTunnel, d.Tunnel)
	case t.flags:
	case d.Tunnel == ipvs.TunnelGRE:
		return fmt.Errorf("%w for gre tunnels, which came with Linux 5.3", ErrNoTunnel)
	case d.TunnelFlags != 0:
		return fmt.Errorf("%w for the checksums of tunnels, which came with Linux 5.3", ErrNoTunnel)
	}
	return nil
}

// applyTunnel applies the operation, which sets the destination, and makes sure that the
// kernel understood. What a kernel that did not has added is taken away again. It runs where
// the sockets are, which alone have c.tunnels.
func (c *Client) applyTunnel(k *conn, op ipvs.Op, service ipvs.ServiceKey, d ipvs.Destination) error {
	learn := func() error {
		if c.tunnels.known {
			return nil
		}
		listed, err := readDestinations(k, service)
		c.tunnels.learn(listed)
		return err
	}
	if err := learn(); err != nil {
		return err
	}
	if err := c.tunnels.check(d); err != nil {
		return err
	}
	if err := apply(k, op); err != nil {
		return err
	}
	if err := learn(); err != nil {
		return err
	}
	if err := c.tunnels.check(d); err != nil {
		return errors.Join(err, apply(k, ipvs.DeleteDestination{Service: service, Key: d.Key}))
	}
	return nil
}

// tunnelOf is the destination that an operation sets, if it is one of the tunnels that not
// every kernel has.
func tunnelOf(op ipvs.Op) (service ipvs.ServiceKey, d ipvs.Destination, ok bool) {
	switch op := op.(type) {
	case ipvs.AddDestination:
		service, d = op.Service, op.Destination.Canonical()
	case ipvs.EditDestination:
		service, d = op.Service, op.Destination.Canonical()
	}
	return service, d, d.Tunnel != ipvs.TunnelIPIP
}
