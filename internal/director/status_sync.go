package director

import (
	"maps"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/syncd"
)

// SyncStatus is the synchronisation of connections.
type SyncStatus struct {
	Mode string `json:"mode"` // "kernel" or "relay"
	// Known says that the kernel could be asked about its daemons, and Daemons are
	// those that it runs.
	Known   bool           `json:"known"`
	Daemons []DaemonStatus `json:"daemons"`
	// Errors are what the kernel refuses of what the relay needs: see Pass.SyncErrs.
	Errors []string `json:"errors"`
	// PeersError is why there is no membership with the other directors, and RelayError
	// why there is no relay.
	PeersError string `json:"peers_error,omitempty"`
	RelayError string `json:"relay_error,omitempty"`
	*RelayStatus
}

// RelayStatus is the relay of connections.
type RelayStatus struct {
	// Connections and Templates are what the shadow table has, of MaxConnections at most.
	Connections    int `json:"connections"`
	Templates      int `json:"templates"`
	MaxConnections int `json:"max_connections"`
	// Evicted and Refused are those that it had no room for.
	Evicted uint64        `json:"evicted"`
	Refused uint64        `json:"refused"`
	Capture CaptureStatus `json:"capture"`
	Inject  InjectStatus  `json:"inject"`
	// Strangers are connections to the stream's port that were refused, by reason.
	Strangers map[string]uint64 `json:"strangers"`
	Peers     []SyncPeerStatus  `json:"peers"`
}

// CaptureStatus is what is heard from the kernel's master daemon, in datagrams.
type CaptureStatus struct {
	Running   bool      `json:"running"`
	Error     string    `json:"error,omitempty"`
	HeardAt   time.Time `json:"heard_at,omitzero"`
	Datagrams uint64    `json:"datagrams"`
	Lost      uint64    `json:"lost"`
	Malformed uint64    `json:"malformed"`
	Withheld  uint64    `json:"withheld"` // connections that are not for others, by the configuration
	// TickError is why the daemon is not made to tell at once.
	TickError string `json:"tick_error,omitempty"`
	// ListError is why the kernel's list of connections could not be read.
	ListError string `json:"list_error,omitempty"`
}

// InjectStatus is what the kernel's backup daemon is handed, in datagrams.
type InjectStatus struct {
	Running     bool   `json:"running"`
	Error       string `json:"error,omitempty"`
	UpToDate    bool   `json:"up_to_date"`
	Connections uint64 `json:"connections"`
	Datagrams   uint64 `json:"datagrams"`
	Dropped     uint64 `json:"dropped"`
	Again       uint64 `json:"again"`
	Missing     uint64 `json:"missing"`  // connections that it was handed, and did not have later
	Restarts    uint64 `json:"restarts"` // of telling it everything
}

// SyncPeerStatus is how this director's connections and another's are the same.
type SyncPeerStatus struct {
	Name  string    `json:"name"`
	State string    `json:"state"` // "connecting", "resyncing", "differs" or "in sync"
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
	// Complete says that this director has what the other one knew when they met.
	Complete bool `json:"complete"`
	// Here and There count connections and templates.
	Here  int `json:"here"`
	There int `json:"there"`
	// Differs are the virtual servers with other connections there, and Changing is
	// how many others have just changed on one side.
	Differs  []SyncDifference `json:"differs"`
	Changing int              `json:"changing"`
	// LagMS is the age of the oldest change that the other's kernel has not been told, 0 if
	// there is none. AckMS is how long the last one that it was told took, until that was
	// known here. RTTMS is the way there and back alone. All are in milliseconds.
	LagMS float64 `json:"lag_ms"`
	AckMS float64 `json:"ack_ms"`
	RTTMS float64 `json:"rtt_ms"`
	// LastFullSync is when the other one last had everything of this one, LastFullReceived
	// the reverse.
	LastFullSync     time.Time         `json:"last_full_sync,omitzero"`
	LastFullReceived time.Time         `json:"last_full_received,omitzero"`
	Links            []SyncLinkStatus  `json:"links"`
	Sent             uint64            `json:"sent_records"`
	Received         uint64            `json:"received_records"`
	Acked            uint64            `json:"acked_records"`
	Resent           uint64            `json:"resent_records"`  // after a cut
	Dropped          map[string]uint64 `json:"dropped_records"` // by reason
	FullSyncsSent    uint64            `json:"full_syncs_sent"`
	FullSyncs        uint64            `json:"full_syncs_received"`
	QueuedRecords    int               `json:"queued_records"`
	QueuedBytes      int               `json:"queued_bytes"`
}

// SyncDifference is a virtual server whose connections differ.
type SyncDifference struct {
	// Name is the configuration's, empty if it has none for it. A virtual server of every
	// port, or of several addresses, may be there several times.
	Name          string `json:"name,omitempty"`
	VirtualServer string `json:"virtual_server"` // "TCP 10.0.0.100:80", "fwmark 10"
	Here          int    `json:"here"`
	There         int    `json:"there"`
}

