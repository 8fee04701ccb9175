package ipvsnl

import (
	"errors"
	"fmt"

	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netns"
)

// exchanger sends one request to the kernel and returns the messages of its answer,
// each without its genetlink header. With unix.NLM_F_DUMP the answer is a listing.
type exchanger interface {
	exchange(cmd uint8, flags int, attrs []byte) ([][]byte, error)
}

// serviceHandle is the part of moby/ipvs that the client uses.
type serviceHandle interface {
	NewService(*moby.Service) error
	UpdateService(*moby.Service) error
	DelService(*moby.Service) error
	Flush() error
	GetConfig() (*moby.Config, error)
	SetConfig(*moby.Config) error
	Close()
}

// conn is the client's two sockets. One goroutine uses it; close alone may be
// called from another one, and ends a wait for an answer.
type conn struct {
	exchanger
	services serviceHandle
	closeOwn func()
	call     call // what they are used for
}

func (c *conn) close() {
	c.closeOwn()
	c.services.Close()
}

// namespace is where sockets are opened anew: zero for the process's own.
type namespace struct {
	handle netns.NsHandle
	other  bool // not the process's own
}

// currentNamespace returns the calling thread's. It is held open only if it is not
// the process's, so that the ordinary case needs no right to change namespaces.
func currentNamespace() (namespace, error) {
	here, err := netns.Get()
	if err != nil {
		return namespace{}, fmt.Errorf("open this thread's network namespace: %w", err)
	}
	process, err := netns.GetFromPath("/proc/self/ns/net")
	if err != nil {
		return namespace{}, errors.Join(fmt.Errorf("open the process's network namespace: %w", err), here.Close())
	}
	defer process.Close()
	if here.Equal(process) {
		return namespace{}, here.Close()
	}
	return namespace{handle: here, other: true}, nil
}

func (n namespace) close() error {
	if !n.other {
		return nil
	}
	return n.handle.Close()
}

// dial opens the sockets in the namespace, from whatever thread. The family is the
// genetlink family's number.
func (n namespace) dial(family uint16) (*conn, error) {
	at, path := netns.None(), ""
	if n.other {
		at, path = n.handle, fmt.Sprintf("/proc/self/fd/%d", int(n.handle))
	}
	own, err := openSocket(at, family)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	services, err := moby.New(path)
	if err != nil {
		own.close()
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	return &conn{exchanger: own, services: services, closeOwn: own.close}, nil
}
