package conf

import (
	"strconv"

	"github.com/hadirector/hadirector/vrrp"
)

// virtualRouter writes [vrrp.NAME]. What has no meaning for it, such as a checksum's
// form over IPv6, is left out, as Parse would not take it.
func (w *writer) virtualRouter(vr VirtualRouter, ds []Director) {
	w.table("vrrp", vr.Name)
	w.text("interface", vr.Interface)
	w.integer("vrid", int64(vr.VRID))
	list(w, "virtual_addresses", vr.VirtualAddresses)
	list(w, "excluded_addresses", vr.ExcludedAddresses)
	w.integer("version", int64(vr.Version))
	if vr.Version == vrrp.Version3 && vr.family() == vrrp.IPv4 {
		w.text("checksum", checksumName(vr.Checksum))
	}
	w.duration("advert_interval", vr.AdvertInterval)
	w.duration("start_delay", vr.StartDelay)
	if vr.Preempt == PreemptWhenReady {
		w.text("preempt", whenReady)
	} else {
		w.value("preempt", vr.Preempt.String())
	}
	w.duration("preempt_delay", vr.PreemptDelay)
	w.value("priority", "{ "+join(ds, func(d Director) string {
		return entry(d.Name, strconv.Itoa(int(vr.Priority[d.Name])))
	})+" }")
	if len(vr.Track) > 0 {
		w.value("track", "{ "+join(vr.Track, func(t Tracking) string { return entry(t.Track, t.String()) })+" }")
	}
	if vr.SyncGroup != "" {
		w.text("sync_group", vr.SyncGroup)
	}
	w.text("on_split", vr.OnSplit.String())
	w.transport(vr, ds)
	w.devices(vr)
	w.boolean("accept", vr.Accept)
	w.value("announce", formatAnnounce(vr.Announce))
	w.duration("link_up_delay", vr.LinkUpDelay)
	w.duration("link_down_delay", vr.LinkDownDelay)
	list(w, "virtual_routes", vr.Routes)
	list(w, "virtual_rules", vr.Rules)
}

// transport writes how advertisements travel and what makes them genuine.
func (w *writer) transport(vr VirtualRouter, ds []Director) {
	w.boolean("unicast", vr.Unicast)
	if vr.Unicast {
		w.integer("unicast_ttl", int64(vr.UnicastTTL))
		w.integer("unicast_min_ttl", int64(vr.UnicastMinTTL))
	}
	var given []Director
	for _, d := range ds {
		if _, ok := vr.Source[d.Name]; ok {
			given = append(given, d)
		}
	}
	if len(given) > 0 {
		w.value("source", "{ "+join(given, func(d Director) string {
			return entry(d.Name, strconv.Quote(vr.Source[d.Name].String()))
		})+" }")
	}
	if vr.Auth.Type == vrrp.AuthPassword {
		w.text("password", hidden(vr.Auth))
	}
	if vr.HMAC != nil {
		w.value("hmac", formatHMAC(vr.HMAC))
	}
}

// devices writes the link of the virtual router's own.
func (w *writer) devices(vr VirtualRouter) {
	if vr.VMAC == nil {
		w.boolean("vmac", false)
		return
	}
	w.text("vmac", vr.VMAC.Link)
	w.boolean("vmac_transmit_base", vr.VMAC.TransmitBase)
}

// entry writes an entry of an inline table.
func entry(name, value string) string { return bareOrQuoted(name) + " = " + value }