// SyncLinkStatus is one way to a peer.
type SyncLinkStatus struct {
	From      string    `json:"from"`
	To        string    `json:"to"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// DaemonStatus is one of the kernel's sync daemons.
type DaemonStatus struct {
	Role      string `json:"role"`
	Interface string `json:"interface"`
	SyncID    uint8  `json:"sync_id"`
}

func (p *published) syncStatus() *SyncStatus {
	if p.force.cfg.Sync == nil {
		return nil
	}
	s := &SyncStatus{Mode: p.force.cfg.Sync.Mode.String(), Errors: texts(p.pass.SyncErrs), Known: p.pass.DaemonsRead || !syncs(p.force.cfg), Daemons: []DaemonStatus{}}
	for _, dm := range p.pass.Daemons {
		s.Daemons = append(s.Daemons, DaemonStatus{Role: dm.Role.String(), Interface: dm.Interface, SyncID: dm.SyncID})
	}
	s.PeersError, s.RelayError = p.peers.failed(), p.relay.failed()
	if r := p.relay.relay(); r != nil {
		s.RelayStatus = relayStatus(p.force.cfg, r.Status())
	}
	return s
}

func relayStatus(cfg *conf.Config, r syncd.RelayStatus) *RelayStatus {
	s := &RelayStatus{
		Connections: r.Table.Conns, Templates: r.Table.Templates, MaxConnections: r.Limit, Evicted: r.Table.Evicted, Refused: r.Table.Refused,
		Capture: CaptureStatus{
			Running: r.Capture.Running, Error: r.Capture.Err, HeardAt: r.Capture.Heard, Datagrams: r.Capture.Datagrams, Lost: r.Capture.Lost,
			Malformed: r.Capture.Malformed, Withheld: r.Capture.Withheld, TickError: r.Tick, ListError: r.List,
		},
		Inject: InjectStatus{
			Running: r.Inject.Running, Error: r.Inject.Err, UpToDate: !r.Inject.Behind, Connections: r.Inject.Conns, Datagrams: r.Inject.Datagrams,
			Dropped: r.Inject.Dropped, Again: r.Inject.Again, Missing: r.Exchange.Missing, Restarts: r.Inject.Restarts,
		},
		Strangers: maps.Clone(r.Refused), Peers: []SyncPeerStatus{},
	}
	for _, p := range r.Peers {
		s.Peers = append(s.Peers, syncPeerStatus(cfg, p))
	}
	return s
}

func syncPeerStatus(cfg *conf.Config, p syncd.RelayPeer) SyncPeerStatus {
	out, in, n := p.Stream.Link.Send, p.Stream.Link.Receive, p.Stream.Link.Counters
	s := SyncPeerStatus{
		Name: p.Name, State: string(p.State), Since: p.Since, Why: p.Why, Complete: p.Complete,
		Here: p.Here.Conns + p.Here.Templates, There: p.There.Conns + p.There.Templates, Changing: p.Changing, Differs: []SyncDifference{},
		LagMS: milliseconds(out.Lag), AckMS: milliseconds(out.AckTime), RTTMS: milliseconds(out.RTT),
		LastFullSync: out.LastFull, LastFullReceived: in.LastFull, Links: []SyncLinkStatus{},
		Sent: n.SentRecords, Received: n.ReceivedRecords, Acked: n.AckedRecords, Resent: n.ResentRecords, Dropped: make(map[string]uint64, len(syncd.DropReasons)),
		FullSyncsSent: n.SnapshotsSent, FullSyncs: n.SnapshotsReceived, QueuedRecords: out.QueuedRecords, QueuedBytes: out.QueuedBytes,
	}
	for _, d := range p.Differs {
		s.Differs = append(s.Differs, SyncDifference{nameOfServer(cfg, d.VirtualServer), d.VirtualServer.String(), d.Here.Conns + d.Here.Templates, d.There.Conns + d.There.Templates})
	}
	for _, why := range syncd.DropReasons {
		s.Dropped[string(why)] = n.Dropped[why]
	}
	for _, l := range p.Stream.Paths {
		s.Links = append(s.Links, SyncLinkStatus{l.Local.String(), l.Path.Peer.String(), l.Connected, l.Since, l.Err})
	}
	return s
}

// nameOfServer is the name of the virtual server that connections are of; empty: it has none.
// An address with its port comes before one with every port.
func nameOfServer(cfg *conf.Config, v syncd.VirtualServer) string {
	every := ""
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		key := vs.Service.Key
		if v.FWMark != 0 || key.FWMark != 0 {
			if v.FWMark == key.FWMark && v.IPv6 == key.IPv6 {
				return vs.Name
			}
			continue
		}
		if syncd.Protocol(key.Protocol) != v.Protocol {
			continue
		}
		for _, to := range vs.Ports() {
			switch {
			case to.Addr != v.Addr.Addr() || !to.Has(v.Addr.Port()):
			case to.First != 0:
				return vs.Name
			default:
				every = vs.Name
			}
		}
	}
	return every
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
