package ipvsnl

import (
	"context"
	"fmt"

	"github.com/hadirector/hadirector/ipvs"
)

// Listing returns the services that want is true for, all of them if it is nil, with
// their destinations and all counts, in the kernel's order. It reads as [Client.Table]
// does; the kernel brings the counters up to date every two seconds.
func (c *Client) Listing(ctx context.Context, want func(ipvs.ServiceKey) bool) (ipvs.Listing, error) {
	var listing ipvs.Listing
	err := c.do(ctx, func(k *conn) error {
		services, err := readServices(k)
		if err != nil {
			return err
		}
		for _, s := range services {
			if want != nil && !want(s.Key) {
				continue
			}
			listed, err := listService(k, s)
			if err != nil {
				return err
			}
			listing = append(listing, listed)
		}
		return nil
	})
	if err != nil {
		return nil, readError("read the IPVS table", err)
	}
	return listing, nil
}

// listService reads the destinations of a service and decodes all counters.
func listService(k exchanger, s listedService) (ipvs.ListedService, error) {
	listed := ipvs.ListedService{Service: s.Service}
	var err error
	if listed.Counters, err = unpackCounters(s.attrs, svcStats64); err != nil {
		return listed, fmt.Errorf("counters of %s: %w", s.Key, err)
	}
	dests, err := readDestinations(k, s.Key)
	if err != nil {
		return listed, err
	}
	for _, d := range dests {
		counters, err := unpackCounters(d.attrs, destStats64)
		if err != nil {
			return listed, fmt.Errorf("counters of %s of %s: %w", d.Key, s.Key, err)
		}
		listed.Destinations = append(listed.Destinations, ipvs.ListedDestination{
			Destination: d.Destination, Connections: d.counts, Counters: counters,
		})
	}
	return listed, nil
}
