package ipvsnl

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

var (
	// ErrNoIPVS is returned by [Open] on a kernel without IPVS.
	ErrNoIPVS = errors.New("this kernel has no IPVS: the netlink family IPVS is absent and the module ip_vs cannot be loaded")
	// ErrTimeout is returned when the kernel did not answer in time. Whether a
	// change was made is then unknown: read the table and compare.
	ErrTimeout = errors.New("no answer from the kernel in time, whether the change was made is unknown")
	// ErrClosed is returned by every call after [Client.Close].
	ErrClosed = errors.New("the IPVS client is closed")
)

// Error is a request that failed. [errors.Is] finds the kernel's errno in it, for
// example unix.EEXIST.
type Error struct {
	Op   string // the arguments of ipvsadm that do the same, or what was to be read
	Err  error
	Hint string // what the errno means for this request; may be empty
}

// Error returns "ipvsadm -D -t 10.0.0.100:80: no such process (the kernel has no
// such service)".
func (e *Error) Error() string {
	s := e.Op + ": " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// opError wraps what an operation failed with; nil stays nil.
func opError(op fmt.Stringer, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: "ipvsadm " + op.String(), Err: err, Hint: hint(op, err)}
}

// readError wraps what a listing failed with; nil stays nil.
func readError(what string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: what, Err: err, Hint: hint(nil, err)}
}

// hint says what an errno means. The kernel uses a few errnos for everything, and
// their common texts mislead: a scheduler that does not exist is "no such file or
// directory".
func hint(op fmt.Stringer, err error) string {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return ""
	}
	switch {
	case errno == unix.EPERM:
		return "CAP_NET_ADMIN is needed"
	case errno == unix.ENOBUFS || errno == unix.ENOMEM:
		return "the kernel is short of memory"
	}
	switch op := op.(type) {
	case ipvs.AddService:
		switch errno {
		case unix.EEXIST:
			return "the service exists already"
		case unix.ENOENT:
			return missingModule(op.Service)
		}
	case ipvs.EditService:
		switch errno {
		case unix.ESRCH:
			return "the kernel has no such service"
		case unix.ENOENT:
			return missingModule(op.Service)
		}
	case ipvs.DeleteService, zeroService:
		if errno == unix.ESRCH {
			return "the kernel has no such service"
		}
	case ipvs.AddDestination:
		return destinationHint(op.Service, op.Destination, errno)
	case ipvs.EditDestination:
		return destinationHint(op.Service, op.Destination, errno)
	case ipvs.DeleteDestination:
		return destinationHint(op.Service, ipvs.Destination{Key: op.Key}, errno)
	case syncd.Start:
		switch errno {
		case unix.EEXIST:
			return fmt.Sprintf("a %s daemon is running already", op.Daemon.Role)
		case unix.ENODEV:
			return "there is no interface " + op.Daemon.Interface
		case unix.EINVAL:
			return "the interface does not fit, or a service has a destination of the other address family, which the sync protocol cannot carry"
		}
	case syncd.Stop:
		if errno == unix.ESRCH {
			return fmt.Sprintf("no %s daemon is running", op.Role)
		}
	}
	return ""
}

func missingModule(s ipvs.Service) string {
	h := fmt.Sprintf("the kernel has no scheduler %s: module ip_vs_%s", s.Scheduler, s.Scheduler)
	if s.Engine != "" {
		h += fmt.Sprintf("; or no persistence engine %s: module ip_vs_pe_%s", s.Engine, s.Engine)
	}
	return h
}

func destinationHint(key ipvs.ServiceKey, d ipvs.Destination, errno unix.Errno) string {
	switch errno {
	case unix.ESRCH:
		return "the kernel has no such service"
	case unix.ENOENT:
		return "the service has no such destination"
	case unix.EEXIST:
		return "the destination exists already"
	case unix.ERANGE:
		return "the weight is too great, or the lower threshold is above the upper one"
	case unix.EINVAL:
		if d.Key.Addr().Is6() != key.Is6() {
			return "only a tunnel leads to the other address family, and only while no sync daemon runs"
		}
		if d.Tunnel == ipvs.TunnelGUE && d.TunnelPort == 0 {
			return "a gue tunnel needs a port"
		}
		// ip_vs_new_dest takes addresses of machines alone.
		return fmt.Sprintf("%s is no machine's address here: it is a network's broadcast address, or not unicast", d.Key.Addr())
	}
	return ""
}
