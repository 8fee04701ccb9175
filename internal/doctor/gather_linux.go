package doctor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/ipvs"
)

// Options are what a gatherer has to be told.
type Options struct {
	Director string // asked for by the operator; empty: it is found out
	Version  string // of this program
	// Roles are what this machine is looked at as; none: what the configuration has it for.
	Roles []Role
}

// Gather reads what this machine looks like, as far as it matters for a configuration. It
// changes nothing and sends nothing. The error says that nothing at all can be told;
// what else could not be read is among the facts. The roles are those that the facts
// are for.
func Gather(ctx context.Context, cfg *conf.Config, o Options) (f Facts, roles []Role, err error) {
	f = Facts{Asked: o.Director, Environment: os.Getenv(conf.DirectorVariable)}
	f.Hostname, _ = os.Hostname() // without one, the addresses tell
	if f.Interfaces, err = netif.Survey(); err != nil {
		return Facts{}, nil, fmt.Errorf("look at this machine's interfaces: %w", err)
	}
	f.Sysctls = make(map[string]string)
	for _, name := range interfaceParameters(f.Interfaces) {
		f.readSysctl(name)
	}
	if roles = o.Roles; len(roles) == 0 {
		roles = Roles(cfg, f)
	}
	if slices.Contains(roles, RealServer) {
		f.gatherRealServer(cfg)
	}
	if slices.Contains(roles, Director) {
		f.gatherDirector(ctx, cfg, o)
	}
	return f, roles, nil
}

// unseen notes what could not be read.
func (f *Facts) unseen(what string, err error) {
	u := Unseen{What: what, Why: err.Error(), Privilege: errors.Is(err, fs.ErrPermission)}
	if !slices.Contains(f.Unseen, u) {
		f.Unseen = append(f.Unseen, u)
	}
}

// readSysctl reads a parameter, if it is there.
func (f *Facts) readSysctl(name string) {
	value, err := sysctl.Get(name)
	switch {
	case err == nil:
		f.Sysctls[name] = value
	case !errors.Is(err, fs.ErrNotExist):
		f.unseen("the kernel parameter "+sysctl.Dotted(name), err)
	}
}

// interfaceParameters are those of all interfaces that count on a real server.
func interfaceParameters(interfaces []netif.Interface) []string {
	var names []string
	of := []string{"all"}
	for _, i := range interfaces {
		of = append(of, i.Name)
	}
	for _, ifname := range of {
		for _, name := range []string{"arp_ignore", "arp_announce", "rp_filter"} {
			names = append(names, "net/ipv4/conf/"+ifname+"/"+name)
		}
	}
	return names
}

// farAway are addresses that stand for clients (RFC 5737, RFC 3849): the way there is the
// way to clients anywhere. Nothing is sent to them.
var farAway = map[bool]netip.Addr{
	true: netip.MustParseAddr("198.51.100.1"), false: netip.MustParseAddr("2001:db8:c11e:4::1"),
}

func (f *Facts) gatherRealServer(cfg *conf.Config) {
	here := serversHere(cfg, *f)
	if len(here) == 0 {
		return
	}
	r := &f.RealServerFacts
	r.Answers = make(map[netip.Addr]netif.Way)
	r.Modules = make(map[string]Presence)
	tunnels := false
	for _, s := range here {
		own := s.rs.Address.Addr()
		if s.rs.Forward == ipvs.ForwardTunnel {
			for _, module := range (tunnelUse{own: own, Tunnel: s.rs.Tunnel}).modules() {
				r.Modules[module] = modulePresence(module)
			}
			tunnels = true
		}
		if s.rs.Forward == ipvs.ForwardTunnel || s.rs.Forward == ipvs.ForwardMasq {
			way, ok, err := netif.WayTo(farAway[own.Is4()], own)
			if err != nil {
				f.unseen("the way to clients", err)
			} else if ok {
				r.Answers[own] = way
			}
		}
	}
	var err error
	if tunnels {
		if r.Tunnels, err = netif.Tunnels(); err != nil {
			r.NoTunnels = true
			f.unseen("the tunnel interfaces", err)
		}
		if r.Ports, _, err = netif.GUEPorts(); err != nil {
			r.NoTunnels = true
			f.unseen("the ports for gue", err)
		}
	}
	if r.Listeners, err = listeners(); err != nil {
		r.NoListeners = true
		f.unseen("the sockets that listen", err)
	}
}

// listeners reads the sockets that take clients' packets.
func listeners() ([]Listener, error) {
	var all []Listener
	for _, table := range []struct {
		file     string
		protocol ipvs.Protocol
		state    string
	}{
		{"tcp", ipvs.TCP, "0A"}, {"tcp6", ipvs.TCP, "0A"}, // TCP_LISTEN
		{"udp", ipvs.UDP, "07"}, {"udp6", ipvs.UDP, "07"}, // not connected
	} {
		b, err := os.ReadFile("/proc/thread-self/net/" + table.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		list, err := parseSockets(b, table.protocol, table.state)
		if err != nil {
			return nil, fmt.Errorf("read /proc/net/%s: %w", table.file, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// modulePresence tells whether the kernel has a module, or could load it.
func modulePresence(module string) Presence {
	if _, err := os.Stat("/sys/module/" + module); err == nil {
		return Present
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Undecided
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	presence := Undecided
	for _, file := range []string{"modules.dep", "modules.builtin"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return Undecided
		}
		if listsModule(b, module) {
			return Present
		}
		presence = Absent
	}
	return presence
}

// listsModule tells whether a line of modules.dep or modules.builtin is the module's.
func listsModule(list []byte, module string) bool {
	same := func(name string) bool { return strings.ReplaceAll(name, "-", "_") == module }
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		path, _, _ := strings.Cut(lines.Text(), ":")
		name, _, _ := strings.Cut(filepath.Base(path), ".ko")
		if same(name) {
			return true
		}
	}
	return false
}
