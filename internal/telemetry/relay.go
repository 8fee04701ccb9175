package telemetry

import (
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/syncd"
)

// relay writes how connections get to the other directors and into the kernel.
func (w writer) relay(r *director.RelayStatus) {
	if r == nil {
		return
	}
	w.relayPeers(r.Peers)

	w.gauge("hadirector_sync_table_entries", "Connections and persistence templates that this director remembers for the others, by kind.")
	w.set(float64(r.Connections), "kind", "connection")
	w.set(float64(r.Templates), "kind", "template")
	w.gauge("hadirector_sync_table_limit", "How many of both it remembers at most.")
	w.set(float64(r.MaxConnections))
	w.counter("hadirector_sync_table_evicted_total", "Those that were forgotten to make room for others.")
	w.count(r.Evicted)
	w.counter("hadirector_sync_table_refused_total", "New ones for which there was no room.")
	w.count(r.Refused)

	c := r.Capture
	w.gauge("hadirector_sync_capture_running", "Whether the kernel's master sync daemon is listened to.")
	w.set(flag(c.Running))
	w.counter("hadirector_sync_capture_datagrams_total", "Datagrams of the kernel's master sync daemon.")
	w.count(c.Datagrams)
	w.counter("hadirector_sync_capture_lost_total", "Datagrams that were not heard.")
	w.count(c.Lost)
	w.counter("hadirector_sync_capture_malformed_total", "Datagrams, or connections in them, that were not understood.")
	w.count(c.Malformed)
	w.counter("hadirector_sync_capture_withheld_total", "Connections that the configuration keeps from other directors.")
	w.count(c.Withheld)

	i := r.Inject
	w.gauge("hadirector_sync_inject_running", "Whether the kernel's backup sync daemon is told what other directors tell.")
	w.set(flag(i.Running))
	w.gauge("hadirector_sync_inject_up_to_date", "Whether it was told everything so far.")
	w.set(flag(i.UpToDate))
	w.counter("hadirector_sync_inject_connections_total", "Connections that it was told.")
	w.count(i.Connections)
	w.counter("hadirector_sync_inject_datagrams_total", "Datagrams to it.")
	w.count(i.Datagrams)
	w.counter("hadirector_sync_inject_dropped_total", "Datagrams that its queue has dropped.")
	w.count(i.Dropped)
	w.counter("hadirector_sync_inject_again_total", "Datagrams that were sent to it again.")
	w.count(i.Again)
	w.counter("hadirector_sync_inject_missing_total", "Connections that it was told and the kernel did not have later; it is told again.")
	w.count(i.Missing)
	w.counter("hadirector_sync_inject_restarts_total", "Times that it was told everything from the beginning.")
	w.count(i.Restarts)

	w.counter("hadirector_sync_strangers_refused_total", "Connections to the stream's port that were refused, by reason.")
	for _, reason := range sortedKeys(r.Strangers) {
		w.count(r.Strangers[reason], "reason", reason)
	}
}

// relayPeers writes how this director and each other one stand. A message is about one
// connection or persistence template.
func (w writer) relayPeers(peers []director.SyncPeerStatus) {
	each := func(f func(p director.SyncPeerStatus)) {
		for _, p := range peers {
			f(p)
		}
	}
	w.gauge("hadirector_sync_ready", "Whether both directors were told everything, and have the same connections.")
	each(func(p director.SyncPeerStatus) { w.set(flag(p.State == string(syncd.RelayInSync)), "peer", p.Name) })
	w.gauge("hadirector_sync_complete", "Whether this director's kernel was told everything that the other one knows.")
	each(func(p director.SyncPeerStatus) { w.set(flag(p.Complete), "peer", p.Name) })
	w.gauge("hadirector_sync_lag_seconds", "The age of the oldest change that the other director's kernel has not been told; 0 if there is none.")
	each(func(p director.SyncPeerStatus) { w.set(p.LagMS/1000, "peer", p.Name) })
	w.gauge("hadirector_sync_acknowledgement_seconds", "How long the last change took to the other director's kernel and back.")
	each(func(p director.SyncPeerStatus) { w.set(p.AckMS/1000, "peer", p.Name) })
	w.gauge("hadirector_sync_connections", "Connections and persistence templates on either side.")
	each(func(p director.SyncPeerStatus) {
		w.set(float64(p.Here), "peer", p.Name, "side", "here")
		w.set(float64(p.There), "peer", p.Name, "side", "there")
	})
	w.gauge("hadirector_sync_queued_messages", "Messages that the other director has not acknowledged.")
	each(func(p director.SyncPeerStatus) { w.set(float64(p.QueuedRecords), "peer", p.Name) })
	w.gauge("hadirector_sync_queued_bytes", "What they take.")
	each(func(p director.SyncPeerStatus) { w.set(float64(p.QueuedBytes), "peer", p.Name) })
	for _, m := range []struct {
		name, help string
		value      func(director.SyncPeerStatus) uint64
	}{
		{"hadirector_sync_messages_sent_total", "Messages to the other director, without those that were sent again.", func(p director.SyncPeerStatus) uint64 { return p.Sent }},
		{"hadirector_sync_messages_acked_total", "Messages that the other director's kernel was told.", func(p director.SyncPeerStatus) uint64 { return p.Acked }},
		{"hadirector_sync_messages_resent_total", "Messages that were sent again after a connection was cut.", func(p director.SyncPeerStatus) uint64 { return p.Resent }},
		{"hadirector_sync_messages_received_total", "Messages of the other director.", func(p director.SyncPeerStatus) uint64 { return p.Received }},
	} {
		w.counter(m.name, m.help)
		each(func(p director.SyncPeerStatus) { w.count(m.value(p), "peer", p.Name) })
	}
	w.counter("hadirector_sync_messages_dropped_total", "Messages that were not sent or not taken in, by reason.")
	each(func(p director.SyncPeerStatus) {
		for _, reason := range sortedKeys(p.Dropped) {
			w.count(p.Dropped[reason], "peer", p.Name, "reason", reason)
		}
	})
	w.counter("hadirector_sync_full_resyncs_total", "Times that one director has told the other everything, by direction.")
	each(func(p director.SyncPeerStatus) {
		w.count(p.FullSyncsSent, "peer", p.Name, "direction", "sent")
		w.count(p.FullSyncs, "peer", p.Name, "direction", "received")
	})
	w.gauge("hadirector_sync_last_full_resync_timestamp_seconds", "When that was last done, by direction.")
	each(func(p director.SyncPeerStatus) {
		w.set(seconds(p.LastFullSync), "peer", p.Name, "direction", "sent")
		w.set(seconds(p.LastFullReceived), "peer", p.Name, "direction", "received")
	})
	w.gauge("hadirector_sync_link_connected", "Whether there is a connection from an address of this director to one of the other's.")
	each(func(p director.SyncPeerStatus) {
		for _, l := range p.Links {
			w.set(flag(l.Connected), "peer", p.Name, "from", l.From, "to", l.To)
		}
	})
}
