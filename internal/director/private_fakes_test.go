package director

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

// fakePrivateLink is a machine's private interface. Each one that is made has another index.
type fakePrivateLink struct {
	mu     sync.Mutex // guards what follows
	index  int        // 0: there is none
	made   int
	broken []string // what somebody has changed
	err    error
}

func (l *fakePrivateLink) Ensure() (PrivateState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return PrivateState{}, l.err
	}
	s := PrivateState{Mended: l.broken}
	if l.broken = nil; l.index == 0 {
		l.made++
		l.index, s.Made, s.Mended = 10+l.made, true, nil
	}
	s.Index = l.index
	return s, nil
}

func (l *fakePrivateLink) Delete() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.index = 0
	}
	return l.err
}

func (l *fakePrivateLink) set(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

func (l *fakePrivateLink) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index
}

// bound is a kernel whose daemons keep to the private interface that they were started on.
type bound struct {
	*ipvstest.Kernel
	link *fakePrivateLink

	mu    sync.Mutex         // guards what follows
	to    map[syncd.Role]int // 0: another interface
	fails map[string]bool    // the next operation of this kind
}

// fail makes the next operation of a kind fail, "-A" or "--start-daemon"; "": none any more.
func (k *bound) fail(kind string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kind == "" {
		clear(k.fails)
		return
	}
	k.fails[kind] = true
}

// failed tells whether an operation is to fail.
func (k *bound) failed(op fmt.Stringer) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	kind, _, _ := strings.Cut(op.String(), " ")
	is := k.fails[kind]
	delete(k.fails, kind)
	return is
}

func (k *bound) ApplyAll(ctx context.Context, ops []ipvs.Op) []error {
	return ipvstest.ApplyEach(ctx, ops, func(ctx context.Context, op ipvs.Op) error {
		if k.failed(op) {
			return fmt.Errorf("ipvsadm %s: %w", op, syscall.ENOMEM)
		}
		return k.Apply(ctx, op)
	})
}

func (k *bound) ApplyDaemon(ctx context.Context, op syncd.Op) error {
	if k.failed(op) {
		return fmt.Errorf("ipvsadm %s: %w", op, syscall.ENOMEM)
	}
	start, starts := op.(syncd.Start)
	private := starts && start.Daemon.Interface == syncd.PrivateInterface
	if private && k.link.now() == 0 {
		return fmt.Errorf("ipvsadm %s: %w", op, syscall.ENODEV)
	}
	if err := k.Kernel.ApplyDaemon(ctx, op); err != nil || !starts {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.to[start.Daemon.Role] = 0; private {
		k.to[start.Daemon.Role] = k.link.now()
	}
	return nil
}

// daemonsNow is what runs, as "master hasync0 7 #11": the role, the interface, the sync id and
// what it is bound to.
func (k *bound) daemonsNow(t *testing.T) string {
	t.Helper()
	ds, err := k.Daemons(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []string
	for _, d := range ds {
		list = append(list, fmt.Sprintf("%s %s %d #%d", d.Role, d.Interface, d.SyncID, k.to[d.Role]))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// relayTOML is pairTOML with the relay.
var relayTOML = edited("[sync]", "[sync]\nkey_file = \"/etc/hadirector/cluster.key\"", "interface = \"eth1\"\n", "")

const (
	tickTable = "-A -t 169.254.88.50:8848 -s rr\n-a -t 169.254.88.50:8848 -r 169.254.88.49:8848 -g -w 1\n"
	bothOn    = "backup hasync0 7 #%d, master hasync0 7 #%[1]d"
)

// runRelay starts a director whose daemons keep to their interface.
func (w *world) runRelay(toml string) (d *Director, k *bound, stop func() error) {
	k = &bound{Kernel: w.kernel, link: w.private, to: make(map[syncd.Role]int), fails: make(map[string]bool)}
	w.overKernel = k
	d, stop = w.run(toml)
	return d, k, stop
}

func (k *bound) want(t *testing.T, when, want string) {
	t.Helper()
	synctest.Wait()
	if got := k.daemonsNow(t); got != want {
		t.Errorf("%s: daemons %q, want %q", when, got, want)
	}
}

// told is what the other parts have been told last.
func (d *Director) told() Pass { return d.board.current.Load().pass }
