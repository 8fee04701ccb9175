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
	// daemonsWanted, daemonsAddr and privateWanted are what was last tried to reach, and
	// daemonsDone says that it was reached.
	daemonsWanted []syncd.Daemon
	daemonsAddr   netip.Addr
	privateWanted bool
	daemonsDone   bool
	privateState
}

// daemonsReached tells whether nothing else is wanted of the daemons than what has been
// reached.
func (r *reconciler) daemonsReached() bool {
	return r.daemonsDone && r.daemonsAddr == r.want.SyncAddr && r.privateWanted == r.want.Private && slices.Equal(r.daemonsWanted, r.want.Daemons)
}

// daemons brings the kernel's sync daemons, and their private interface, to what is wanted.
// They are left alone as long as the configuration has never asked for any.
func (r *reconciler) daemons(ctx context.Context) {
	r.daemonsWanted, r.daemonsAddr, r.privateWanted, r.daemonsDone = r.want.Daemons, r.want.SyncAddr, r.want.Private, true
	r.daemonsRead, r.running, r.privateErrs = false, nil, nil
	if len(r.want.Daemons) == 0 && !r.owned.SyncDaemons && !r.owned.Private {
		return
	}
	var private error
	if r.want.Private {
		private = r.ensurePrivate()
	}
	errs := r.makeDaemons(ctx, private != nil)
	switch {
	case r.want.Private:
		// A director without sync still balances, as well as it did.
		r.privateErrs = append(r.privateErrs, errs...)
	default:
		r.next.Errs = append(r.next.Errs, errs...)
		private = r.deletePrivate()
	}
	if private != nil {
		r.privateErrs = append(r.privateErrs, private)
	}
	r.daemonsDone = len(errs) == 0 && private == nil
}

// makeDaemons starts and stops daemons. Those that are wanted on a private interface that
// could not be made go on as long as they do, and are not started: what is wrong with it may
// be little.
func (r *reconciler) makeDaemons(ctx context.Context, homeless bool) (errs []error) {
	actual, err := r.kernel.Daemons(ctx)
	if err != nil {
		return []error{err}
	}
	r.daemonsRead, r.running = true, actual
	wanted, err := r.resolve()
	if err != nil {
		return []error{err}
	}
	if homeless {
		wanted = slices.DeleteFunc(wanted, func(d syncd.Daemon) bool { return r.deaf || !slices.ContainsFunc(actual, d.Matches) })
	}
	ops := r.daemonOps(wanted, actual)
	if len(ops) == 0 {
		r.reachedDaemons, r.deaf = wanted, false
		return nil
	}
	drift := r.reachedDaemons != nil && slices.Equal(wanted, r.reachedDaemons)
	for _, op := range ops {
		if err := r.kernel.ApplyDaemon(ctx, op); err != nil {
			errs = append(errs, err)
			continue
		}
		r.next.Done = append(r.next.Done, op.String())
		if _, starts := op.(syncd.Start); starts {
			r.next.DaemonStarts++
		}
		if drift {
			r.next.Drift = append(r.next.Drift, op.String())
		}
	}
	if len(errs) == 0 {
		r.reachedDaemons, r.deaf = wanted, false
	}
	if r.running, err = r.kernel.Daemons(ctx); err != nil {
		r.daemonsRead = false
		errs = append(errs, err)
	}
	return errs
}

// daemonOps are the operations for the daemons. A daemon keeps to the interface that it was
// started on: when that is another one now, it has to be started again, although the kernel
// shows it by the same name.
func (r *reconciler) daemonOps(wanted, actual []syncd.Daemon) []syncd.Op {
	if !r.deaf {
		return syncd.Diff(wanted, actual)
	}
	var ops []syncd.Op
	var rest []syncd.Daemon
	for _, d := range actual {
		if d.Interface == syncd.PrivateInterface {
			ops = append(ops, syncd.Stop{Role: d.Role})
		} else {
			rest = append(rest, d)
		}
	}
	return append(ops, syncd.Diff(wanted, rest)...)
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
