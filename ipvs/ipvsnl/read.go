package ipvsnl

import (
	"context"
	"errors"
	"fmt"
	"time"

	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// Table returns all services with their destinations, in canonical form, and the
// connection counts of every destination. The kernel lists the destinations of one
// service at a time, so a change made meanwhile by somebody else may be seen in
// part; the client's own changes wait.
func (c *Client) Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error) {
	table, observed := ipvs.Table{}, ipvs.Observed{}
	err := c.do(ctx, func(k *conn) error {
		services, err := readServices(k)
		if err != nil {
			return err
		}
		for _, s := range services {
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

func readServices(k exchanger) ([]listedService, error) {
	msgs, err := list(k, cmdGetService, nil)
	if err != nil {
		return nil, err
	}
	services := make([]listedService, len(msgs))
	for i, m := range msgs {
		if services[i], err = unpackService(m); err != nil {
			return nil, fmt.Errorf("decode service: %w", err)
		}
	}
	return services, nil
}

// readDestinations lists the destinations of one service. To the kernel a service
// that is gone has none.
func readDestinations(k exchanger, key ipvs.ServiceKey) ([]listedDestination, error) {
	msgs, err := list(k, cmdGetDest, packServiceKey(key))
	if err != nil {
		return nil, fmt.Errorf("destinations of %s: %w", key, err)
	}
	dests := make([]listedDestination, len(msgs))
	for i, m := range msgs {
		if dests[i], err = unpackDestination(m, key); err != nil {
			return nil, fmt.Errorf("decode destination of %s: %w", key, err)
		}
	}
	return dests, nil
}

// listAttempts is how often a listing is asked for that the kernel says was
// disturbed by a change.
const listAttempts = 3

// list asks for a listing.
func list(k exchanger, cmd uint8, attrs []byte) (msgs [][]byte, err error) {
	for range listAttempts {
		msgs, err = k.exchange(cmd, unix.NLM_F_DUMP, attrs)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return msgs, err
		}
	}
	return nil, err
}

// Daemons returns the running sync daemons as the kernel reports them, with the
// values that it chose; compare them with [syncd.Daemon.Matches].
func (c *Client) Daemons(ctx context.Context) ([]syncd.Daemon, error) {
	var ds []syncd.Daemon
	err := c.do(ctx, func(k *conn) (err error) {
		ds, err = readDaemons(k)
		return err
	})
	if err != nil {
		return nil, readError("read the IPVS sync daemons", err)
	}
	return ds, nil
}

func readDaemons(k exchanger) ([]syncd.Daemon, error) {
	msgs, err := list(k, cmdGetDaemon, nil)
	if err != nil {
		return nil, err
	}
	var ds []syncd.Daemon
	for _, m := range msgs {
		d, err := unpackDaemon(m)
		if err != nil {
			return nil, fmt.Errorf("decode daemon: %w", err)
		}
		ds = append(ds, d)
	}
	return ds, nil
}

// Attributes of the answer to cmdGetInfo (IPVS_INFO_ATTR_*, linux/ip_vs.h).
const (
	infoVersion  = 1
	infoConnSize = 2
)

// Info returns the kernel's version of IPVS and the size of its connection table.
func (c *Client) Info(ctx context.Context) (ipvs.Info, error) {
	var info ipvs.Info
	err := c.do(ctx, func(k *conn) error {
		msgs, err := k.exchange(cmdGetInfo, 0, nil)
		if err != nil {
			return err
		}
		if len(msgs) != 1 {
			return fmt.Errorf("%d messages, want 1", len(msgs))
		}
		as, err := parseAttrs(msgs[0])
		if err != nil {
			return err
		}
		v := as.uint32(infoVersion)
		info = ipvs.Info{
			Version:             fmt.Sprintf("%d.%d.%d", v>>16&0xff, v>>8&0xff, v&0xff),
			ConnectionTableSize: as.uint32(infoConnSize),
		}
		return nil
	})
	if err != nil {
		return ipvs.Info{}, readError("read the IPVS version", err)
	}
	return info, nil
}

// Timeouts returns the timeouts of the connection table.
func (c *Client) Timeouts(ctx context.Context) (ipvs.Timeouts, error) {
	var t ipvs.Timeouts
	err := c.do(ctx, func(k *conn) error {
		cfg, err := k.services.GetConfig()
		if err != nil {
			return err
		}
		t = ipvs.Timeouts{TCP: cfg.TimeoutTCP, TCPFin: cfg.TimeoutTCPFin, UDP: cfg.TimeoutUDP}
		return nil
	})
	if err != nil {
		return ipvs.Timeouts{}, readError("read the IPVS timeouts", err)
	}
	return t, nil
}

// SetTimeouts changes the timeouts of the connection table, in whole seconds; a
// zero leaves one as it is.
func (c *Client) SetTimeouts(ctx context.Context, t ipvs.Timeouts) error {
	op := line(fmt.Sprintf("--set %d %d %d", t.TCP/time.Second, t.TCPFin/time.Second, t.UDP/time.Second))
	return opError(op, c.do(ctx, func(k *conn) error {
		return k.services.SetConfig(&moby.Config{TimeoutTCP: t.TCP, TimeoutTCPFin: t.TCPFin, TimeoutUDP: t.UDP})
	}))
}
