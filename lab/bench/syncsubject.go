package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// syncer is a program that synchronises connections between the two directors.
type syncer interface {
	subject
	// synced waits until the directors have the same connections, n at least. A program that
	// cannot tell waits for a while.
	synced(ctx context.Context, c *cluster.Cluster, n int) error
}

// syncPoll is the time between two questions for the synchronisation's status, which cost the
// daemon something.
const syncPoll = 250 * time.Millisecond

// syncHadirector is the daemon under test, in relay mode. Its real servers are not checked,
// so that what is measured is synchronisation alone; neither are keepalived's.
type syncHadirector struct{ hadirector }

func (h *syncHadirector) prepare(c *cluster.Cluster, o setup) error {
	key, err := c.WriteKey(h.daemon.Binary)
	if err != nil {
		return err
	}
	h.daemon.Config, err = c.WriteConfig(syncConfig(o.interval, key))
	return err
}

// syncConfig is the lab's cluster with two virtual servers.
func syncConfig(interval time.Duration, key string) string {
	var b strings.Builder
	text := strings.Replace(cluster.VRRP, "[vrrp.web]\n", fmt.Sprintf("[vrrp.web]\nadvert_interval = %q\n", interval), 1)
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		head := fmt.Sprintf("[director.%s]\n", machine)
		text = strings.Replace(text, head, head+fmt.Sprintf("sync_addresses = [%q]\n", cluster.SyncAddr(machine)), 1)
	}
	b.WriteString(text)
	for _, s := range []struct {
		name string
		port int
	}{{"web", closedPort}, {"echo", cluster.EchoPort}} {
		fmt.Fprintf(&b, "\n[virtual_server.%s]\naddress = \"%s:%d\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\n\n[virtual_server.%[1]s.real_server]\n", s.name, cluster.VIP, s.port)
		for _, rs := range []string{cluster.RS1, cluster.RS2} {
			fmt.Fprintf(&b, "%s = { address = \"%s:%d\" }\n", rs, cluster.Addr(rs), s.port)
		}
	}
	fmt.Fprintf(&b, "\n[sync]\nmode = \"relay\"\ninterface = \"eth1\"\nkey_file = %q\n", key)
	return b.String()
}

func (h *syncHadirector) synced(ctx context.Context, c *cluster.Cluster, n int) error {
	for ticker := time.Tick(syncPoll); ; {
		var said []string
		for _, machine := range []string{cluster.LBA, cluster.LBB} {
			s, err := readSyncStatus(ctx, c.SocketPath(machine))
			if err != nil {
				return fmt.Errorf("status of %s: %w", machine, err)
			}
			if !s.inSync(n) {
				said = append(said, fmt.Sprintf("%s: %s", machine, s))
			}
		}
		if said == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in sync: %s: %w", strings.Join(said, "; "), context.Cause(ctx))
		case <-ticker:
		}
	}
}

// syncStatus is the part of the daemon's status that tells of synchronisation.
type syncStatus struct {
	Peers []syncPeer `json:"peers"`
}

type syncPeer struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Why   string `json:"why"`
	Here  int    `json:"here"`
	There int    `json:"there"`
}

// inSync tells whether the director and its peer have the same connections, n at least.
func (s syncStatus) inSync(n int) bool {
	for _, p := range s.Peers {
		if p.State != "in sync" || p.Here != p.There || p.Here < n {
			return false
		}
	}
	return len(s.Peers) > 0
}

func (s syncStatus) String() string {
	if len(s.Peers) == 0 {
		return "no peers"
	}
	var parts []string
	for _, p := range s.Peers {
		text := fmt.Sprintf("%s %s, %d/%d", p.Name, p.State, p.There, p.Here)
		if p.Why != "" {
			text += ", " + p.Why
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// readSyncStatus asks a daemon.
func readSyncStatus(ctx context.Context, socket string) (s syncStatus, err error) {
	text, err := readStatus(ctx, socket)
	if err != nil {
		return s, err
	}
	err = json.Unmarshal(text, &s)
	return s, err
}

// readStatus asks a daemon for the part of its status that tells of synchronisation. Starting
// the program that does would cost an emulated machine more than what is measured.
func readStatus(ctx context.Context, socket string) (json.RawMessage, error) {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://hadirector/v1/status", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", response.Status)
	}
	var all struct {
		Sync json.RawMessage `json:"sync"`
	}
	err = json.NewDecoder(response.Body).Decode(&all)
	return all.Sync, err
}

// syncKeepalived is keepalived with the kernel's sync daemons on the sync network.
type syncKeepalived struct {
	keepalived
	// blind is the time that it is given wherever hadirector waits to be in sync: it has
	// nothing to tell.
	blind time.Duration
}

func (k syncKeepalived) start(c *cluster.Cluster, machine string, o setup) (*cluster.Process, error) {
	priority := 150
	if machine == cluster.LBB {
		priority = 100
	}
	return c.StartKeepalived(machine, cluster.Keepalived{Priority: priority, Interval: o.interval, Services: true, Unchecked: true, PreemptDelay: k.blind})
}

func (k syncKeepalived) synced(ctx context.Context, _ *cluster.Cluster, _ int) error {
	return sleep(ctx, time.Now().Add(k.blind))
}
