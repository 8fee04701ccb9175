package ipvsnl

import (
	"context"
	"io"

	"github.com/hadirector/hadirector/ipvs"
)

// Refresh is [Client.Table] for a caller who has read the table before: last is what it is
// likely to be, with what was changed since. It reads /proc/net/ip_vs, which takes a
// fraction of the time that the listings take, and lists what that does not show as it is
// in last, and the services whose counts it does not show in full: those with persistence
// and those of firewall marks.
//
// What the file never shows is taken from last: thresholds, the parameters of tunnels,
// flags of the scheduler, the persistence engine, and whether a service of an IPv6 address
// is for one packet at a time. So Table is to be called now and then. If the file cannot be
// read, or not understood, Refresh is Table.
// The result may share its services with last, so neither may be written to.
func (c *Client) Refresh(ctx context.Context, last ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	if c.proc == nil {
		return c.Table(ctx)
	}
	table, observed := make(ipvs.Table, len(last)), make(ipvs.Observed, len(last))
	// Nothing here waits for an answer, so it has no time limit: a busy machine takes
	// seconds for a long table.
	shown, err := c.glances()
	if err != nil {
		return c.Table(ctx) // it tells the same, and why not
	}
	unclear := make(map[ipvs.ServiceKey]bool)
	marks := false
	for _, g := range shown {
		switch e, there := last[g.key]; {
		case !g.key.Addr.IsValid():
			marks = true
		case there && g.shows(e):
			table[g.key], observed[g.key] = e, g.counts
		default:
			unclear[g.key] = true
		}
	}
	if len(unclear) == 0 && !marks {
		return table, observed, ctx.Err()
	}
	err = c.do(ctx, func(k *conn) error {
		services, err := readServices(k)
		if err != nil {
			return err
		}
		for _, s := range services {
			if !unclear[s.Key] && s.Key.FWMark == 0 {
				continue
			}
			if table[s.Key], observed[s.Key], err = readEntry(k, s.Service); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, readError("read the IPVS table", err)
	}
	return table, observed, nil
}

// glances reads /proc/net/ip_vs.
func (c *Client) glances() ([]glance, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if _, err := c.proc.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(c.proc)
	if err != nil {
		return nil, err
	}
	return parseProc(text)
}

// readEntry lists the destinations of a service.
func readEntry(k exchanger, s ipvs.Service) (ipvs.Entry, map[ipvs.DestinationKey]ipvs.Connections, error) {
	dests, err := readDestinations(k, s.Key)
	if err != nil {
		return ipvs.Entry{}, nil, err
	}
	e := ipvs.Entry{Service: s, Destinations: make(map[ipvs.DestinationKey]ipvs.Destination, len(dests))}
	counts := make(map[ipvs.DestinationKey]ipvs.Connections, len(dests))
	for _, d := range dests {
		e.Destinations[d.Key], counts[d.Key] = d.Destination, d.counts
	}
	return e, counts, nil
}
