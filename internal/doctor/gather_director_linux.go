package doctor

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/clusterkey"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/nft"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/syncd"
)

// gatherDirector reads what a director's part needs.
func (f *Facts) gatherDirector(ctx context.Context, cfg *conf.Config, o Options) {
	g := &f.DirectorFacts
	g.Version = o.Version
	f.gatherDaemon(ctx, cfg)
	g.Systemd, g.Enabled = units(ctx)
	f.gatherProcesses()
	f.gatherIPVS(ctx, cfg)
	f.gatherTables(cfg)
	g.Ways = make(map[netip.Addr]netif.Way)
	for _, vs := range cfg.VirtualServers {
		for _, rs := range vs.RealServers {
			f.gatherWay(rs.Address.Addr())
		}
		if vs.SorryServer != nil {
			f.gatherWay(vs.SorryServer.Address.Addr())
		}
	}
	for _, p := range wantedParameters(cfg, f.Interfaces) {
		f.readSysctl(slashed(p.Name))
	}
	if relaysConnections(cfg) {
		g.SyncModules = make(map[string]Presence)
		for _, module := range []string{"dummy", "veth", "udp_diag"} {
			g.SyncModules[module] = modulePresence(module)
		}
	}
	if cfg.Sync != nil && cfg.Sync.KeyFile != "" {
		f.gatherKey(cfg.Sync.KeyFile)
	}
}

func (f *Facts) gatherDaemon(ctx context.Context, cfg *conf.Config) {
	s, err := admin.NewClient(cfg.Admin.Socket).Status(ctx)
	switch {
	case err == nil:
		f.DirectorFacts.Daemon = &s
	case errors.Is(err, admin.ErrNotRunning):
		f.DirectorFacts.NoDaemon = true
	default:
		u := Unseen{What: "the daemon that runs", Why: err.Error(), Privilege: os.Geteuid() != 0}
		f.Unseen = append(f.Unseen, u)
	}
}

// systemctlTimeout bounds a question to a systemd that does not answer.
const systemctlTimeout = 5 * time.Second

// units tells whether systemd runs this machine, and which of the units that matter start
// with it.
func units(ctx context.Context) (systemd bool, enabled map[string]bool) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return false, nil
	}
	enabled = make(map[string]bool)
	for _, unit := range []string{"hadirector.service", "keepalived.service"} {
		ctx, cancel := context.WithTimeout(ctx, systemctlTimeout)
		out, _ := exec.CommandContext(ctx, "systemctl", "is-enabled", unit).Output() // fails for what is not
		cancel()
		enabled[unit] = strings.TrimSpace(string(out)) == "enabled"
	}
	return true, enabled
}

// otherVRRP are the programs that speak VRRP, or CARP, by the names of their processes.
var otherVRRP = []string{"keepalived", "vrrpd", "ucarp"}

// gatherProcesses looks for other programs that speak VRRP where this one would.
func (f *Facts) gatherProcesses() {
	const what = "the network namespaces of other programs that speak VRRP"
	here, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		f.unseen(what, err)
		return
	}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		f.unseen(what, err)
		return
	}
	first := make(map[string]Process)
	for _, name := range names {
		b, err := os.ReadFile(name)
		program := strings.TrimSpace(string(b))
		if err != nil || !slices.Contains(otherVRRP, program) {
			continue // it has ended meanwhile, or is another one
		}
		dir := filepath.Dir(name)
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		there, err := os.Readlink(filepath.Join(dir, "ns/net"))
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				f.unseen(what, err)
			}
			continue
		}
		// The lowest number is mostly the parent of the others.
		if p, known := first[program]; there == here && (!known || pid < p.PID) {
			first[program] = Process{Name: program, PID: pid, Unit: unitOf(dir)}
		}
	}
	for _, program := range slices.Sorted(maps.Keys(first)) {
		f.DirectorFacts.Others = append(f.DirectorFacts.Others, first[program])
	}
}

// unitOf is the service of systemd that a process belongs to.
func unitOf(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return ""
	}
	return parseUnit(string(b))
}

