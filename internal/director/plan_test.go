package director

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/vrrp"
)

// edited is pairTOML with pairs of an old and a new text.
func edited(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(pairTOML) }

const mailTOML = `
[vrrp.mail]
interface = "eth0"
vrid = 52
virtual_addresses = ["10.0.0.101/24", "fd00::101/64"]
virtual_routes = ["default via 10.0.0.1", "10.9.0.0/16"]
vmac = "vrrp-mail"
`

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before string // empty: pairTOML
		after  string
		master bool
		want   []string
	}{
		{"nothing", "", edited("10.0.0.9:80\" }", "10.0.0.9:80\" } # a comment"), true, nil},
		{"a weight", "", edited("weight = 2", "weight = 3"), true, []string{
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 3  # web/web-2: weight 2 -> 3",
		}},
		{"what the kernel does not see", "", edited("[check.alive]", "[log]\nlevel = \"debug\"\n[check.alive]"), true, nil},
		{"a scheduler", "", edited("wrr", "wlc"), true, []string{"ipvsadm -E -t 10.0.0.100:80 -s wlc  # web"}},
		{"a busy and an idle real server are removed, a third is new", "", edited("web-1 =", "web-3 = { address = \"10.0.0.23:80\" }\n# web-1 =", "web-2 =", "# web-2 ="), true, []string{
			"# check alive: asks 10.0.0.23:80 too",
			"# check alive: asks 10.0.0.21:80, 10.0.0.22:80 no longer",
			"ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 1  # web/web-3",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0  # web/web-1: weight 1 -> 0, removed when idle, at the latest after 30s",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0  # web/web-2: weight 2 -> 0, removed when idle, at the latest after 30s",
			"ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.21:80  # web/web-1: it has no connections",
			"# later: ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.22:80  # web/web-2: when idle, at the latest after 30s",
		}},
		{"a virtual server is removed", "", pairTOML[:strings.Index(pairTOML, "[virtual_server")] + "[check.alive]\ntype = \"tcp\"\n[sync]\ninterface = \"eth1\"\nsync_id = 7\n", true, []string{
			"# check alive: ends",
			"ipvsadm --stop-daemon master",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0  # web/web-1: weight 1 -> 0, removed when idle, at the latest after 30s",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0  # web/web-2: weight 2 -> 0, removed when idle, at the latest after 30s",
			"ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.21:80  # web/web-1: it has no connections",
			"# later: ipvsadm -D -t 10.0.0.100:80  # web: when idle, at the latest after 30s",
		}},
		{"without a drain", "", edited("web-2 =", "# web-2 =", "[virtual_server.web]", "[virtual_server.web]\ndrain_timeout = \"0s\""), true, []string{
			"# check alive: asks 10.0.0.22:80 no longer",
			"ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.22:80  # web/web-2",
		}},
		{"connection sync", "", edited("eth1", "eth2", "sync_id   = 7", "sync_id = 8"), true, []string{
			"ipvsadm --stop-daemon master",
			"ipvsadm --start-daemon master --mcast-interface eth2 --syncid 8",
		}},
		{"firewall marks", "", edited(`address   = "10.0.0.100:80"`, `mark = ["10.0.0.100:80", "10.0.0.100:443"]`+"\nfwmark = 10"), true, []string{
			"# nft: fwmark 10 for tcp 10.0.0.100:80",
			"# nft: fwmark 10 for tcp 10.0.0.100:443",
			"ipvsadm -A -f 10 -s wrr  # web",
			"ipvsadm -a -f 10 -r 10.0.0.21:0 -g -w 1  # web/web-1",
			"ipvsadm -a -f 10 -r 10.0.0.22:0 -g -w 2  # web/web-2",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0  # web/web-1: weight 1 -> 0, removed when idle, at the latest after 30s",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0  # web/web-2: weight 2 -> 0, removed when idle, at the latest after 30s",
			"ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.21:80  # web/web-1: it has no connections",
			"# later: ipvsadm -D -t 10.0.0.100:80  # web: when idle, at the latest after 30s",
		}},
		{"a Master's addresses and values", "", edited(`["10.0.0.100/24"]`, `["10.0.0.100/25", "10.0.0.102/24"]`+"\nvirtual_routes = [\"default via 10.0.0.1\"]\nvirtual_rules = [\"from 10.0.0.100 table 7\"]\naccept = false", "= 150", "= 120"), true, []string{
			"# vrrp web: priority 150 -> 120",
			"# vrrp web: accept true -> false",
			"# nft: refuse packets to 10.0.0.100, 10.0.0.102",
			"ip addr add 10.0.0.100/25 dev eth0  # vrrp web",
			"ip addr add 10.0.0.102/24 dev eth0  # vrrp web",
			"ip addr del 10.0.0.100/24 dev eth0  # vrrp web",
			"ip route add default via 10.0.0.1 proto 112",
			"ip rule add from 10.0.0.100/32 table 7 protocol 112",
		}},
		{"a Backup's addresses", "", edited(`["10.0.0.100/24"]`, `["10.0.0.100/24", "10.0.0.102/24"]`), false, []string{
			"# later: ip addr add 10.0.0.102/24 dev eth0  # vrrp web: when it becomes Master",
		}},
		{"another Master's route", edited("vrid              = 51", "vrid = 51\nvirtual_routes = [\"10.9.0.0/16 via 10.0.0.1\", \"10.8.0.0/16\"]"), edited("vrid              = 51", "vrid = 51\nvirtual_routes = [\"10.9.0.0/16 via 10.0.0.2\"]"), true, []string{
			"ip route replace 10.9.0.0/16 via 10.0.0.2 proto 112",
			"ip route del 10.8.0.0/16 dev eth0 proto 112",
		}},
		{"kernel parameters", "", edited(`forward   = "dr"`, `forward = "nat"`), true, []string{
			"sysctl -w net.ipv4.ip_forward=1  # nat of virtual server web: the real servers' answers pass through this machine",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.21:80 -m -w 1  # web/web-1",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -m -w 2  # web/web-2",
		}},
		{"kernel parameters that are put back", edited(`forward   = "dr"`, `forward = "nat"`), edited(`forward   = "dr"`, `forward = "dr"`), true, []string{
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1  # web/web-1",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2  # web/web-2",
			"sysctl -w net.ipv4.ip_forward=0  # put back",
		}},
		{"a new virtual router", "", pairTOML + strings.Replace(mailTOML, ", \"fd00::101/64\"", "", 1), true, []string{
			"ipvsadm --start-daemon backup --mcast-interface eth1 --syncid 7",
			"# vrrp mail: starts as Backup, VRID 52 on eth0, priority 150",
			"ip link add vrrp-mail link eth0 address 00:00:5e:00:01:34 type macvlan mode private",
			"# later: ip addr add 10.0.0.101/24 dev vrrp-mail  # vrrp mail: when it becomes Master",
			"# later: ip route add default via 10.0.0.1 proto 112  # vrrp mail: when it becomes Master",
			"# later: ip route add 10.9.0.0/16 dev vrrp-mail proto 112  # vrrp mail: when it becomes Master",
		}},
		{"another VRID", "", edited("= 51", "= 53"), true, []string{
			"ipvsadm --stop-daemon master",
			"ipvsadm --start-daemon backup --mcast-interface eth1 --syncid 7",
			"# vrrp web: stops: says priority 0, and keeps its addresses until another director takes over, or none does in time",
			"ip addr del 10.0.0.100/24 dev eth0  # vrrp web",
			"# vrrp web: starts as Backup, VRID 53 on eth0, priority 150",
			"# later: ip addr add 10.0.0.100/24 dev eth0  # vrrp web: when it becomes Master",
		}},
		{"a renamed virtual router and a changed check", "", edited("vrrp.web", "vrrp.site", `type = "tcp"`, "type = \"tcp\"\ninterval = \"9s\"\n[track.gw]\ntype = \"ping\"\naddress = \"10.0.0.1\""), true, []string{
			"# check alive: changed",
			"# track gw: new",
			"# vrrp site: renamed web -> site",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.before == "" {
					tt.before = pairTOML
				}
				w := newWorld(t)
				d, stop := w.run(tt.before)
				defer stop()
				w.verdict("10.0.0.21:80", healthcheck.Up, nil)
				w.verdict("10.0.0.22:80", healthcheck.Up, nil)
				if tt.master {
					w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
				}
				w.connections("10.0.0.22:80", ipvs.Connections{Active: 3})
				p := w.plan(d, tt.after)
				if diff := cmp.Diff(tt.want, p.lines()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if empty := len(p.Changed) == 0 && len(tt.want) == 0; p.Empty() != empty {
					t.Errorf("Empty is %v with the keys %q", p.Empty(), p.Changed)
				}
			})
		})
	}
}

