package director

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/vrrp"
)

// pairTOML is the configuration that this package's tests run with: two directors,
// two real servers, a sorry server, connection sync.
const pairTOML = `
[director.lb-a]
address  = "10.0.0.11"
priority = 150

[director.lb-b]
address  = "10.0.0.12"
priority = 100

[vrrp.web]
interface         = "eth0"
vrid              = 51
virtual_addresses = ["10.0.0.100/24"]

[virtual_server.web]
address   = "10.0.0.100:80"
protocol  = "tcp"
scheduler = "wrr"
forward   = "dr"
check     = "alive"
sorry_server = { address = "10.0.0.9:80" }

[virtual_server.web.real_server]
web-1 = { address = "10.0.0.21:80", weight = 1 }
web-2 = { address = "10.0.0.22:80", weight = 2 }

[check.alive]
type = "tcp"

[sync]
interface = "eth1"
sync_id   = 7
`

func parse(t *testing.T, toml string) *conf.Config {
	t.Helper()
	cfg, err := conf.Parse([]byte(toml), "test.toml")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func target(addr string) healthcheck.Target {
	return healthcheck.Target{Addr: netip.MustParseAddrPort(addr), Check: "alive"}
}

// render is a desired state as an operator would type it.
func render(d Desired) string {
	s := d.Table.String()
	for _, dm := range d.Daemons {
		s += "daemon " + dm.Role.String() + " " + dm.Interface + "\n"
	}
	return strings.TrimSpace(s)
}

func TestCompile(t *testing.T) {
	const (
		service = "-A -t 10.0.0.100:80 -s wrr\n"
		web1    = "-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1\n"
		web2    = "-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2\n"
		sorry   = "-a -t 10.0.0.100:80 -r 10.0.0.9:80 -g -w 1\n"
		master  = "daemon master eth1"
		backup  = "daemon backup eth1"
	)
	up, down := healthcheck.Up, healthcheck.Down
	for _, tt := range []struct {
		name   string
		role   vrrp.State
		health map[healthcheck.Target]healthcheck.Status
		want   string
	}{
		{"a start assumes real servers to be up", vrrp.Initialize, nil, service + web1 + web2 + backup},
		{"a backup is programmed like a master", vrrp.Backup, map[healthcheck.Target]healthcheck.Status{target("10.0.0.21:80"): up, target("10.0.0.22:80"): up}, service + web1 + web2 + backup},
		{"a master sends connections", vrrp.Master, nil, service + web1 + web2 + master},
		{"a director in fault receives them", vrrp.Fault, nil, service + web1 + web2 + backup},
		{"a real server that is down leaves", vrrp.Master, map[healthcheck.Target]healthcheck.Status{target("10.0.0.21:80"): down}, service + web2 + master},
		{"below the quorum the sorry server serves alone", vrrp.Master, map[healthcheck.Target]healthcheck.Status{target("10.0.0.21:80"): down, target("10.0.0.22:80"): down}, service + sorry + master},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Compile(parse(t, pairTOML), "lb-a", Facts{VRRP: map[string]vrrp.State{"web": tt.role}, Health: tt.health})
			if diff := cmp.Diff(tt.want, render(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if want := netip.MustParseAddr("10.0.0.11"); got.SyncAddr != want {
				t.Errorf("sync travels from %v, want %v", got.SyncAddr, want)
			}
		})
	}
}

func TestCompileWithoutSorryServerKeepsWhatIsUp(t *testing.T) {
	cfg := parse(t, strings.Replace(strings.Replace(pairTOML, "sorry_server", "# sorry_server", 1), `check     = "alive"`, "check = \"alive\"\nquorum = 2", 1))
	got := Compile(cfg, "lb-a", Facts{Health: map[healthcheck.Target]healthcheck.Status{target("10.0.0.21:80"): healthcheck.Down}})
	const want = "-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2\ndaemon backup eth1"
	if diff := cmp.Diff(want, render(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A pair that only moves addresses has a membership and no IPVS.
func TestCompileWithoutVirtualServersWantsNoSyncDaemon(t *testing.T) {
	head, _, _ := strings.Cut(pairTOML, "[virtual_server.web]")
	got := Compile(parse(t, head+"[sync]\nkey_file = \"/etc/hadirector/cluster.key\"\n"), "lb-a", Facts{})
	if text := render(got); text != "" {
		t.Errorf("desired %s, want nothing", text)
	}
}

func TestActiveActiveDirectorSendsAndReceives(t *testing.T) {
	cfg := parse(t, pairTOML+"\n[vrrp.mail]\ninterface = \"eth0\"\nvrid = 52\nvirtual_addresses = [\"10.0.0.101/24\"]\npriority = { lb-a = 100, lb-b = 150 }\n")
	got := Compile(cfg, "lb-a", Facts{VRRP: map[string]vrrp.State{"web": vrrp.Master, "mail": vrrp.Backup}})
	roles := ""
	for _, d := range got.Daemons {
		roles += d.Role.String() + " "
	}
	if roles != "master backup " {
		t.Errorf("daemons %q, want both", roles)
	}
}

func TestNotReady(t *testing.T) {
	cfg := parse(t, pairTOML)
	both := map[healthcheck.Target]healthcheck.Status{target("10.0.0.21:80"): healthcheck.Up, target("10.0.0.22:80"): healthcheck.Down}
	for _, tt := range []struct {
		name  string
		facts Facts
		want  []string
	}{
		{"at the start", Facts{}, []string{"ipvs table is not as configured", "2 checks have no verdict yet"}},
		{"one verdict missing", Facts{Programmed: true, Health: map[healthcheck.Target]healthcheck.Status{target("10.0.0.21:80"): healthcheck.Up}}, []string{"1 check has no verdict yet"}},
		{"a verdict that is only assumed", Facts{Programmed: true, Health: both, Assumed: map[healthcheck.Target]bool{target("10.0.0.21:80"): true}}, []string{"1 check has no verdict yet"}},
		{"a server that is down is a verdict too", Facts{Programmed: true, Health: both}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, NotReady(tt.facts.waiting(Targets(cfg)), tt.facts)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTargetsAreSharedBetweenVirtualServers(t *testing.T) {
	cfg := parse(t, pairTOML+`
[virtual_server.again]
address   = "10.0.0.100:8080"
protocol  = "tcp"
scheduler = "rr"
forward   = "nat"
check     = "alive"
[virtual_server.again.real_server]
web-1 = { address = "10.0.0.21:80" }
`)
	if n := len(Targets(cfg)); n != 2 {
		t.Errorf("%d targets, want 2: web-1 is asked once for both virtual servers", n)
	}
}

func TestInstances(t *testing.T) {
	cfg := parse(t, pairTOML)
	a, b := Instances(cfg, "lb-a", true)["web"], Instances(cfg, "lb-b", false)["web"]
	if a.Priority != 150 || b.Priority != 100 {
		t.Errorf("priorities %d and %d, want 150 and 100", a.Priority, b.Priority)
	}
	if !a.Preempt || b.Preempt {
		t.Errorf("preempt %v when ready and %v when not, want true and false", a.Preempt, b.Preempt)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.12")}; cmp.Diff(want, a.Peers, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })) != "" {
		t.Errorf("lb-a's peers %v, want %v", a.Peers, want)
	}
}
