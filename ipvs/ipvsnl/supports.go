package ipvsnl

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNoModule is what [Client.Supports] wraps when the kernel lacks a module.
var ErrNoModule = errors.New("the kernel does not have it and cannot load it")

// Supports asks whether the kernel has a scheduler and, unless it is empty, a
// persistence engine. For the answer the kernel loads the modules that are missing; its
// table stays as it is. What is lacking is an error around [ErrNoModule].
//
// A kernel without IPv6 in its IPVS cannot be asked, and is taken to have everything.
func (c *Client) Supports(ctx context.Context, scheduler, engine string) error {
	if err := c.asks(ctx, scheduler, ""); err != nil {
		return missing(err, "scheduler "+scheduler, "ip_vs_"+scheduler)
	}
	if engine == "" {
		return nil
	}
	if err := c.asks(ctx, scheduler, engine); err != nil {
		return missing(err, "persistence engine "+engine, "ip_vs_pe_"+engine)
	}
	return nil
}

func missing(err error, what, module string) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s, module %s: %w", what, module, ErrNoModule)
	}
	return fmt.Errorf("ask the kernel for %s: %w", what, err)
}

// asks sends a service that no kernel takes. There is no listing of schedulers, but
// ip_vs_add_service looks up the scheduler first, then the engine, and then refuses an
// IPv6 service whose client mask has the length 0, before it makes anything.
func (c *Client) asks(ctx context.Context, scheduler, engine string) error {
	question := packQuestion(scheduler, engine)
	err := c.do(ctx, func(k *conn) error { return request(k, cmdNewService, question) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	return err
}

// packQuestion encodes the service that asks sends. It is at the unspecified address,
// where no service can be of use to anybody.
func packQuestion(scheduler, engine string) []byte {
	b := appendUint16(nil, svcAF, unix.AF_INET6)
	b = appendUint16(b, svcProtocol, unix.IPPROTO_TCP)
	b = appendAttr(b, svcAddr, make([]byte, 16))
	b = appendPort(b, svcPort, 1)
	b = appendString(b, svcSched, scheduler)
	b = appendAttr(b, svcFlags, make([]byte, 8))
	b = appendUint32(b, svcTimeout, 0)
	b = appendUint32(b, svcNetmask, 0)
	if engine != "" {
		b = appendString(b, svcPEName, engine)
	}
	return appendAttr(nil, attrService, b)
}
