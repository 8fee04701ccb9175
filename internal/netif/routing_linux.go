package netif

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

var _ router.Routing = (*Routing)(nil)

// restoredPause is the least time between two lines about things that are put back
// again and again.
const restoredPause = time.Minute

// Routing writes a Master's routes and policy rules. It may be used by any goroutine.
//
// All that it writes has the protocol 112 ("proto 112" in what ip prints), and it
// changes and deletes nothing else. A route of somebody else's that does the same is
// good enough and stays when ours is released; another one to the same destination in
// the same table with the same metric is an error that names it.
type Routing struct {
	logger *slog.Logger

	// mu guards what follows, which several virtual routers write, and keeps two of
	// them from planning at the same time.
	mu sync.Mutex
	// routes and rules are those that were acquired.
	routes map[routeKey]vrrp.Route
	rules  map[vrrp.Rule]bool
	said   time.Time // when the last line about something put back was written
}

// NewRouting returns a writer of routes and rules.
func NewRouting(logger *slog.Logger) *Routing {
	return &Routing{logger: logger, routes: map[routeKey]vrrp.Route{}, rules: map[vrrp.Rule]bool{}}
}

// AcquireRouting adds what is missing of the routes and then of the rules, and changes
// routes of ours that are different. Each is tried, whatever happened to those before
// it, and the failures are joined. With nothing to do it costs one small listing per
// table and family, so it may be called every few seconds: what another program has
// removed is put back and said.
func (w *Routing) AcquireRouting(ifname string, routes []vrrp.Route, rules []vrrp.Rule) error {
	if len(routes)+len(rules) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.acquireRoutes(ifname, routes), w.acquireRules(rules)); err != nil {
		return fmt.Errorf("acquire routes and rules of %s: %w", ifname, err)
	}
	return nil
}

// ReleaseRouting deletes the rules and then the routes. What is gone already, alone or
// with its interface, is no error, and neither is what has been acquired anew since, in
// another form. Each is tried, whatever happened to those before it, and the failures
// are joined.
func (w *Routing) ReleaseRouting(ifname string, routes []vrrp.Route, rules []vrrp.Rule) error {
	if len(routes)+len(rules) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.releaseRules(rules), w.releaseRoutes(routes)); err != nil {
		return fmt.Errorf("release routes and rules of %s: %w", ifname, err)
	}
	return nil
}

func (w *Routing) acquireRoutes(ifname string, routes []vrrp.Route) error {
	if len(routes) == 0 {
		return nil
	}
	c, err := dialRoutes()
	if err != nil {
		return err
	}
	defer c.close()
	var want []kernelRoute
	words := map[routeKey]vrrp.Route{}
	var errs []error
	for _, r := range routes {
		k, err := kernelRouteOf(r, ifname, c.indexOf)
		if err != nil {
			errs = append(errs, fmt.Errorf("ip route add %v: %w", r, err))
			continue
		}
		want = append(want, k)
		words[k.routeKey] = r
	}
	have, err := c.list(keysOf(want), ownProtocol)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, s := range planAcquireRoutes(have, want) {
		r := words[s.route.routeKey]
		held, again := w.routes[s.route.routeKey]
		done, err := c.write(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("ip route %s %v: %w", s.verb, r, err))
			continue
		}
		if done && again && held.Equal(r) {
			w.restored("route", r.String())
		}
	}
	for _, r := range routes {
		w.routes[keyOf(r)] = r
	}
	return errors.Join(errs...)
}

