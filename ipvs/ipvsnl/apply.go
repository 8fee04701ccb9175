package ipvsnl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// Apply carries out one operation. The error is an [*Error] around the kernel's
// errno: EEXIST for what is there already, ESRCH for a missing service, ENOENT for a
// missing destination or an unknown scheduler. The first three of these, apart from
// the scheduler, mean that the table is not what the caller took it for: read it
// again and compare. ErrNoTunnel: the kernel has no such tunnel.
func (c *Client) Apply(ctx context.Context, op ipvs.Op) error {
	return c.ApplyAll(ctx, []ipvs.Op{op})[0]
}

// ApplyAll is [Client.Apply] for one operation after the other, whatever becomes of those
// before, and returns what each has failed with. It takes less time than a call for each.
func (c *Client) ApplyAll(ctx context.Context, ops []ipvs.Op) []error {
	results := make(chan error, len(ops)) // when do returns early, work may still be running
	err := c.do(ctx, func(k *conn) error {
		for _, op := range ops {
			err := c.applyOne(k, op)
			if cut := k.call.ctx.Err(); cut != nil {
				return cut // err is of the sockets that were closed under it
			}
			k.call.alive()
			results <- err
		}
		return nil
	})
	errs, told := make([]error, len(ops)), len(results)
	for i, op := range ops {
		failed := err
		if i < told {
			failed = <-results
		}
		errs[i] = opError(op, failed)
	}
	return errs
}

func (c *Client) applyOne(k *conn, op ipvs.Op) error {
	if service, d, ok := tunnelOf(op); ok {
		return c.applyTunnel(k, op, service, d)
	}
	return apply(k, op)
}

func apply(k *conn, op ipvs.Op) error {
	switch op := op.(type) {
	case ipvs.AddService:
		s, err := mobyService(op.Service)
		if err != nil {
			return err
		}
		return k.services.NewService(s)
	case ipvs.EditService:
		s, err := mobyService(op.Service)
		if err != nil {
			return err
		}
		return k.services.UpdateService(s)
	case ipvs.DeleteService:
		return k.services.DelService(mobyKey(op.Key))
	case ipvs.AddDestination:
		return request(k, cmdNewDest, packServiceKey(op.Service), packDestination(op.Destination))
	case ipvs.EditDestination:
		return request(k, cmdSetDest, packServiceKey(op.Service), packDestination(op.Destination))
	case ipvs.DeleteDestination:
		return request(k, cmdDelDest, packServiceKey(op.Service), packDestinationKey(op.Key))
	}
	return fmt.Errorf("operation %T: %w", op, unix.EOPNOTSUPP)
}

// request sends what needs no answer but success.
func request(k exchanger, cmd uint8, parts ...[]byte) error {
	var attrs []byte
	for _, p := range parts {
		attrs = append(attrs, p...)
	}
	_, err := k.exchange(cmd, unix.NLM_F_ACK, attrs)
	return err
}

// ApplyDaemon starts or stops a sync daemon. EEXIST: one of that role is running.
// ESRCH: none is. ENODEV: the interface is missing. EINVAL: a service has a
// destination of the other address family.
func (c *Client) ApplyDaemon(ctx context.Context, op syncd.Op) error {
	return opError(op, c.do(ctx, func(k *conn) error {
		switch op := op.(type) {
		case syncd.Start:
			return request(k, cmdNewDaemon, packDaemon(op.Daemon))
		case syncd.Stop:
			return stopDaemon(k, op.Role)
		}
		return fmt.Errorf("operation %T: %w", op, unix.EOPNOTSUPP)
	}))
}

// stopDaemon stops a daemon. The kernel does not answer if the daemon was started
// so shortly before that its thread had not run yet: kthread_stop then returns
// EINTR, which netlink_rcv_skb swallows. The daemon is stopped all the same, so the
// listing tells the outcome.
func stopDaemon(k exchanger, role syncd.Role) error {
	err := request(k, cmdDelDaemon, packDaemonRole(role))
	if !errors.Is(err, ErrTimeout) {
		return err
	}
	running, listErr := readDaemons(k)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	if slices.ContainsFunc(running, func(d syncd.Daemon) bool { return d.Role == role }) {
		return err
	}
	return nil
}

// line is an operation that has no value of its own, as ipvsadm's arguments.
type line string

func (l line) String() string { return string(l) }

// Flush deletes every service of the namespace, also those of others.
func (c *Client) Flush(ctx context.Context) error {
	return opError(line("-C"), c.do(ctx, func(k *conn) error { return k.services.Flush() }))
}

// Zero sets the counters of every service and destination to zero.
func (c *Client) Zero(ctx context.Context) error {
	return opError(line("-Z"), c.do(ctx, func(k *conn) error { return request(k, cmdZero) }))
}

// ZeroService sets the counters of a service and its destinations to zero. ESRCH: the
// kernel has no such service.
func (c *Client) ZeroService(ctx context.Context, key ipvs.ServiceKey) error {
	op := zeroService{key}
	return opError(op, c.do(ctx, func(k *conn) error { return request(k, cmdZero, packServiceKey(op.key)) }))
}

// zeroService is the operation of [Client.ZeroService].
type zeroService struct{ key ipvs.ServiceKey }

func (z zeroService) String() string {
	return "-Z" + strings.TrimPrefix(ipvs.DeleteService{Key: z.key}.String(), "-D")
}
