package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

// paths are the ways to real servers that lead through virtual addresses: what the director
// has made ready of them, and the local ports that their probes use.
type paths struct {
	open  atomic.Pointer[map[uint32]bool]     // never written to again; nil: none
	vips  atomic.Pointer[map[netip.Addr]bool] // as open
	mu    sync.Mutex                          // guards ports
	ports map[netip.AddrPort]*localPorts      // of those that are asked at one virtual address
}

// portsTo are the local ports of probes to a virtual address and its port. IPVS knows a
// connection again by both ends, so probes to another one do not use these up.
func (p *paths) portsTo(asked netip.AddrPort) *localPorts {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.ports[asked]
	if l == nil {
		if p.ports == nil {
			p.ports = make(map[netip.AddrPort]*localPorts)
		}
		l = new(localPorts)
		p.ports[asked] = l
	}
	return l
}

// Open says for which firewall marks the kernel forwards probes now. With another one
// nothing is sent: it would reach any real server, or the Master. Nobody writes to the map
// again. Any goroutine may call it.
func (p *Prober) Open(marks map[uint32]bool) { p.paths.open.Store(&marks) }

// Avoid names the virtual addresses that come and go on this machine. A probe through one of
// them is not sent from another either: a real server that has that one too would answer
// itself, and whoever is Master would get the answers. Nobody writes to the map again. Any
// goroutine may call it.
func (p *Prober) Avoid(vips map[netip.Addr]bool) { p.paths.vips.Store(&vips) }

// virtual tells whether an address of this machine is a virtual one.
func (p *paths) virtual(a netip.Addr) bool {
	vips := p.vips.Load()
	return vips != nil && (*vips)[a.WithZone("")]
}

func (p *paths) ready(mark uint32) bool {
	open := p.open.Load()
	return open != nil && (*open)[mark]
}

// The causes of a path that the director itself does not have.
var (
	errNotReady = &cause{text: "not asked: the path through the VIP is not ready on this director", errs: []error{healthcheck.ErrNotAsked}}
	errNoMark   = &cause{text: "not asked: no permission to mark packets on this director", errs: []error{healthcheck.ErrNotAsked}}
	errNoRoute  = &cause{text: "not asked: this director has no route to the VIP", errs: []error{healthcheck.ErrNotAsked}}
	errOnlyVIP  = &cause{text: "not asked: this director has no address but VIPs on the way to the real server", errs: []error{healthcheck.ErrNotAsked}}
)

// way is how the connections of a target's probes are opened.
type way struct {
	addr   netip.AddrPort // that is asked
	server netip.Addr     // the real server's own address
	path   healthcheck.Path
	paths  *paths
}

func (p *Prober) wayTo(t healthcheck.Target) way {
	return way{addr: t.Asked(), server: t.Addr.Addr(), path: t.Path, paths: &p.paths}
}

// prepare makes a dialer one for this way, as far as it is one through a virtual address:
// with its mark, and from the address that the real server itself is reached from, which must
// not be a virtual one. A director that has the virtual address would send from that one
// otherwise, and the real server, which has it too, would answer itself.
func (w way) prepare(d *net.Dialer) error {
	if w.path.Direct() {
		return nil
	}
	if !w.paths.ready(w.path.Mark) {
		return errNotReady
	}
	from, err := sourceTo(w.server)
	switch {
	case err != nil:
		return err
	case from == w.path.VIP || w.paths.virtual(from):
		return errOnlyVIP
	}
	before := d.Control
	d.Control = func(network, address string, raw syscall.RawConn) error {
		if before != nil {
			if err := before(network, address, raw); err != nil {
				return err
			}
		}
		err := control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(w.path.Mark)) })
		if errors.Is(err, unix.EPERM) {
			return errNoMark
		}
		return err
	}
	d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	return nil
}

// stream opens a TCP connection.
func (w way) stream(ctx context.Context, d net.Dialer) (net.Conn, error) {
	if err := w.prepare(&d); err != nil || w.path.Direct() {
		if err != nil {
			return nil, err
		}
		return d.DialContext(ctx, "tcp", w.addr.String())
	}
	// IPVS keeps a connection for up to a minute, and knows it again by its ports, whatever
	// its mark. So a port must not be another target's that soon.
	local := d.LocalAddr.(*net.TCPAddr)
	ports := w.paths.portsTo(w.addr)
	for tries := 1; ; tries++ {
		port, err := ports.next(time.Now())
		if err != nil {
			return nil, err
		}
		local.Port = port
		conn, err := d.DialContext(ctx, "tcp", w.addr.String())
		taken := errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL)
		if port != 0 && begun(err) {
			ports.unanswered(port, time.Now())
		}
		if !taken || tries == maxPortTries {
			return conn, w.dialed(err)
		}
	}
}

// begun tells whether a connect that has failed had sent anything.
func begun(err error) bool {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		switch errno {
		case unix.ECONNREFUSED, unix.ECONNRESET, unix.EHOSTUNREACH, unix.ETIMEDOUT:
			return true
		}
		return false // the kernel has not let it
	}
	return err != nil && !errors.Is(err, healthcheck.ErrNotAsked)
}

// maxPortTries is how many local ports may be in use in a row.
const maxPortTries = 100

// datagrams opens a connected UDP socket. IPVS keeps nothing of its datagrams.
func (w way) datagrams(ctx context.Context, d net.Dialer) (net.Conn, error) {
	if err := w.prepare(&d); err != nil {
		return nil, err
	}
	if local, ok := d.LocalAddr.(*net.TCPAddr); ok {
		d.LocalAddr = &net.UDPAddr{IP: local.IP}
	}
	conn, err := d.DialContext(ctx, "udp", w.addr.String())
	return conn, w.dialed(err)
}

// dialed is the error of a dial, which may be about the virtual address: the kernel wants a
// route to it, although IPVS does not take that one.
func (w way) dialed(err error) error {
	if !w.path.Direct() && errors.Is(err, unix.ENETUNREACH) {
		return errNoRoute
	}
	return err
}

// sourceTo asks the kernel which address this machine would send from to another one.
func sourceTo(server netip.Addr) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(server, 9)))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close() // nothing was sent
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("local address %v is no address of UDP", conn.LocalAddr())
	}
	return local.AddrPort().Addr().Unmap(), nil
}

// control does something with a socket before it is connected.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if ctlErr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); ctlErr != nil {
		return ctlErr
	}
	return os.NewSyscallError("setsockopt", err)
}
