package ipvsnl

import (
	"context"
	"io"

	"github.com/hadirector/hadirector/ipvs"
)

// Refresh is [Client.Table] for a caller who has read the table before: last is what it is
// likely to be, with what was changed since. It lists the services, and reads of their
// destinations /proc/net/ip_vs, which takes a fraction of the time that their listings take.
// It lists the destinations of a service that the file does not show as it is in last, or
// whose counts it does not show in full: those with persistence and those of firewall marks.
//
// Which services there are the file does not tell: where other network namespaces have
// services as well, the kernel passes over some of this one (ip_vs_info_seq_next counts
// those of all, ip_vs_info_array those of one).
//
// What the file never shows of a destination is taken from last: thresholds and the
// parameters of tunnels. So Table is to be called now and then. The file also leaves out
// that a service of an IPv6 address is for one packet at a time; the listing has it. If the
// file cannot be read, or not understood, Refresh is Table. The result may share its
// services with last, so neither may be written to.
func (c *Client) Refresh(ctx context.Context, last ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	if c.proc == nil {
		return c.Table(ctx)
	}
	// The file does not wait for an answer, so it has no time limit: a busy machine takes
	// seconds for a long table.
	list, err := c.glances()
	if err != nil {
		return c.Table(ctx) // it tells the same, and why not
	}
	shown := make(map[ipvs.ServiceKey]glance, len(list))
	for _, g := range list {
		shown[g.key] = g
	}
	table, observed := make(ipvs.Table, len(last)), make(ipvs.Observed, len(last))
	err = c.do(ctx, func(k *conn) error {
		services, err := readServices(k)
		if err != nil {
			return err
		}
		for _, s := range services {
			e, known := last[s.Key]
			if g, is := shown[s.Key]; known && is && g.shows(e) {
				e.Service = s.Service
				table[s.Key], observed[s.Key] = e, g.counts
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
