package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// frrPrograms is where Debian keeps FRR's daemons.
const frrPrograms = "/usr/lib/frr/"

// FRRDevice is the link with the virtual MAC address that FRR's vrrpd works on. It holds
// the virtual addresses all the time and is switched off while FRR is Backup.
const FRRDevice = "vrrp0"

// FRR is a director that runs FRR's vrrpd, version 3: a VRRP peer that has no code in
// common with keepalived.
type FRR struct {
	Priority int
	Interval time.Duration // between adverts
	IPv6     bool          // the virtual addresses are VIP6Link and VIP6 instead of VIP
}

// StartFRR starts vrrpd on a director, and zebra, which it depends on. vrrpd logs to its
// standard output, where "Backup -> Master" is the line to wait for.
func (c *Cluster) StartFRR(ctx context.Context, machine string, f FRR) (*Process, error) {
	dir := filepath.Join(c.MachineDir(machine), "frr")
	if err := makeFRRDir(dir); err != nil {
		return nil, err
	}
	if err := c.addFRRDevice(machine, f); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"zebra.conf": "log stdout\n", "vrrpd.conf": f.config()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	start := func(name string) (*Process, error) {
		return c.Start(machine, name, frrPrograms+name, "--user", "frr", "--group", "frr",
			"--config_file", filepath.Join(dir, name+".conf"), "--pid_file", filepath.Join(dir, name+".pid"),
			"--socket", filepath.Join(dir, "zserv.api"), "--vty_socket", dir, "--vty_port", "0", "--log", "stdout")
	}
	if _, err := start("zebra"); err != nil {
		return nil, err
	}
	// vrrpd waits for seconds before it tries again to reach zebra.
	for ticker := time.Tick(10 * time.Millisecond); ; {
		if _, err := os.Stat(filepath.Join(dir, "zserv.api")); err == nil {
			return start("vrrpd")
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("zebra on %s does not listen: %w", machine, context.Cause(ctx))
		case <-ticker:
		}
	}
}

// makeFRRDir makes FRR's directory. Its daemons give up being root before they write there.
func makeFRRDir(dir string) error {
	frr, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("FRR is not installed: %w", err)
	}
	uid, err := strconv.Atoi(frr.Uid)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chown(dir, uid, -1)
}

// addFRRDevice makes the link that FRR finds its virtual router by: a macvlan with the
// virtual MAC address (RFC 9568 section 7.3) and the virtual addresses.
func (c *Cluster) addFRRDevice(machine string, f FRR) error {
	mac := "00:00:5e:00:01:33"
	if f.IPv6 {
		mac = "00:00:5e:00:02:33"
	}
	var script strings.Builder
	fmt.Fprintf(&script, "link add %s link eth0 address %s type macvlan mode bridge\n", FRRDevice, mac)
	for _, a := range f.addresses() {
		fmt.Fprintf(&script, "addr add %s dev %s", a, FRRDevice)
		if a.Addr().Is6() {
			script.WriteString(" nodad")
		}
		script.WriteByte('\n')
	}
	fmt.Fprintf(&script, "link set %s up\n", FRRDevice)
	return c.ip(machine, script.String())
}

func (f FRR) addresses() []netip.Prefix {
	if f.IPv6 {
		return []netip.Prefix{netip.PrefixFrom(VIP6Link, 64), netip.PrefixFrom(VIP6, 64)}
	}
	return []netip.Prefix{netip.PrefixFrom(VIP, 24)}
}

// config is the lab's virtual router in FRR's words.
func (f FRR) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "log stdout debugging\ndebug vrrp protocol\ninterface eth0\n vrrp 51 version 3\n vrrp 51 priority %d\n vrrp 51 advertisement-interval %d\n",
		f.Priority, f.Interval.Milliseconds())
	for _, a := range f.addresses() {
		word := "ip"
		if a.Addr().Is6() {
			word = "ipv6"
		}
		fmt.Fprintf(&b, " vrrp 51 %s %s\n", word, a.Addr())
	}
	return b.String()
}