// parseUnit finds the service in the lines of /proc/PID/cgroup, such as
// "0::/system.slice/keepalived.service".
func parseUnit(cgroup string) string {
	for line := range strings.Lines(cgroup) {
		base := filepath.Base(strings.TrimSpace(line))
		if strings.Contains(line, "/system.slice/") && strings.HasSuffix(base, ".service") {
			return base
		}
	}
	return ""
}

// gatherIPVS asks the kernel for what the virtual servers need.
func (f *Facts) gatherIPVS(ctx context.Context, cfg *conf.Config) {
	g := &f.DirectorFacts
	list, _ := modules(cfg)
	if len(list) == 0 {
		return
	}
	const what = "the kernel's IPVS"
	client, err := ipvsnl.Open(ipvsnl.Options{})
	switch {
	case errors.Is(err, ipvsnl.ErrNoIPVS) && os.Geteuid() == 0:
		g.IPVS = Absent
		return
	case err != nil: // without privileges its module cannot be loaded
		f.Unseen = append(f.Unseen, Unseen{What: what, Why: err.Error(), Privilege: os.Geteuid() != 0})
		return
	}
	defer client.Close()
	g.Lacking = make(map[Module]bool)
	for _, m := range list {
		err := client.Supports(ctx, m.Scheduler, m.Engine)
		switch {
		case errors.Is(err, ipvsnl.ErrNoModule):
			g.Lacking[m] = true
		case err != nil:
			f.unseen(what, err)
			return
		}
	}
	g.IPVS = Present
}

// gatherTables reads the chains of nftables.
func (f *Facts) gatherTables(cfg *conf.Config) {
	relays := relaysConnections(cfg)
	if len(cfg.VirtualRouters) == 0 && len(tableUsers(cfg)) == 0 && !relays {
		return
	}
	var port uint16
	if cfg.Sync != nil {
		port = cfg.Sync.Port
	}
	var peers []netip.Addr
	for _, d := range cfg.Directors {
		if !f.isLocal(d.Address) {
			peers = append(peers, d.Address)
		}
	}
	inputs, err := nft.Inputs(port, peers...)
	if vips := senders(answering(cfg)); err == nil && len(vips) > 0 {
		const ephemeral = 40000 // a rule for such ports lets the answers in too
		f.DirectorFacts.Answers, err = nft.Inputs(ephemeral, vips...)
	}
	if err == nil && relays {
		f.DirectorFacts.Streams, err = nft.Inputs(cfg.Sync.StreamPort, f.syncPeers(cfg)...)
	}
	if err == nil && relays {
		f.DirectorFacts.Barriers, err = nft.Barriers(syncd.PrivateInterface, syncd.Group.Addr(), syncd.PrivatePrefix.Addr())
	}
	switch {
	case errors.Is(err, nft.ErrNoTables):
		f.DirectorFacts.Tables = Absent
	case err != nil:
		f.unseen("the nftables rules", err)
	default:
		f.DirectorFacts.Tables, f.DirectorFacts.Inputs = Present, inputs
	}
}

func (f *Facts) gatherWay(to netip.Addr) {
	if _, known := f.DirectorFacts.Ways[to]; known {
		return
	}
	way, ok, err := netif.WayTo(to, netip.Addr{})
	if err != nil {
		f.unseen("the way to real server "+to.String(), err)
	} else if ok {
		f.DirectorFacts.Ways[to] = way
	}
}

func (f *Facts) gatherKey(file string) {
	k := &f.DirectorFacts.Key
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k.Missing = true
		return
	case err != nil:
		f.unseen(theKey, err)
		return
	}
	k.Mode = uint32(info.Mode().Perm())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		k.Owner = int(st.Uid)
	}
	if _, err := clusterkey.Load(file); errors.Is(err, fs.ErrPermission) {
		f.unseen(theKey, err)
	} else if err != nil && k.Mode&0o077 == 0 && k.Owner == 0 {
		k.Broken = err.Error()
	}
}
