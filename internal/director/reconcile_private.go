package director

import (
	"slices"
	"strings"

	"github.com/hadirector/hadirector/syncd"
)

// privateState is what the reconciler knows of the relay's side of the kernel.
type privateState struct {
	private PrivateState // as it was last seen
	// privateGone says that it has been deleted, and is not wanted again.
	privateGone bool
	// deaf says that the daemons may run on an interface that is gone.
	deaf bool
	// privateErrs are what the last attempt has met, and tickErr is why the kernel has
	// refused the service of the tick.
	privateErrs []error
	tickErr     error
}

// ensurePrivate makes the private interface, or mends it.
func (r *reconciler) ensurePrivate() error {
	was := r.private.Index
	s, err := r.privateLink.Ensure()
	r.privateGone = false
	if s.Index != 0 {
		r.private.Index = s.Index
	}
	if s.Made || was != 0 && was != r.private.Index {
		r.deaf = true
	}
	var done []string
	switch {
	case s.Made:
		done = makePrivate
	case len(s.Mended) > 0:
		done = []string{syncd.PrivateInterface + ": " + strings.Join(s.Mended, ", ")}
	}
	r.next.Done = append(r.next.Done, done...)
	if was != 0 && len(done) > 0 {
		r.next.Drift = append(r.next.Drift, done[0])
	}
	r.next.Private.Made = r.next.Private.Made || s.Made
	r.next.Private.Mended = append(r.next.Private.Mended, s.Mended...)
	return err
}

// deletePrivate deletes the private interface, if it may be ours. The daemons have been
// stopped.
func (r *reconciler) deletePrivate() error {
	if !r.owned.Private || r.privateGone {
		return nil
	}
	if err := r.privateLink.Delete(); err != nil {
		return err
	}
	r.next.Done = append(r.next.Done, dropPrivate...)
	r.private, r.deaf, r.privateGone = PrivateState{}, false, true
	return nil
}

// tellSync completes a pass.
func (r *reconciler) tellSync(p *Pass) {
	p.Private.Index = r.private.Index
	e, there := r.known[tickKey]
	p.Ticks = there && !r.doubt[tickKey] && e.Equal(r.want.Table[tickKey])
	p.SyncErrs = slices.Clip(r.privateErrs)
	if r.tickErr != nil {
		p.SyncErrs = append(p.SyncErrs, r.tickErr)
	}
}