// Nothing is changed by a plan, and nobody hears of it.
func TestPlanChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.kernel.Load(table(t, foreignTable))
		d, stop := w.run(pairTOML)
		defer stop()
		w.told()
		w.kernel.Applied()
		kernel, status := w.kernel.String(), d.Status()
		owned, log, events := w.ledger.load(), w.logged(""), w.recorded("")
		next := edited("web-2 =", "# web-2 =", "eth1", "eth2", "= 51", "= 52", "[check.alive]", "[track.gw]\ntype = \"ping\"\naddress = \"10.0.0.1\"\n[check.alive]")
		if p := w.plan(d, next); len(p.commands()) == 0 {
			t.Fatal("nothing is planned")
		}
		for _, refused := range []string{edited("[check.alive]", "[admin]\nmetrics = \"127.0.0.1:9650\"\n[check.alive]")} {
			if _, err := d.Plan(t.Context(), parse(t, refused)); err == nil {
				t.Error("a plan of what a reload refuses is no error")
			}
		}
		synctest.Wait()
		now := d.Status()
		now.At, now.IPVS.ReadAt = status.At, status.IPVS.ReadAt
		for what, diff := range map[string]string{
			"kernel": cmp.Diff(kernel, w.kernel.String()), "operations": cmp.Diff([]string(nil), w.kernel.Applied()),
			"ledger": cmp.Diff(owned, w.ledger.load()), "log": cmp.Diff(log, w.logged("")), "journal": cmp.Diff(events, w.recorded("")),
			"virtual routers": cmp.Diff([]string(nil), w.told()), "status": cmp.Diff(asJSON(t, status), asJSON(t, now)),
		} {
			if diff != "" {
				t.Errorf("%s -before +after:\n%s", what, diff)
			}
		}
	})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What a reload refuses a plan refuses with the same words.
func TestPlanRefusesWhatAReloadRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		for _, next := range []string{
			edited("[check.alive]", "[admin]\nmetrics = \"127.0.0.1:9650\"\n[check.alive]"),
			edited("[check.alive]", "[log]\nformat = \"json\"\n[check.alive]"),
			edited("director.lb-a", "director.lb-c"),
		} {
			_, planned := d.Plan(t.Context(), parse(t, next))
			_, reloaded := d.Reload(t.Context(), parse(t, next))
			if planned == nil || reloaded == nil || planned.Error() != reloaded.Error() {
				t.Errorf("plan: %v, reload: %v", planned, reloaded)
			}
		}
	})
}

func TestPlanOfATableThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.kernel.FailNext(ipvstest.ReadTable, syscall.EINTR)
		if _, err := d.Plan(t.Context(), parse(t, pairTOML)); !errors.Is(err, syscall.EINTR) {
			t.Errorf("got %v", err)
		}
	})
}

// A plan repairs what another program has changed, and takes over what it has made.
func TestPlanSeesTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.kernel.Load(table(t, strings.Replace(fullTable, "-w 2", "-w 9", 1)+foreignTable))
		next := pairTOML + "[virtual_server.smtp]\naddress = \"192.0.2.1:25\"\nprotocol = \"tcp\"\nscheduler = \"wrr\"\n[virtual_server.smtp.real_server]\na = { address = \"192.0.2.8:25\" }\n"
		next = strings.Replace(next, `"10.0.0.100/24"`, `"10.0.0.100/24", "192.0.2.1/24"`, 1)
		want := []string{
			"# tcp 192.0.2.1:25 was made by another program and is taken over",
			"ipvsadm -E -t 192.0.2.1:25 -s wrr  # smtp",
			"ipvsadm -a -t 192.0.2.1:25 -r 192.0.2.8:25 -g -w 1  # smtp/a",
			"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2  # web/web-2: weight 9 -> 2",
			"ipvsadm -d -t 192.0.2.1:25 -r 192.0.2.9:25  # smtp",
			"# later: ip addr add 192.0.2.1/24 dev eth0  # vrrp web: when it becomes Master",
		}
		if diff := cmp.Diff(want, w.plan(d, next).lines()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// Without a daemon a plan is what its start does.
func TestPlanStartIsWhatAStartDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const left = "-A -t 10.0.0.100:81 -s rr\n-a -t 10.0.0.100:81 -r 10.0.0.21:81 -g -w 1\n"
		w.kernel.Load(table(t, left+"-A -t 10.0.0.100:80 -s rr\n"+foreignTable))
		w.ledger.saved = owned(ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:81")))
		w.kept.saved = Registers{
			{"web", "web-1"}: {Override: Override{Kind: OverrideDrain}},
			{"web", "gone"}:  {Override: Override{Kind: OverrideDrain}},
			{"web", "web-2"}: {Override: Override{Kind: OverrideDrain, Until: time.Now().Add(-time.Second)}},
		}
		before := w.kernel.String()
		p, err := PlanStart(t.Context(), Options{
			Config: parse(t, pairTOML), Self: "lb-a", Kernel: w.kernel, Params: w.params, Ledger: w.ledger, Overrides: w.kept, Statuses: w.down, Interfaces: w.interfaces,
			InterfaceOf: func(netip.Addr) (string, error) { return "eth9", nil },
		}, []Step{{Comment: "what is left"}})
		if err != nil || p.Running {
			t.Fatalf("%+v, %v", p, err)
		}
		want := []string{
			"# check alive: new, asks 10.0.0.21:80, 10.0.0.22:80",
			"# tcp 10.0.0.100:80 was made by another program and is taken over",
			"ipvsadm -E -t 10.0.0.100:80 -s wrr  # web",
			"ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0  # web/web-1",
			"ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2  # web/web-2",
			"ipvsadm -D -t 10.0.0.100:81",
			"ipvsadm --start-daemon backup --mcast-interface eth1 --syncid 7",
			"# what is left",
			"# vrrp web: starts as Backup, VRID 51 on eth0, priority 150",
			"# later: ip addr add 10.0.0.100/24 dev eth0  # vrrp web: when it becomes Master",
		}
		if diff := cmp.Diff(want, p.lines()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if diff := cmp.Diff(before, w.kernel.String()); diff != "" || len(w.kernel.Applied()) > 0 || len(w.ledger.load().Services) != 1 || len(w.kept.load()) != 3 {
			t.Errorf("the plan changed something:\n%s", diff)
		}
		_, stop := w.run(pairTOML)
		defer stop()
		if diff := cmp.Diff(p.commands(), w.kernel.Applied()); diff != "" {
			t.Errorf("planned - done +:\n%s", diff)
		}
	})
}

func TestPlanStartNeedsADirectorOfTheFile(t *testing.T) {
	_, err := PlanStart(t.Context(), Options{Config: parse(t, pairTOML), Self: "lb-x"}, nil)
	if want := `director "lb-x" is not in test.toml`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What would fail is told beside the rest.
func TestPlanTellsWhatWouldFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		noInterface := errors.New("no interface has 10.0.0.11")
		p, err := PlanStart(t.Context(), Options{
			Config: parse(t, edited("interface = \"eth1\"", "")), Self: "lb-a", Kernel: w.kernel, Params: w.params, Ledger: w.ledger, Overrides: w.kept, Statuses: w.down, Interfaces: w.interfaces,
			InterfaceOf: func(netip.Addr) (string, error) { return "", noInterface },
		}, nil)
		if diff := cmp.Diff([]string{"find the interface for connection sync: no interface has 10.0.0.11"}, p.Refused); err != nil || diff != "" || len(p.commands()) != 3 {
			t.Errorf("%v, %+v -want +got:\n%s", err, p, diff)
		}
	})
}
