package router

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// errNoSocket is what a Master sends with when its socket could not be opened
// again.
var errNoSocket = errors.New("no socket")

// maxPending bounds the transitions that wait for a reader.
const maxPending = 1024

func (r *router) send(a vrrp.Advert) {
	err := errNoSocket
	if r.socket.conn != nil {
		err = r.socket.conn.Send(a)
	}
	r.note("send", err)
	if err != nil {
		r.counters.SendErrors++
		return
	}
	r.counters.AdvertsSent++
}

// acquire puts addresses on the interface. What fails is tried again every
// retryInterval, and announced when it has succeeded: the virtual router stays
// Master, because its advertisements have already made the others give way.
func (r *router) acquire(now time.Time, addrs []netip.Prefix) {
	r.unreleased = without(r.unreleased, addrs)
	r.unacquired = without(r.unacquired, addrs)
	err := r.holders.acquire(r, r.id.Interface, addrs)
	if err != nil {
		r.unacquired = append(r.unacquired, addrs...)
	}
	r.wrote(now, "acquire", err)
}

// release takes addresses away. What fails is tried again every retryInterval: an
// address on a Backup takes traffic from the Master. That holds without an interface
// of that name too, which may have another name now.
func (r *router) release(now time.Time, addrs []netip.Prefix) {
	r.unacquired = without(r.unacquired, addrs)
	r.unreleased = without(r.unreleased, addrs)
	err := r.holders.release(r, r.id.Interface, addrs)
	if err != nil {
		r.unreleased = append(r.unreleased, addrs...)
	}
	r.wrote(now, "release", err)
}

func (r *router) wrote(now time.Time, op string, err error) {
	r.note(op, err)
	if err != nil {
		r.counters.AddressErrors++
		r.addrError = err.Error()
	}
	if len(r.unacquired)+len(r.unreleased) == 0 {
		r.addrError = ""
		return
	}
	r.retryBy(now)
}

func (r *router) announce(addrs []netip.Prefix) {
	err := r.opts.Announcer.Announce(r.id.Interface, addrs)
	r.note("announce", err)
	if err != nil {
		r.counters.AnnounceErrors++
		return
	}
	r.counters.Announcements++
}

// transitioned reports a change of state. Saying it is the reader's work, who knows the
// directors' names.
func (r *router) transitioned(now time.Time, t vrrp.Transition) {
	r.state = t.To
	r.counters.Transitions++
	if len(r.pending) == maxPending {
		r.pending = slices.Delete(r.pending, 0, 1)
	}
	r.pending = append(r.pending, vrrp.Report{Instance: r.in.Name, At: now, Transition: t})
}

// retryBy makes sure that retry runs within retryInterval.
func (r *router) retryBy(now time.Time) {
	if r.retryAt.IsZero() {
		r.retryAt = now.Add(retryInterval)
	}
}

// retry tries again what failed: the sockets, the addresses, and addresses of a
// Master that somebody else has removed.
func (r *router) retry(now time.Time) {
	r.retryAt = time.Time{}
	if len(r.unreleased) > 0 {
		r.release(now, r.unreleased)
	}
	lost := without(r.missing(), r.unacquired)
	if len(lost) > 0 {
		r.log.Warn("virtual addresses were removed from the interface, adding them again", "addresses", lost)
	}
	if again := append(lost, r.unacquired...); len(again) > 0 {
		r.acquire(now, again)
		r.announce(again)
	}
	if r.linked && r.socket.conn == nil {
		r.reconcile(now)
	}
}

// missing returns the virtual addresses of a Master that its interface has lost.
func (r *router) missing() []netip.Prefix {
	if r.state != vrrp.Master {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.params.Addresses), func(v netip.Prefix) bool {
		return slices.ContainsFunc(r.link.Addrs, func(a netip.Prefix) bool { return a.Addr() == v.Addr() })
	})
}

// without returns the elements of a that are not in b, in their order.
func without(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}
