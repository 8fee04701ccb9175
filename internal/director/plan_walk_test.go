package director

import (
	"fmt"
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
	"github.com/hadirector/hadirector/vrrp"
)

// commands are the operations on the kernel's table that a plan says are done at once.
func (p Plan) commands() []string {
	var list []string
	for _, s := range p.Steps {
		if op, ok := strings.CutPrefix(s.Command, "ipvsadm "); ok && !s.Later {
			list = append(list, op)
		}
	}
	return list
}

// lines is the plan as it is printed.
func (p Plan) lines() []string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, s.String())
	}
	return list
}

func (w *world) plan(d *Director, toml string) Plan {
	w.t.Helper()
	p, err := d.Plan(w.t.Context(), parse(w.t, toml))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// randomTOML is a configuration that has things in common with others of its kind.
func randomTOML(r *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[director.lb-a]\naddress = \"10.0.0.11\"\npriority = %d\n[director.lb-b]\naddress = \"10.0.0.12\"\n", 100+r.IntN(3))
	for i, name := range []string{"web", "shop"} {
		if i > 0 && r.IntN(2) == 0 {
			continue
		}
		fmt.Fprintf(&b, "[vrrp.%s]\ninterface = \"eth%d\"\nvrid = %d\naccept = %t\n", pick(r, name, name, name+"2"), r.IntN(2), 51+i, r.IntN(3) > 0)
		addrs := []string{fmt.Sprintf("10.0.0.%d/%d", 100+10*i, 24+r.IntN(2)), fmt.Sprintf("10.0.0.%d/24", 101+10*i)}
		if r.IntN(2) == 0 {
			addrs = append(addrs, fmt.Sprintf("10.0.0.%d/24", 102+10*i))
		}
		fmt.Fprintf(&b, "virtual_addresses = [\"%s\"]\n", strings.Join(addrs, `", "`))
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "virtual_routes = [\"10.%d.0.0/16 via 10.0.0.%d\"]\n", 7+i, 1+r.IntN(2))
		}
	}
	b.WriteString("[check.alive]\ntype = \"tcp\"\n")
	for i, name := range []string{"web", "shop", "mail", "many"} {
		if r.IntN(4) == 0 {
			continue
		}
		var servers []string
		for n := range 4 {
			if r.IntN(3) > 0 {
				servers = append(servers, fmt.Sprintf("rs-%d = { address = \"10.0.0.%d:%d\", weight = %d }", n, 20+n, 80+i, r.IntN(3)))
			}
		}
		fmt.Fprintf(&b, "[virtual_server.%s]\nscheduler = %q\ndrain_timeout = %q\nquorum = %d\n",
			name, pick(r, "wrr", "wlc", "sh"), pick(r, "0s", "30s", "5m"), 1+r.IntN(max(len(servers), 1)))
		switch name {
		case "mail":
			fmt.Fprintf(&b, "fwmark = %d\n", 10+r.IntN(2))
		case "many":
			fmt.Fprintf(&b, "protocol = \"tcp\"\naddress = [%q, \"10.0.0.100:9000\"]\n", pick(r, "10.0.0.100:8000-8002", "10.0.0.101:8000"))
		default:
			fmt.Fprintf(&b, "protocol = \"tcp\"\naddress = \"10.0.0.100:%d\"\n", 80+i+r.IntN(2)*10)
		}
		if r.IntN(2) == 0 {
			b.WriteString("check = \"alive\"\n")
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "persistence = \"300s\"\n")
		}
		b.WriteString("forward = \"nat\"\n")
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "sorry_server = { address = \"10.0.0.9:%d\" }\n", 80+i)
		}
		fmt.Fprintf(&b, "[virtual_server.%s.real_server]\n%s\n", name, strings.Join(servers, "\n"))
	}
	if r.IntN(3) > 0 {
		fmt.Fprintf(&b, "[sync]\ninterface = \"eth%d\"\n", 1+r.IntN(2))
	}
	return b.String()
}

// disturb does to the director and its kernel what may have happened before a reload.
func (w *world) disturb(r *rand.Rand) {
	table, _, err := w.kernel.Table(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for service, e := range table.All() {
		for key := range e.All() {
			w.kernel.SetConnections(service, key, ipvs.Connections{Active: uint32(r.IntN(2)), Inactive: uint32(r.IntN(2))})
			if r.IntN(4) == 0 {
				w.health.events <- healthcheck.Event{Target: target(key.String()), Status: pick(r, healthcheck.Up, healthcheck.Down)}
			}
		}
	}
	if r.IntN(3) == 0 {
		w.vrrp.reports <- vrrp.Report{Instance: "web", Transition: vrrp.Transition{From: vrrp.Backup, To: pick(r, vrrp.Master, vrrp.Backup)}}
	}
	synctest.Wait()
	time.Sleep(2 * resyncMin) // whoever was on the way out and has no connections is gone
	synctest.Wait()
}

// drift changes the table behind the director's back.
func (w *world) drift(r *rand.Rand) {
	table, _, err := w.kernel.Table(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for service, e := range table.All() {
		if r.IntN(6) == 0 {
			e.Service.Scheduler = "lc"
		}
		for key, d := range e.All() {
			switch r.IntN(8) {
			case 0:
				d.Weight = 77
				e.Destinations[key] = d
			case 1:
				delete(e.Destinations, key)
				w.kernel.SetConnections(service, key, ipvs.Connections{})
			case 2:
				d.Key = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.77"), d.Key.Port())
				e.Destinations[d.Key] = d
			}
		}
		w.kernel.Load(ipvs.Table{service: e})
	}
}

// What a plan says is done to the kernel's table is what the reload then does, to the
// letter and in the same order, and after it there is nothing left to plan. What somebody
// else has just changed is repaired after what the reload is about, so then the order is
// another.
func TestPlanIsWhatAReloadDoes(t *testing.T) {
	const steps = 8
	planned := 0
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 0))
				w := newWorld(t)
				if r.IntN(2) == 0 {
					w.kernel.Load(table(t, foreignTable))
				}
				text := randomTOML(r)
				d, stop := w.run(text)
				defer func() {
					if err := stop(); err != nil {
						t.Error(err)
					}
				}()
				for range steps {
					w.disturb(r)
					next := randomTOML(r)
					drifted := r.IntN(4) == 0
					if drifted {
						w.drift(r)
					}
					if r.IntN(4) == 0 {
						next = text
					}
					w.kernel.Applied()
					before, plan := w.kernel.String(), w.plan(d, next)
					if diff := cmp.Diff(plan, w.plan(d, next)); diff != "" {
						t.Errorf("two plans differ:\n%s", diff)
					}
					if diff := cmp.Diff(before, w.kernel.String()); diff != "" {
						t.Fatalf("the plan changed the kernel:\n%s", diff)
					}
					w.reload(d, next)
					planned += len(plan.commands())
					want, got := plan.commands(), w.kernel.Applied()
					if drifted {
						slices.Sort(want)
						slices.Sort(got)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("from\n%s\nto\n%s\nplanned - done +:\n%s", text, next, diff)
					}
					if again := w.plan(d, next); !again.Empty() {
						t.Fatalf("after the reload to\n%s\nthere is still something to do: %+v", next, again)
					}
					text = next
				}
			})
		})
	}
	if planned < 1000 {
		t.Errorf("only %d operations were planned", planned)
	}
}
