package director

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// walk plays at random with everything that decides what is in the table: reloads, live
// changes, checks, connections, restarts, time. It keeps its own account of what has to
// be there, by the rules that operators are told, and compares after each step.
type walk struct {
	*world
	rand *rand.Rand
	d    *Director
	stop func() error

	keep      bool // on_stop
	cfg       walkConfig
	down      map[string]bool // by address
	overrides map[string]Override
	leaving   map[string]time.Time // until when, by walkServer.String
	conns     map[string]bool      // that there are some, likewise
	table     map[string]uint32    // the weights that are there, likewise
	steps     []string
	reloaded  []string // what the last reload did to the kernel
}

// walkConfig is a configuration: each virtual server's weights by real server.
type walkConfig map[string]walkService

type walkService struct {
	quorum  int
	timeout time.Duration
	weights map[string]uint32
}

// The names there are. A real server has the same host in both virtual servers.
var (
	walkPorts = map[string]int{"web": 80, "shop": 81}
	walkHosts = map[string]string{"rs-1": "10.0.0.21", "rs-2": "10.0.0.22", "rs-3": "10.0.0.23", "sorry_server": "10.0.0.9"}
	walkNames = []string{"rs-1", "rs-2", "rs-3"}
)

func walkAddr(vs, rs string) string { return fmt.Sprintf("%s:%d", walkHosts[rs], walkPorts[vs]) }

func (c walkConfig) toml() string {
	var b strings.Builder
	head, _, _ := strings.Cut(pairTOML, "[virtual_server.web]")
	b.WriteString(head + "[check.alive]\ntype = \"tcp\"\n")
	for _, vs := range slices.Sorted(maps.Keys(c)) {
		s := c[vs]
		fmt.Fprintf(&b, "[virtual_server.%s]\naddress = \"10.0.0.100:%d\"\nprotocol = \"tcp\"\nscheduler = \"wrr\"\ncheck = \"alive\"\nquorum = %d\ndrain_timeout = \"%v\"\n", vs, walkPorts[vs], s.quorum, s.timeout)
		if vs == "web" {
			fmt.Fprintf(&b, "sorry_server = { address = %q }\n", walkAddr(vs, "sorry_server"))
		}
		fmt.Fprintf(&b, "[virtual_server.%s.real_server]\n", vs)
		for _, rs := range slices.Sorted(maps.Keys(s.weights)) {
			fmt.Fprintf(&b, "%s = { address = %q, weight = %d }\n", rs, walkAddr(vs, rs), s.weights[rs])
		}
	}
	return b.String()
}

// toml is a configuration as the director reads it.
func (k *walk) toml(c walkConfig) string {
	if k.keep {
		return c.toml() + "[ipvs]\non_stop = \"keep\"\n"
	}
	return c.toml()
}

func (k *walk) randomConfig() walkConfig {
	c := make(walkConfig)
	for _, vs := range []string{"web", "shop"} {
		if k.rand.IntN(5) == 0 {
			continue
		}
		s := walkService{quorum: 1, timeout: time.Duration(k.rand.IntN(3)) * 7 * time.Second, weights: make(map[string]uint32)}
		for _, rs := range walkNames {
			if k.rand.IntN(3) > 0 {
				s.weights[rs] = uint32(k.rand.IntN(4))
			}
		}
		s.quorum += k.rand.IntN(max(len(s.weights), 1))
		c[vs] = s
	}
	return c
}

func (k *walk) note(format string, args ...any) {
	k.steps = append(k.steps, fmt.Sprintf(format, args...))
}

// want is the table by the account, with the weights by real server.
func (k *walk) want() map[string]uint32 {
	table := make(map[string]uint32)
	for vs, s := range k.cfg {
		serving := 0
		for rs, weight := range s.weights {
			id := vs + "/" + rs
			switch o := k.overrides[id]; {
			case k.down[walkAddr(vs, rs)] || o.Kind == OverrideDisable:
				continue
			case o.Kind == OverrideDrain:
				weight = 0
			case o.Kind == OverrideWeight:
				weight = o.Weight
			}
			table[id] = weight
			if weight > 0 {
				serving++
			}
		}
		if vs == "web" && serving < s.quorum {
			for rs := range s.weights {
				if _, in := table[vs+"/"+rs]; in {
					table[vs+"/"+rs] = 0
				}
			}
			table[vs+"/sorry_server"] = 1
		}
	}
	for id := range k.leaving {
		table[id] = 0
	}
	return table
}

// services are those that have to be there.
func (k *walk) services() map[string]bool {
	list := make(map[string]bool)
	for vs := range k.cfg {
		list[vs] = true
	}
	for id := range k.leaving {
		vs, _, _ := strings.Cut(id, "/")
		list[vs] = true
	}
	return list
}

