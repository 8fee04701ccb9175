package ipvsnl

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

// fakeKernel answers requests from a kernel in memory. It is both the exchanger and
// moby/ipvs.
type fakeKernel struct {
	*ipvstest.Kernel
	intercept func(cmd uint8) ([][]byte, error) // before everything else, if set
	newest    uint16                            // the newest attribute of a destination that it knows; 0: all
}

func newFake() *fakeKernel { return &fakeKernel{Kernel: ipvstest.New()} }

// client returns a client of the fake; every pair of sockets is the same.
func (f *fakeKernel) client(t *testing.T) *Client {
	dial := func() (*conn, error) { return &conn{exchanger: f, services: f, closeOwn: func() {}}, nil }
	c, _ := dial()
	cl := newClient(time.Second, c, dial, func() error { return nil })
	t.Cleanup(func() { cl.Close() })
	return cl
}

func (f *fakeKernel) exchange(cmd uint8, flags int, b []byte) ([][]byte, error) {
	if f.intercept != nil {
		if msgs, err := f.intercept(cmd); msgs != nil || err != nil {
			return msgs, err
		}
	}
	ctx := context.Background()
	want := unix.NLM_F_ACK
	var msgs [][]byte
	var err error
	switch cmd {
	case cmdGetService, cmdGetDest, cmdGetDaemon:
		want = unix.NLM_F_DUMP
		msgs, err = f.list(cmd, b)
	case cmdNewService:
		s, uerr := unpackService(b)
		if uerr != nil {
			return nil, uerr
		}
		s.Flags, s.PersistenceBits = ipvs.FlagPersistent, ipvs.OddPersistenceMask // what the kernel refuses
		err = errno(f.Apply(ctx, ipvs.AddService{Service: s.Service}))
	case cmdNewDest, cmdSetDest, cmdDelDest:
		s, uerr := unpackService(b)
		if uerr != nil {
			return nil, uerr
		}
		d, uerr := unpackDestination(b, s.Key)
		if uerr != nil {
			return nil, uerr
		}
		if !f.knows(destTunFlags) {
			d.TunnelFlags = 0
		}
		if !f.knows(destTunType) {
			d.Tunnel, d.TunnelPort = ipvs.TunnelIPIP, 0
		}
		err = errno(f.Apply(ctx, map[uint8]ipvs.Op{
			cmdNewDest: ipvs.AddDestination{Service: s.Key, Destination: d.Destination},
			cmdSetDest: ipvs.EditDestination{Service: s.Key, Destination: d.Destination},
			cmdDelDest: ipvs.DeleteDestination{Service: s.Key, Key: d.Key},
		}[cmd]))
	case cmdNewDaemon, cmdDelDaemon:
		d, uerr := unpackDaemon(b)
		if uerr != nil {
			return nil, uerr
		}
		err = errno(f.ApplyDaemon(ctx, map[uint8]syncd.Op{
			cmdNewDaemon: syncd.Start{Daemon: d},
			cmdDelDaemon: syncd.Stop{Role: d.Role},
		}[cmd]))
	case cmdGetInfo:
		want = 0
		msgs = [][]byte{appendUint32(appendUint32(nil, infoVersion, 0x010201), infoConnSize, 4096)}
	case cmdZero:
	default:
		return nil, unix.EOPNOTSUPP
	}
	if flags != want {
		return nil, fmt.Errorf("command %d has flags %#x, want %#x", cmd, flags, want)
	}
	return msgs, err
}

func (f *fakeKernel) list(cmd uint8, b []byte) (msgs [][]byte, err error) {
	ctx := context.Background()
	table, observed, err := f.Table(ctx)
	if err != nil {
		return nil, errno(err)
	}
	switch cmd {
	case cmdGetService:
		for _, e := range table.All() {
			m, err := mobyService(e.Service)
			if err != nil {
				return nil, err
			}
			msgs = append(msgs, kernelService(m))
		}
	case cmdGetDest:
		s, err := unpackService(b)
		if err != nil {
			return nil, err
		}
		for dk, d := range table[s.Key].All() {
			as, err := parseAttrs(packDestination(d))
			if err != nil {
				return nil, err
			}
			nest := f.known(as[attrDest])
			c := observed[s.Key][dk]
			nest = appendUint32(nest, destActive, c.Active)
			nest = appendUint32(nest, destInactive, c.Inactive)
			nest = appendUint32(nest, destPersist, c.Persistent)
			msgs = append(msgs, appendAttr(nil, attrDest, nest))
		}
	case cmdGetDaemon:
		ds, err := f.Daemons(ctx)
		if err != nil {
			return nil, errno(err)
		}
		for _, d := range ds {
			msgs = append(msgs, packDaemon(d))
		}
	}
	return msgs, nil
}

func (f *fakeKernel) knows(attr uint16) bool { return f.newest == 0 || attr <= f.newest }

// known leaves of a destination's attributes those that the kernel knows.
func (f *fakeKernel) known(b []byte) []byte {
	as, err := parseAttrs(b)
	if err != nil {
		panic(err)
	}
	var out []byte
	for attr := range uint16(destTunFlags + 1) {
		if value, ok := as[attr]; ok && f.knows(attr) {
			out = appendAttr(out, attr, value)
		}
	}
	return out
}

// errno is what the kernel would send of an error of the one in memory.
func errno(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

func (f *fakeKernel) service(m *moby.Service) ipvs.Service {
	s, err := unpackService(kernelService(m))
	if err != nil {
		panic(err)
	}
	return s.Service
}

func (f *fakeKernel) NewService(m *moby.Service) error {
	return errno(f.Apply(context.Background(), ipvs.AddService{Service: f.service(m)}))
}

func (f *fakeKernel) UpdateService(m *moby.Service) error {
	return errno(f.Apply(context.Background(), ipvs.EditService{Service: f.service(m)}))
}

func (f *fakeKernel) DelService(m *moby.Service) error {
	return errno(f.Apply(context.Background(), ipvs.DeleteService{Key: f.service(m).Key}))
}

func (f *fakeKernel) Flush() error { return unix.EOPNOTSUPP }

func (f *fakeKernel) GetConfig() (*moby.Config, error) {
	return &moby.Config{TimeoutTCP: 900 * time.Second, TimeoutTCPFin: 120 * time.Second, TimeoutUDP: 300 * time.Second}, nil
}

func (f *fakeKernel) SetConfig(*moby.Config) error { return unix.EPERM }

func (f *fakeKernel) Close() {}
