package ipvsnl

import (
	"context"
	"fmt"

	"github.com/hadirector/hadirector/ipvs"
)

// Attributes of the 64-bit counters (IPVS_STATS_ATTR_*, linux/ip_vs.h; since Linux
// 4.1).
const (
	statsConns    = 1
	statsInPkts   = 2
	statsOutPkts  = 3
	statsInBytes  = 4
	statsOutBytes = 5
	statsCPS      = 6
	statsInPPS    = 7
	statsOutPPS   = 8
	statsInBPS    = 9
	statsOutBPS   = 10
)

// unpackCounters decodes the counters in the attribute typ.
func unpackCounters(as attrs, typ uint16) (ipvs.Counters, error) {
	st, err := as.nested(typ)
	if err != nil {
		return ipvs.Counters{}, err
	}
	return ipvs.Counters{
		Connections:    st.uint64(statsConns),
		PacketsIn:      st.uint64(statsInPkts),
		PacketsOut:     st.uint64(statsOutPkts),
		BytesIn:        st.uint64(statsInBytes),
		BytesOut:       st.uint64(statsOutBytes),
		ConnectionRate: st.uint64(statsCPS),
		PacketRateIn:   st.uint64(statsInPPS),
		PacketRateOut:  st.uint64(statsOutPPS),
		ByteRateIn:     st.uint64(statsInBPS),
		ByteRateOut:    st.uint64(statsOutBPS),
	}, nil
}

// Stats returns the counters of all services and destinations. It reads as much as
// [Client.Table] does. The kernel brings them up to date every two seconds.
func (c *Client) Stats(ctx context.Context) (ipvs.Stats, error) {
	stats := ipvs.Stats{}
	err := c.do(ctx, func(k *conn) error {
		services, err := readServices(k)
		if err != nil {
			return err
		}
		for _, s := range services {
			sc := ipvs.ServiceCounters{Destinations: map[ipvs.DestinationKey]ipvs.Counters{}}
			if sc.Counters, err = unpackCounters(s.attrs, svcStats64); err != nil {
				return fmt.Errorf("counters of %s: %w", s.Key, err)
			}
			dests, err := readDestinations(k, s.Key)
			if err != nil {
				return err
			}
			for _, d := range dests {
				if sc.Destinations[d.Key], err = unpackCounters(d.attrs, destStats64); err != nil {
					return fmt.Errorf("counters of %s of %s: %w", d.Key, s.Key, err)
				}
			}
			stats[s.Key] = sc
		}
		return nil
	})
	if err != nil {
		return nil, readError("read the IPVS counters", err)
	}
	return stats, nil
}
