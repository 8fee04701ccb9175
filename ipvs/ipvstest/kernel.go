// Package ipvstest is an IPVS in memory for tests: it takes the operations of
// packages ipvs and syncd, answers with the kernel's errors, and prints itself as
// `ipvsadm -Sn` would.
package ipvstest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// Kernel is the IPVS of one network namespace. Its methods may be called from any
// goroutine. The zero value is not usable; see [New].
type Kernel struct {
	mu       sync.Mutex
	table    ipvs.Table
	observed ipvs.Observed
	daemons  map[syncd.Role]syncd.Daemon
	applied  []string
	failures []failure
}

type failure struct {
	command string
	err     error
}

// New returns a kernel with an empty table and no daemons.
func New() *Kernel {
	return &Kernel{table: ipvs.Table{}, observed: ipvs.Observed{}, daemons: map[syncd.Role]syncd.Daemon{}}
}

// Load puts services into the kernel behind the back of the code under test, as
// somebody with ipvsadm would. Services with the same keys are replaced.
func (k *Kernel) Load(t ipvs.Table) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, e := range t.Clone() {
		if e.Destinations == nil {
			e.Destinations = map[ipvs.DestinationKey]ipvs.Destination{}
		}
		k.table[key] = e
	}
}

// Remove takes a service out behind the back of the code under test.
func (k *Kernel) Remove(key ipvs.ServiceKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.table, key)
	delete(k.observed, key)
}

// SetConnections sets the counts that the kernel reports for a destination.
func (k *Kernel) SetConnections(s ipvs.ServiceKey, d ipvs.DestinationKey, c ipvs.Connections) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.observed[s] == nil {
		k.observed[s] = map[ipvs.DestinationKey]ipvs.Connections{}
	}
	k.observed[s][d] = c
}

// Commands for [Kernel.FailNext] beside those of ipvsadm.
const (
	ReadTable   = "-S"       // [Kernel.Table]
	ReadDaemons = "--daemon" // [Kernel.Daemons]
)

// FailNext makes the next call of a kind fail with err, usually an errno, without
// an effect. The kind is the first argument of the operation's text: "-A", "-E",
// "-D", "-a", "-e", "-d", "--start-daemon", "--stop-daemon", [ReadTable] or
// [ReadDaemons]. Several failures queue up.
func (k *Kernel) FailNext(command string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failures = append(k.failures, failure{command, err})
}

// Applied returns the operations that succeeded since the last call, as their
// texts, in order.
func (k *Kernel) Applied() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	ops := k.applied
	k.applied = nil
	return ops
}

// String returns the table as `ipvsadm -Sn` writes it.
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table.String()
}

// Table returns a copy of the table, in canonical form as a kernel reports it, and
// the connection counts of every destination.
func (k *Kernel) Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fail(ctx, ReadTable); err != nil {
		return nil, nil, fmt.Errorf("read the IPVS table: %w", err)
	}
	table, observed := ipvs.Table{}, ipvs.Observed{}
	for key, e := range k.table {
		dests := make(map[ipvs.DestinationKey]ipvs.Destination, len(e.Destinations))
		counts := make(map[ipvs.DestinationKey]ipvs.Connections, len(e.Destinations))
		for dk, d := range e.Destinations {
			dests[dk] = d.Canonical()
			counts[dk] = k.observed[key][dk]
		}
		table[key] = ipvs.Entry{Service: e.Service.Canonical(), Destinations: dests}
		observed[key] = counts
	}
	return table, observed, nil
}

// Refresh reads what [Kernel.Table] reads, whatever it was before.
func (k *Kernel) Refresh(ctx context.Context, _ ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	return k.Table(ctx)
}

// Apply carries out one operation. Its errors are the kernel's: EEXIST for what is
// there already, ESRCH for a missing service, ENOENT for a missing destination and
// for an unknown scheduler or persistence engine, ERANGE and EINVAL for values out
// of bounds.
func (k *Kernel) Apply(ctx context.Context, op ipvs.Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record(ctx, op.String(), func() error { return k.apply(op) })
}

// ApplyAll carries out operations one after the other, whatever becomes of those before,
// and returns what each has failed with.
func (k *Kernel) ApplyAll(ctx context.Context, ops []ipvs.Op) []error {
	return ApplyEach(ctx, ops, k.Apply)
}

// ApplyEach is ApplyAll for a kernel that does something else for an operation.
func ApplyEach(ctx context.Context, ops []ipvs.Op, apply func(context.Context, ipvs.Op) error) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		errs[i] = apply(ctx, op)
	}
	return errs
}

// Daemons returns the running daemons, the master first, with every value that a
// kernel fills in.
func (k *Kernel) Daemons(ctx context.Context) ([]syncd.Daemon, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fail(ctx, ReadDaemons); err != nil {
		return nil, fmt.Errorf("read the IPVS sync daemons: %w", err)
	}
	var ds []syncd.Daemon
	for _, r := range []syncd.Role{syncd.RoleMaster, syncd.RoleBackup} {
		if d, ok := k.daemons[r]; ok {
			ds = append(ds, d)
		}
	}
	return ds, nil
}

// ApplyDaemon starts or stops a daemon. EEXIST: one of that role is running
// already. ESRCH: none is. EINVAL: a destination of another family than its service
// is in the table.
func (k *Kernel) ApplyDaemon(ctx context.Context, op syncd.Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record(ctx, op.String(), func() error { return k.applyDaemon(op) })
}

func (k *Kernel) record(ctx context.Context, line string, f func() error) error {
	err := k.fail(ctx, line)
	if err == nil {
		err = f()
	}
	if err != nil {
		return fmt.Errorf("ipvsadm %s: %w", line, err)
	}
	k.applied = append(k.applied, line)
	return nil
}

// fail takes the next queued failure of the line's command.
func (k *Kernel) fail(ctx context.Context, line string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i := slices.IndexFunc(k.failures, func(f failure) bool {
		return line == f.command || len(line) > len(f.command) && line[:len(f.command)+1] == f.command+" "
	})
	if i < 0 {
		return nil
	}
	err := k.failures[i].err
	k.failures = slices.Delete(k.failures, i, i+1)
	return err
}

func (k *Kernel) applyDaemon(op syncd.Op) error {
	switch op := op.(type) {
	case syncd.Start:
		if _, running := k.daemons[op.Daemon.Role]; running {
			return unix.EEXIST
		}
		if k.mixedFamilies() {
			return unix.EINVAL
		}
		const mtu = 1500
		k.daemons[op.Daemon.Role] = op.Daemon.Running(mtu)
	case syncd.Stop:
		if _, running := k.daemons[op.Role]; !running {
			return unix.ESRCH
		}
		delete(k.daemons, op.Role)
	}
	return nil
}

// mixedFamilies reports whether a service has a destination of the other family.
func (k *Kernel) mixedFamilies() bool {
	for key, e := range k.table {
		for dk := range e.Destinations {
			if dk.Addr().Is6() != key.Is6() {
				return true
			}
		}
	}
	return false
}
