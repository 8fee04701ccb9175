package director

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/syncd"
)

// daemonState is what the reconciler knows of the kernel's sync daemons.
type daemonState struct {
	daemonsRead bool           // they could be read, if the kernel was asked
	running     []syncd.Daemon // as last read
	// reachedDaemons is what the kernel was last brought to in full; nil: nothing yet.
	reachedDaemons []syncd.Daemon
	// daemonsWanted and daemonsAddr are what was last tried to reach, and daemonsDone
	// says that it was reached.
	daemonsWanted []syncd.Daemon
	daemonsAddr   netip.Addr
	daemonsDone   bool
}

// daemonsReached tells whether nothing else is wanted of the daemons than what has been
// reached.
func (r *reconciler) daemonsReached() bool {
	return r.daemonsDone && r.daemonsAddr == r.want.SyncAddr && slices.Equal(r.daemonsWanted, r.want.Daemons)
}

// daemons brings the kernel's sync daemons to what is wanted. They are left alone
// as long as the configuration has never asked for any.
func (r *reconciler) daemons(ctx context.Context) {
	r.daemonsWanted, r.daemonsAddr, r.daemonsDone = r.want.Daemons, r.want.SyncAddr, true
	r.daemonsRead, r.running = false, nil
	if len(r.want.Daemons) == 0 && !r.owned.SyncDaemons {
		return
	}
	if err := r.makeDaemons(ctx); err != nil {
		r.daemonsDone = false
		r.next.Errs = append(r.next.Errs, err...)
	}
}

func (r *reconciler) makeDaemons(ctx context.Context) (errs []error) {
	actual, err := r.kernel.Daemons(ctx)
	if err != nil {
		return []error{err}
	}
	r.daemonsRead, r.running = true, actual
	wanted, err := r.resolve()
	if err != nil {
		return []error{err}
	}
	ops := syncd.Diff(wanted, actual)
	if len(ops) == 0 {
		r.reachedDaemons = wanted
		return nil
	}
	drift := r.reachedDaemons != nil && slices.Equal(wanted, r.reachedDaemons)
	for _, op := range ops {
		if err := r.kernel.ApplyDaemon(ctx, op); err != nil {
			errs = append(errs, err)
			continue
		}
		r.next.Done = append(r.next.Done, op.String())
		if drift {
			r.next.Drift = append(r.next.Drift, op.String())
		}
	}
	if len(errs) == 0 {
		r.reachedDaemons = wanted
	}
	if r.running, err = r.kernel.Daemons(ctx); err != nil {
		r.daemonsRead = false
		errs = append(errs, err)
	}
	return errs
}

// resolve names the interface of the daemons that are to use the one that holds the
// director's address.
func (r *reconciler) resolve() ([]syncd.Daemon, error) {
	wanted := append([]syncd.Daemon{}, r.want.Daemons...)
	for i := range wanted {
		if wanted[i].Interface == "" {
			name, err := r.interfaceOf(r.want.SyncAddr)
			if err != nil {
				return nil, fmt.Errorf("find the interface for connection sync: %w", err)
			}
			wanted[i].Interface = name
		}
	}
	return wanted, nil
}