func (w *Routing) releaseRoutes(routes []vrrp.Route) error {
	var gone []routeKey
	for _, r := range routes {
		k := keyOf(r)
		if held, ok := w.routes[k]; ok && !held.Equal(r) {
			continue // acquired anew, in another form
		}
		gone = append(gone, k)
	}
	if len(gone) == 0 {
		return nil
	}
	c, err := dialRoutes()
	if err != nil {
		return err
	}
	defer c.close()
	have, err := c.list(gone, ownProtocol)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range planReleaseRoutes(have, gone) {
		if _, err := c.write(s); err != nil {
			errs = append(errs, fmt.Errorf("ip route %s %v: %w", s.verb, s.route.route(c.nameOf), err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, k := range gone {
		delete(w.routes, k)
	}
	return nil
}

func (w *Routing) acquireRules(rules []vrrp.Rule) error {
	if len(rules) == 0 {
		return nil
	}
	have, err := listRules(rules)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range planAcquireRules(have, rules) {
		// That it has been made meanwhile is no error.
		if err := ignore(writer.RuleAdd(newRule(r)), unix.EEXIST); err != nil {
			errs = append(errs, fmt.Errorf("ip rule add %v: %w", r, err))
			continue
		}
		if w.rules[r] {
			w.restored("rule", r.String())
		}
	}
	for _, r := range rules {
		w.rules[r] = true
	}
	return errors.Join(errs...)
}

func (w *Routing) releaseRules(rules []vrrp.Rule) error {
	if len(rules) == 0 {
		return nil
	}
	have, err := listRules(rules)
	if err != nil {
		return err
	}
	var keep []vrrp.Rule
	for r := range w.rules {
		if !slices.Contains(rules, r) {
			keep = append(keep, r)
		}
	}
	var errs []error
	for _, r := range planReleaseRules(have, rules, keep) {
		if err := ignore(writer.RuleDel(newRule(r)), unix.ENOENT); err != nil {
			errs = append(errs, fmt.Errorf("ip rule del %v: %w", r, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, r := range rules {
		delete(w.rules, r)
	}
	return nil
}

// restored says that something had been removed. One that fights for ever is said
// once a minute.
func (w *Routing) restored(what, text string) {
	if now := time.Now(); now.Sub(w.said) >= restoredPause {
		w.said = now
		w.logger.Warn("route or rule was removed by another program, put back", what, text)
	}
}

func keysOf(routes []kernelRoute) []routeKey {
	var keys []routeKey
	for _, r := range routes {
		keys = append(keys, r.routeKey)
	}
	return keys
}

// routeConn is a socket for listings, and the machine's links as far as they were
// asked for.
type routeConn struct {
	h *netlink.Handle
}

func dialRoutes() (*routeConn, error) {
	h, err := openHandle()
	if err != nil {
		return nil, err
	}
	// The kernel then lists only what was asked for. An old one lists everything, and
	// the library picks.
	_ = h.SetStrictCheck(true)
	return &routeConn{h}, nil
}

func (c *routeConn) close() { c.h.Close() }

func (c *routeConn) indexOf(ifname string) (int, error) {
	l, err := c.h.LinkByName(ifname)
	if err != nil {
		return 0, fmt.Errorf("find link %s: %w", ifname, err)
	}
	return l.Attrs().Index, nil
}

func (c *routeConn) nameOf(index int) string {
	l, err := c.h.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("if%d", index)
	}
	return l.Attrs().Name
}

// list reads the routes that have one of the keys, those of one protocol or, with 0,
// of all.
func (c *routeConn) list(keys []routeKey, protocol int) ([]kernelRoute, error) {
	type tableOf struct {
		family int
		table  uint32
	}
	var asked []tableOf
	var found []kernelRoute
	for _, k := range keys {
		t := tableOf{netlink.FAMILY_V4, k.table}
		if k.to.Addr().Is6() {
			t.family = netlink.FAMILY_V6
		}
		if slices.Contains(asked, t) {
			continue
		}
		asked = append(asked, t)
		filter, mask := &netlink.Route{Table: int(t.table)}, uint64(netlink.RT_FILTER_TABLE)
		if protocol != 0 {
			filter.Protocol = netlink.RouteProtocol(protocol)
			mask |= netlink.RT_FILTER_PROTOCOL
		}
		routes, err := dump(func() ([]netlink.Route, error) { return c.h.RouteListFiltered(t.family, filter, mask) })
		if errors.Is(err, unix.ENOENT) {
			continue // there is no such table yet
		}
		if err != nil {
			return nil, fmt.Errorf("list routes of table %d: %w", t.table, err)
		}
		for _, r := range routes {
			if k, ok := readRoute(r); ok && slices.Contains(keys, k.routeKey) {
				found = append(found, k)
			}
		}
	}
	return found, nil
}

// write makes one change, and tells whether it had to: a route of somebody else's that
// does the same is as good.
func (c *routeConn) write(s routeStep) (done bool, err error) {
	if s.verb == deleteRoute {
		return true, ignore(ignore(writer.RouteDel(newRoute(s.route)), unix.ESRCH), unix.ENODEV)
	}
	if s.verb == replaceRoute {
		replaced, err := c.replace(s.route)
		if replaced || err != nil {
			return true, err
		}
	}
	err = writer.RouteAdd(newRoute(s.route))
	if !errors.Is(err, unix.EEXIST) {
		return true, err
	}
	others, lerr := c.list([]routeKey{s.route.routeKey}, 0)
	if lerr != nil {
		return false, errors.Join(err, lerr)
	}
	for _, o := range others {
		if o.is(s.route) {
			return false, nil
		}
	}
	if len(others) > 0 {
		return false, fmt.Errorf("another route is there, %v, give this one a metric of its own: %w", others[0].route(c.nameOf), err)
	}
	return false, err
}

// replace puts a route in the place of ours in one step, so that the destination is
// reachable all the time. The kernel would replace another's route with the same key,
// if there is one: then ours is only deleted.
func (c *routeConn) replace(k kernelRoute) (done bool, err error) {
	all, err := c.list([]routeKey{k.routeKey}, 0)
	if err != nil {
		return false, err
	}
	ours, err := c.list([]routeKey{k.routeKey}, ownProtocol)
	if err != nil {
		return false, err
	}
	if len(all) == 1 && len(ours) == 1 {
		return true, writer.RouteReplace(newRoute(k))
	}
	var errs []error
	for _, o := range ours {
		errs = append(errs, ignore(writer.RouteDel(newRoute(o)), unix.ESRCH))
	}
	return false, errors.Join(errs...)
}
