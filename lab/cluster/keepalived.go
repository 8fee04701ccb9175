package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Keepalived is a keepalived director: the baseline of every measurement, and a VRRP peer.
type Keepalived struct {
	Priority int
	Interval time.Duration // between adverts
	Version  int           // of VRRP; 0 is 3
	Password string        // of version 2, auth_type PASS; empty: none
	IPv6     bool          // the virtual addresses are VIP6Link and VIP6 instead of VIP
	VMAC     bool          // on a link of its own with the virtual MAC address
	// Unicast are its own and the peer's address, between which advertisements go; the
	// zero value: they go to the multicast group.
	Unicast [2]netip.Addr
	// Instances are the virtual addresses of as many virtual routers, with the VRIDs from 1
	// on; empty: the lab's own one.
	Instances []string
	RealTime  bool // its VRRP process gets real-time scheduling and locked memory
	// Services adds the virtual servers and the sync daemons, which need IPVS.
	Services bool
	// Unchecked leaves out the real servers' checks.
	Unchecked bool
	// PreemptDelay is for how long a Master of lower priority is left alone.
	PreemptDelay time.Duration
}

// StartKeepalived starts keepalived on a director. It logs to its standard output, where
// "Entering MASTER STATE" is the line to wait for.
func (c *Cluster) StartKeepalived(machine string, k Keepalived) (*Process, error) {
	dir := c.MachineDir(machine)
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, []byte(k.config(machine)), 0o644); err != nil {
		return nil, err
	}
	// Without these files of its own, two instances on one machine take each other for
	// an earlier self.
	args := []string{"keepalived", "--dont-fork", "--log-console", "--use-file", file}
	for _, name := range []string{"pid", "vrrp_pid", "checkers_pid"} {
		pidFile := filepath.Join(dir, name)
		// One that was killed left them, and a zombie nobody has waited for is a running
		// keepalived to the next one.
		if err := os.Remove(pidFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		args = append(args, "--"+name, pidFile)
	}
	return c.Start(machine, "keepalived", args...)
}

// addresses are the virtual addresses in keepalived's words.
func (k Keepalived) addresses() string {
	device := " dev eth0"
	if k.VMAC {
		device = "" // the link that it makes
	}
	if k.IPv6 {
		return fmt.Sprintf("%s/64%s\n\t\t%s/64%[2]s", VIP6Link, device, VIP6)
	}
	return fmt.Sprintf("%s/24%s", VIP, device)
}

// instance is one virtual router in keepalived's words.
func (k Keepalived) instance(b *strings.Builder, name string, vrid int, addresses string) {
	fmt.Fprintf(b, `vrrp_instance %s {
	state BACKUP
	interface eth0
	virtual_router_id %d
	priority %d
	advert_int %g
	virtual_ipaddress {
		%s
	}
`, name, vrid, k.Priority, k.Interval.Seconds(), addresses)
	if k.VMAC {
		b.WriteString("\tuse_vmac\n")
	}
	if k.PreemptDelay > 0 {
		fmt.Fprintf(b, "\tpreempt_delay %g\n", k.PreemptDelay.Seconds())
	}
	if k.Unicast != [2]netip.Addr{} {
		fmt.Fprintf(b, "\tunicast_src_ip %s\n\tunicast_peer {\n\t\t%s\n\t}\n", k.Unicast[0], k.Unicast[1])
	}
	if k.Password != "" {
		fmt.Fprintf(b, "\tauthentication {\n\t\tauth_type PASS\n\t\tauth_pass %s\n\t}\n", k.Password)
	}
	b.WriteString("}\n")
}

// config is the lab's cluster in keepalived's words.
func (k Keepalived) config(machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n\trouter_id %s\n\tvrrp_version %d\n", machine, cmp.Or(k.Version, 3))
	if k.RealTime {
		// With the limit that keepalived sets itself, 10 ms, the kernel kills it when it has
		// hundreds of virtual routers to start.
		b.WriteString("\tvrrp_rt_priority 50\n\tvrrp_no_swap\n\tvrrp_rlimit_rttime 1000000\n")
	}
	if k.Services {
		b.WriteString("\tlvs_sync_daemon eth1 web id 51\n")
	}
	b.WriteString("}\n")
	for i, address := range k.Instances {
		k.instance(&b, fmt.Sprintf("v%d", i+1), i+1, address+"/32 dev eth0")
	}
	if len(k.Instances) == 0 {
		k.instance(&b, "web", 51, k.addresses())
	}
	if !k.Services {
		return b.String()
	}
	for _, s := range []struct {
		port  int
		check string
	}{
		{80, "HTTP_GET { url { path /\n status_code 200\n }\n connect_timeout 1\n retry 1\n delay_before_retry 1\n }"},
		{EchoPort, "TCP_CHECK { connect_timeout 1\n retry 1\n delay_before_retry 1\n }"},
	} {
		fmt.Fprintf(&b, "virtual_server %s %d {\n delay_loop 1\n lvs_sched rr\n lvs_method DR\n protocol TCP\n", VIP, s.port)
		if k.Unchecked {
			s.check = ""
		}
		for _, rs := range []string{RS1, RS2} {
			fmt.Fprintf(&b, "real_server %s %d {\n weight 1\n %s\n }\n", Addr(rs), s.port, s.check)
		}
		b.WriteString("}\n")
	}
	return b.String()
}
