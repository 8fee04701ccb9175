//go:build ipvs

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// sctpSocket returns a socket for one association, or for accepting some, bound to an
// address. The package net takes it for one of TCP, which differs in nothing that matters here.
func sctpSocket(at netip.AddrPort) (*os.File, error) {
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, fmt.Errorf("a socket for SCTP: %w", err)
	}
	f := os.NewFile(uintptr(fd), "sctp")
	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		f.Close()
		return nil, fmt.Errorf("bind SCTP to %s: %w", at, err)
	}
	return f, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// sctpListen takes associations on a machine.
func (b *bed) sctpListen(machine string, at netip.AddrPort) net.Listener {
	b.t.Helper()
	var l net.Listener
	err := b.Do(machine, func() error {
		f, err := sctpSocket(at)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Listen(int(f.Fd()), 16); err != nil {
			return fmt.Errorf("listen on SCTP %s: %w", at, err)
		}
		l, err = net.FileListener(f)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.Close() })
	return l
}

// sctpDial opens an association from an address of the calling thread's machine.
func sctpDial(from, to netip.AddrPort) (net.Conn, error) {
	f, err := sctpSocket(from)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd := int(f.Fd())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return nil, fmt.Errorf("connect to SCTP %s: %w", to, err)
	}
	return net.FileConn(f)
}