// text is a table as ipvsadm shows it.
func (k *walk) text(weights map[string]uint32) string {
	t := make(ipvs.Table)
	for vs := range k.services() {
		key := ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort(fmt.Sprintf("10.0.0.100:%d", walkPorts[vs])))
		e := ipvs.Entry{Service: ipvs.Service{Key: key, Scheduler: "wrr"}, Destinations: make(map[ipvs.DestinationKey]ipvs.Destination)}
		for id, weight := range weights {
			if of, rs, _ := strings.Cut(id, "/"); of == vs {
				addr := netip.MustParseAddrPort(walkAddr(vs, rs))
				e.Destinations[addr] = ipvs.Destination{Key: addr, Forward: ipvs.ForwardDirect, Weight: weight}
			}
		}
		t[key] = e
	}
	return t.String()
}

// settle lets a second pass, in which the director sees what there is, and compares.
func (k *walk) settle() bool {
	k.t.Helper()
	time.Sleep(resyncMin)
	synctest.Wait()
	now := time.Now()
	maps.DeleteFunc(k.overrides, func(_ string, o Override) bool { return o.over(now) })
	maps.DeleteFunc(k.leaving, func(id string, until time.Time) bool { return !k.conns[id] || !now.Before(until) })
	want := k.want()
	// Nobody whose connections may go on has been out of the table meanwhile, but the
	// sorry server, which may have gone and come back.
	for _, op := range append(k.reloaded, k.kernel.Applied()...) {
		for id := range want {
			vs, rs, _ := strings.Cut(id, "/")
			if _, was := k.table[id]; was && rs != "sorry_server" && op == fmt.Sprintf("-d -t 10.0.0.100:%d -r %s", walkPorts[vs], walkAddr(vs, rs)) {
				k.t.Errorf("%s was deleted though it stays", id)
			}
		}
	}
	k.reloaded = nil
	if whole := Compile(k.d.force.cfg, k.d.o.Self, k.d.facts); !whole.Table.Equal(k.d.desired.Table) {
		k.t.Errorf("what is desired became step by step\n%s\nand is as a whole\n%s", k.d.desired.Table, whole.Table)
	}
	if n := k.d.facts.waiting(k.d.force.targets); n != k.d.waiting {
		k.t.Errorf("%d checks without a verdict are counted as %d", n, k.d.waiting)
	}
	if shown := k.d.board.current.Load().facts(); !maps.Equal(shown.Health, k.d.facts.Health) || !maps.Equal(shown.Assumed, k.d.facts.Assumed) {
		k.t.Errorf("readers are shown\n%v, assumed %v, where there is\n%v, assumed %v", shown.Health, shown.Assumed, k.d.facts.Health, k.d.facts.Assumed)
	}
	if shown := k.d.board.current.Load().pass.Table().String(); shown != k.kernel.String() {
		k.t.Errorf("readers are shown the table\n%s\nand the kernel has\n%s", shown, k.kernel)
	}
	maps.DeleteFunc(k.conns, func(id string, _ bool) bool { _, in := want[id]; return !in })
	k.table = want
	if diff := cmp.Diff(k.text(want), k.kernel.String()); diff != "" {
		k.t.Errorf("table -want +got:\n%s", diff)
	}
	kept := make(map[string]Override)
	for id, o := range k.kept.load() {
		kept[id.String()] = Override{Kind: o.Kind, Weight: o.Weight, Until: o.Until}
	}
	if diff := cmp.Diff(k.overrides, kept); diff != "" {
		k.t.Errorf("kept overrides -want +got:\n%s", diff)
	}
	for _, v := range k.d.Status().VirtualServers {
		for _, r := range v.RealServers {
			id := v.Name + "/" + r.Name
			if weight, in := want[id]; r.Override != nil && r.Override.SafeToStop && in && (weight > 0 || k.conns[id]) {
				k.t.Errorf("%s is called safe to stop with weight %d, connections %v", id, weight, k.conns[id])
			}
		}
	}
	synctest.Wait()
	if again := k.kernel.Applied(); len(again) > 0 {
		k.t.Errorf("changes after everything was settled: %q", again)
	}
	if k.t.Failed() {
		k.t.Logf("after\n%s", strings.Join(k.steps, "\n"))
	}
	return !k.t.Failed()
}

// step does one thing.
func (k *walk) step() {
	switch k.rand.IntN(12) {
	case 0, 1:
		k.reload(k.randomConfig())
	case 2, 3, 4, 5:
		k.override()
	case 6, 7:
		k.verdict()
	case 8, 9:
		k.connect()
	case 10:
		pause := time.Duration(k.rand.IntN(9)) * time.Second
		k.note("%v pass", pause)
		time.Sleep(pause)
	case 11:
		if k.rand.IntN(3) == 0 {
			k.restart()
		}
	}
}

