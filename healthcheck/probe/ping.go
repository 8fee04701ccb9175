package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

const awaitingEcho step = "waiting for the echo reply"

// pingCheck sends one ICMP or ICMPv6 echo request (RFC 792, RFC 4443 section 4.1) and
// waits for its reply.
//
// Each probe has a raw socket of its own, connected to the host, that lets only echo
// replies in: the kernel then hands it no other host's. Among the replies it knows its
// own by identifier, sequence number and a payload that nobody can guess.
type pingCheck struct {
	host    netip.Addr
	ifname  string
	timeout time.Duration // for the cause's text
}

// payloadLength is that of an echo request's data.
const payloadLength = 16

func newPing(sp healthcheck.Spec) (*pingCheck, error) {
	p := sp.Ping
	if !p.Address.IsValid() || p.Address.IsUnspecified() || p.Address.IsMulticast() {
		return nil, fmt.Errorf("address %v cannot be asked for an echo", p.Address)
	}
	host := p.Address.Unmap()
	ifname := cmp.Or(p.Interface, host.Zone())
	if host.Is6() && host.IsLinkLocalUnicast() && ifname == "" {
		return nil, fmt.Errorf("link-local address %v needs an interface", host)
	}
	// The socket is bound to the interface, so the zone says nothing more. Package net
	// would look it up in a list that it reads once a minute: too late for an interface
	// that has been made anew.
	return &pingCheck{host: host.WithZone(""), ifname: ifname, timeout: sp.Timeout}, nil
}

// Check succeeds when the reply to its request comes.
func (c *pingCheck) Check(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return c.explain(ctx, connecting, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()

	echo := newEcho()
	request, err := c.request(echo)
	if err != nil {
		return fmt.Errorf("encode echo request: %w", err)
	}
	if _, err := conn.Write(request); err != nil {
		return c.explain(ctx, sending, err)
	}
	buf := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFrom(buf) // without the IP header
		if err != nil {
			return c.explain(ctx, awaitingEcho, err)
		}
		if c.answers(buf[:n], echo) {
			return nil
		}
	}
}

// newEcho is a request that no other is like.
func newEcho() icmp.Echo {
	var b [4 + payloadLength]byte
	_, _ = rand.Read(b[:]) // never fails
	return icmp.Echo{ID: int(b[0])<<8 | int(b[1]), Seq: int(b[2])<<8 | int(b[3]), Data: b[4:]}
}

// request is the message that goes out. The kernel fills in the checksum of ICMPv6,
// which covers addresses.
func (c *pingCheck) request(echo icmp.Echo) ([]byte, error) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &echo}
	if c.host.Is6() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

// answers tells whether a message is the reply to a request.
func (c *pingCheck) answers(message []byte, echo icmp.Echo) bool {
	protocol, reply := unix.IPPROTO_ICMP, icmp.Type(ipv4.ICMPTypeEchoReply)
	if c.host.Is6() {
		protocol, reply = unix.IPPROTO_ICMPV6, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(protocol, message)
	if err != nil || m.Type != reply {
		return false
	}
	got, ok := m.Body.(*icmp.Echo)
	return ok && got.ID == echo.ID && got.Seq == echo.Seq && bytes.Equal(got.Data, echo.Data)
}

// dial opens the raw socket. It needs CAP_NET_RAW.
func (c *pingCheck) dial(ctx context.Context) (*net.IPConn, error) {
	network := "ip4:icmp"
	if c.host.Is6() {
		network = "ip6:ipv6-icmp"
	}
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if ctlErr := raw.Control(func(fd uintptr) { err = c.prepare(int(fd)) }); ctlErr != nil {
			return ctlErr
		}
		return err
	}}
	conn, err := dialer.DialContext(ctx, network, c.host.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.IPConn), nil
}

// prepare sets a socket's options before it is connected.
func (c *pingCheck) prepare(fd int) error {
	if c.ifname != "" {
		if err := unix.BindToDevice(fd, c.ifname); err != nil {
			return fmt.Errorf("bind to interface: %w", err)
		}
	}
	// Errors that routers send, and those of a neighbour that does not answer, end the
	// wait with a cause.
	if c.host.Is6() {
		filter := &unix.ICMPv6Filter{}
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0) // a bit that is set blocks
		}
		t := int(ipv6.ICMPTypeEchoReply)
		filter.Data[t>>5] &^= 1 << (t & 31)
		return errors.Join(
			unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, filter),
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1))
	}
	const icmpFilter = 1 // ICMP_FILTER in linux/icmp.h
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1<<ipv4.ICMPTypeEchoReply)), // as above
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1))
}

// explain turns the error that ended a step into its cause.
func (c *pingCheck) explain(ctx context.Context, st step, err error) error {
	because := func(errs []error, format string, args ...any) error {
		return &cause{text: fmt.Sprintf(format, args...), errs: append(errs, err)}
	}
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, syscall.EPERM) && st == connecting:
		return because([]error{healthcheck.ErrNotAsked}, "not asked: no permission for raw sockets on this director")
	case errors.Is(err, syscall.ENODEV):
		return because(nil, "interface %s does not exist", c.ifname)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return because(nil, "no source address towards %v", c.host)
	}
	return explain(ctx, st, c.timeout, err)
}
