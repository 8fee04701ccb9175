package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/hadirector/hadirector/lab/cluster"
)

// checker is a program that checks real servers, and is Master of a virtual router.
type checker interface {
	String() string
	configure(c *cluster.Cluster, s scenario) error
	start(c *cluster.Cluster) (*cluster.Process, error)
}

// One failure is enough for both, so that what is compared is when they ask.
const checkTimeout = "5s"

// hadirectorChecker is the daemon under test.
type hadirectorChecker struct{ daemon cluster.Hadirector }

func (*hadirectorChecker) String() string { return "hadirector" }

func (h *hadirectorChecker) configure(c *cluster.Cluster, s scenario) (err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[director.lb-a]\naddress = \"%s\"\n[admin]\nsocket = %q\n[log]\nlevel = \"error\"\n", cluster.Addr(cluster.LBA), cluster.Socket)
	fmt.Fprintf(&b, "[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nadvert_interval = \"%v\"\nvirtual_addresses = [\"%s/24\"]\n", advertInterval, cluster.VIP)
	fmt.Fprintf(&b, "[check.alive]\ntype = %q\ninterval = \"%v\"\ntimeout = %q\nfall = 1\n", s.kind, s.interval, checkTimeout)
	n := 0
	s.services(func(at netip.AddrPort, servers []netip.AddrPort) {
		fmt.Fprintf(&b, "[virtual_server.vs-%d]\naddress = \"%s\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\nforward = \"nat\"\ncheck = \"alive\"\n[virtual_server.vs-%[1]d.real_server]\n", n, at)
		for j, rs := range servers {
			fmt.Fprintf(&b, "rs-%d = { address = \"%s\" }\n", j, rs)
		}
		n++
	})
	h.daemon.Config, err = c.WriteConfig(b.String())
	return err
}

func (h *hadirectorChecker) start(c *cluster.Cluster) (*cluster.Process, error) {
	return c.StartHadirector(cluster.LBA, h.daemon)
}

// keepalivedChecker is keepalived, with its defaults.
type keepalivedChecker struct{}

func (keepalivedChecker) String() string { return "keepalived" }

func (keepalivedChecker) file(c *cluster.Cluster) string {
	return filepath.Join(c.MachineDir(cluster.LBA), "keepalived.conf")
}

func (k keepalivedChecker) configure(c *cluster.Cluster, s scenario) error {
	check := "TCP_CHECK {\n connect_timeout 5\n retry 0\n }\n"
	if s.kind == CheckHTTP {
		check = "HTTP_GET {\n url {\n path /\n status_code 200\n }\n connect_timeout 5\n retry 0\n }\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "vrrp_instance web {\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 100\n version 3\n advert_int %g\n virtual_ipaddress {\n %s/24\n }\n}\n",
		advertInterval.Seconds(), cluster.VIP)
	s.services(func(at netip.AddrPort, servers []netip.AddrPort) {
		fmt.Fprintf(&b, "virtual_server %s %d {\n delay_loop %g\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n", at.Addr(), at.Port(), s.interval.Seconds())
		for _, rs := range servers {
			fmt.Fprintf(&b, " real_server %s %d {\n weight 1\n %s }\n", rs.Addr(), rs.Port(), check)
		}
		b.WriteString("}\n")
	})
	return os.WriteFile(k.file(c), []byte(b.String()), 0o644)
}

func (k keepalivedChecker) start(c *cluster.Cluster) (*cluster.Process, error) {
	dir := c.MachineDir(cluster.LBA)
	return c.Start(cluster.LBA, "keepalived", "keepalived", "--dont-fork", "--log-console", "--use-file", k.file(c),
		"--pid", filepath.Join(dir, "pid"), "--checkers_pid", filepath.Join(dir, "checkers_pid"), "--vrrp_pid", filepath.Join(dir, "vrrp_pid"))
}