func (k *walk) reload(next walkConfig) {
	k.note("reload\n%s", k.toml(next))
	plan := k.world.plan(k.d, k.toml(next))
	k.world.reload(k.d, k.toml(next))
	k.reloaded = k.kernel.Applied()
	if diff := cmp.Diff(plan.commands(), k.reloaded); diff != "" {
		k.t.Errorf("planned - done +:\n%s", diff)
	}
	now := time.Now()
	for vs, s := range k.cfg {
		timeout := s.timeout
		if n, stays := next[vs]; stays {
			timeout = n.timeout
		}
		for _, rs := range append([]string{"sorry_server"}, walkNames...) {
			id := vs + "/" + rs
			if _, in := k.table[id]; in && !next.has(vs, rs) && timeout > 0 && k.leaving[id].IsZero() {
				k.leaving[id] = now.Add(timeout)
			}
			if _, was := s.weights[rs]; was && !next.has(vs, rs) {
				delete(k.overrides, id)
			}
		}
	}
	maps.DeleteFunc(k.leaving, func(id string, _ time.Time) bool {
		vs, rs, _ := strings.Cut(id, "/")
		return next.has(vs, rs)
	})
	k.cfg = next
}

func (c walkConfig) has(vs, rs string) bool {
	s, ok := c[vs]
	if rs == "sorry_server" {
		return ok && vs == "web"
	}
	_, in := s.weights[rs]
	return in
}

func (k *walk) override() {
	vs, rs := pick(k.rand, "web", "shop"), pick(k.rand, walkNames...)
	req := OverrideRequest{
		Target: vs + "/" + rs, Kind: pick(k.rand, OverrideDrain, OverrideDisable, OverrideWeight, OverrideNone), By: "root",
	}
	if req.Kind != OverrideNone && k.rand.IntN(2) == 0 {
		req.For = time.Duration(2+k.rand.IntN(12)) * time.Second
	}
	if req.Kind == OverrideWeight {
		req.Weight = uint32(k.rand.IntN(3))
	}
	k.note("%s weight %d of %s for %v", req.Kind, req.Weight, req.Target, req.For)
	now := time.Now().Round(0)
	_, err := k.d.Override(k.t.Context(), req)
	if _, there := k.cfg[vs].weights[rs]; there != (err == nil) {
		k.t.Errorf("%v, though the real server's presence is %v", err, there)
	}
	switch {
	case err != nil:
	case req.Kind == OverrideNone:
		delete(k.overrides, req.Target)
	default:
		o := Override{Kind: req.Kind, Weight: req.Weight}
		if req.For > 0 {
			o.Until = now.Add(req.For)
		}
		k.overrides[req.Target] = o
	}
}

func (k *walk) verdict() {
	vs, rs := pick(k.rand, "web", "shop"), pick(k.rand, walkNames...)
	if !k.cfg.has(vs, rs) {
		return
	}
	addr, status := walkAddr(vs, rs), healthcheck.Up
	if k.down[addr] = !k.down[addr]; k.down[addr] {
		status = healthcheck.Down
	}
	k.note("%s is %v", addr, status)
	k.world.verdict(addr, status, errors.New("no answer"))
}

// connect gives a real server connections, or takes them away.
func (k *walk) connect() {
	if len(k.table) == 0 {
		return
	}
	id := pick(k.rand, slices.Sorted(maps.Keys(k.table))...)
	vs, rs, _ := strings.Cut(id, "/")
	var c ipvs.Connections
	if k.conns[id] = k.rand.IntN(3) > 0; k.conns[id] {
		c.Active = 1
	}
	k.note("%s has %d connections", id, c.Active)
	key := ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort(fmt.Sprintf("10.0.0.100:%d", walkPorts[vs])))
	k.kernel.SetConnections(key, netip.MustParseAddrPort(walkAddr(vs, rs)), c)
}

func (k *walk) restart() {
	k.note("restart")
	if err := k.stop(); err != nil {
		k.t.Error(err)
	}
	if k.keep {
		if diff := cmp.Diff(k.text(k.table), k.kernel.String()); diff != "" {
			k.t.Errorf("table after the stop -want +got:\n%s", diff)
		}
		k.d, k.stop = k.run(k.toml(k.cfg))
		clear(k.down)
		return
	}
	if text := k.kernel.String(); text != "" {
		k.t.Errorf("table after the stop:\n%s", text)
	}
	k.d, k.stop = k.run(k.toml(k.cfg))
	clear(k.leaving)
	clear(k.conns)
	clear(k.down)
	clear(k.table)
	k.kernel.Applied()
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func TestLiveWalk(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &walk{
					world: newWorld(t), keep: seed%2 == 1, rand: rand.New(rand.NewPCG(seed, 0)), down: make(map[string]bool),
					overrides: make(map[string]Override), leaving: make(map[string]time.Time), conns: make(map[string]bool),
				}
				k.cfg = k.randomConfig()
				k.note("start\n%s", k.toml(k.cfg))
				k.d, k.stop = k.run(k.toml(k.cfg))
				defer func() {
					if err := k.stop(); err != nil {
						t.Error(err)
					}
				}()
				for k.settle() && len(k.steps) < 60 {
					k.step()
				}
			})
		})
	}
}
