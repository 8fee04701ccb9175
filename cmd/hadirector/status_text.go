package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

// writeStatus writes a status for a person with 80 columns.
func writeStatus(w io.Writer, s director.Status) error {
	var b bytes.Buffer
	ready := "ready"
	if !s.Ready {
		ready = "not ready"
	}
	fmt.Fprintf(&b, "%s  %s, up %s, version %s, configuration %s\n", s.Director, ready, age(s.At, s.Started), s.Version, s.Config.Hash)
	for _, why := range s.NotReady {
		fmt.Fprintf(&b, "       not ready: %s\n", why)
	}
	if r := s.Config.LastReload; !r.OK {
		fmt.Fprintf(&b, "last reload failed %s ago: %s\n", age(s.At, r.At), r.Error)
	}
	writeRouters(&b, s)
	writeTracks(&b, s)
	writeVirtualServers(&b, s)
	writeLeaving(&b, s)
	writeUnnamed(&b, s)
	writeParameters(&b, s)
	writeKernel(&b, s)
	writePeers(&b, s)
	_, err := w.Write(b.Bytes())
	return err
}

func writeRouters(b *bytes.Buffer, s director.Status) {
	if len(s.VirtualRouters) == 0 {
		return
	}
	fmt.Fprintln(b)
	t := newTable(b, "VIRTUAL ROUTER", "STATE", "FOR", "PRIO", "MASTER", "INTERFACE", "VRID", "ADDRESSES")
	for _, r := range s.VirtualRouters {
		master := r.Master
		if master == "" {
			master = "-"
		}
		first, others := "-", []netip.Prefix(nil)
		if len(r.VirtualAddresses) > 0 {
			first, others = r.VirtualAddresses[0].String(), r.VirtualAddresses[1:]
		}
		t.row(r.Name, r.State, age(s.At, r.Since), r.Priority, master, r.Interface, r.VRID, first)
		for _, a := range others {
			t.row("", "", "", "", "", "", "", a)
		}
	}
	t.flush()
	for _, r := range s.VirtualRouters {
		switch {
		case r.Detail == "":
		case r.Reason == string(vrrp.ReasonGroup):
			fmt.Fprintf(b, "  %s: %s %s, of the same sync group\n", r.Name, r.State, r.Detail)
		default:
			fmt.Fprintf(b, "  %s: %s\n", r.Name, r.Detail)
		}
		writeRole(b, r)
		writeWitness(b, r)
		if r.AddressError != "" {
			fmt.Fprintf(b, "  %s: ADDRESSES NOT WRITTEN: %s\n", r.Name, r.AddressError)
		}
		for _, f := range r.Failures {
			fmt.Fprintf(b, "  %s: FAILS: %s\n", r.Name, f)
		}
		if r.Mismatch != "" {
			fmt.Fprintf(b, "  %s: the peer's differs: %s\n", r.Name, r.Mismatch)
		}
		discarded := maps.Clone(r.Counters.Discarded)
		delete(discarded, "vrid") // those of other virtual routers on the segment: nothing is wrong
		if n := sum(discarded); n > 0 {
			fmt.Fprintf(b, "  %s: %d adverts discarded (%s)\n", r.Name, n, counts(discarded))
		}
	}
}

// writeTracks lists what decides about the priorities besides the configuration.
func writeTracks(b *bytes.Buffer, s director.Status) {
	if len(s.Tracks) == 0 {
		return
	}
	fmt.Fprintln(b)
	t := newTable(b, "TRACK", "TYPE", "STATUS", "FOR", "VALUE")
	for _, tr := range s.Tracks {
		value := "-"
		if tr.Value != nil {
			value = fmt.Sprint(*tr.Value)
		}
		t.row(tr.Name, tr.Type, tr.Status, age(s.At, tr.Since), value)
	}
	t.flush()
	for _, tr := range s.Tracks {
		if tr.Cause != "" {
			fmt.Fprintf(b, "  %s: %s\n", tr.Name, tr.Cause)
		}
	}
}

// writeRole says what about a virtual router's role an operator should know.
func writeRole(b *bytes.Buffer, r director.RouterStatus) {
	for _, t := range r.Tracks {
		switch {
		case t.Fault && strings.Contains(r.Detail, "track "+t.Track+" "): // said above
		case t.Fault:
			fmt.Fprintf(b, "  %s: does not take part: track %s %s\n", r.Name, t.Track, t.Why)
		default:
			fmt.Fprintf(b, "  %s: priority %d, %+d: track %s %s\n", r.Name, r.BasePriority, t.Weight, t.Track, t.Why)
		}
	}
	if r.Lowered != "" {
		fmt.Fprintf(b, "  %s: priority lowered: %s\n", r.Name, r.Lowered)
	}
	if !r.SwitchedOver.IsZero() {
		fmt.Fprintf(b, "  %s: switched over at %s: is not taken back while the Master lives\n", r.Name, r.SwitchedOver.Format(time.DateTime))
	}
	if r.HoldsBack != "" {
		fmt.Fprintf(b, "  %s: %s\n", r.Name, r.HoldsBack)
	}
	if r.HandingOver {
		fmt.Fprintf(b, "  %s: handing over, no other director has taken it yet\n", r.Name)
	}
	if r.Held {
		fmt.Fprintf(b, "  %s: THE MASTER IS SILENT, not taken over (on_split = \"hold\")\n", r.Name)
	}
	if r.Unguarded != "" {
		fmt.Fprintf(b, "  %s: %s\n", r.Name, r.Unguarded)
	}
}

// where is a virtual server's address. Of a firewall mark it is the mark and who gets it.
func where(v director.VirtualStatus) string {
	if marked := strings.Join(v.Addresses, ", "); marked != "" && marked != v.Address {
		return v.Address + " (" + marked + ")"
	}
	return v.Address
}

func writeVirtualServers(b *bytes.Buffer, s director.Status) {
	for _, v := range s.VirtualServers {
		fmt.Fprintf(b, "\nvirtual server %s  %s %s %s, %d of %d up", v.Name, v.Protocol, where(v), v.Scheduler, v.Up, len(v.RealServers)-sorryServers(v))
		switch v.Serves {
		case "sorry-server":
			fmt.Fprint(b, ", SORRY SERVER SERVES")
		case "backup-servers":
			fmt.Fprint(b, ", BACKUPS SERVE")
		}
		fmt.Fprintln(b)
		if v.Panic {
			fmt.Fprintln(b, "  PANIC: FAILING REAL SERVERS STAY IN")
		}
		t := newTable(b, "  REAL SERVER", "ADDRESS", "FWD", "WEIGHT", "STATUS", "FOR", "ACTIVE", "INACT")
		for _, r := range v.RealServers {
			status := r.Status
			if r.SorryServer {
				status = "sorry"
			}
			weight := fmt.Sprint(r.Weight)
			if disabled(r) {
				weight = "-"
			}
			t.row("  "+r.Name, r.Address, r.Forward, weight, status, age(s.At, r.Since), r.Active, r.Inactive)
		}
		t.flush()
		for _, r := range v.RealServers {
			writeChecks(b, r)
			writeViews(b, s.At, r)
			if r.Override != nil {
				fmt.Fprintf(b, "  %s: %s\n", r.Name, overrideText(s.At, s.Director, r))
			}
			if r.InPool && !r.InTable {
				fmt.Fprintf(b, "  %s: NOT IN THE KERNEL'S TABLE\n", r.Name)
			}
		}
	}
}

func sorryServers(v director.VirtualStatus) int {
	n := 0
	for _, r := range v.RealServers {
		if r.SorryServer {
			n++
		}
	}
	return n
}

func writeKernel(b *bytes.Buffer, s director.Status) {
	fmt.Fprintln(b)
	switch {
	case !s.IPVS.InSync:
		fmt.Fprint(b, "ipvs   NOT as configured")
	case len(s.VirtualServers) == 0:
		fmt.Fprint(b, "ipvs   no virtual servers")
	default:
		fmt.Fprint(b, "ipvs   as configured")
	}
	if !s.IPVS.ReadAt.IsZero() {
		fmt.Fprintf(b, ", read %s ago", age(s.At, s.IPVS.ReadAt))
	}
	if s.IPVS.Repaired > 0 {
		fmt.Fprintf(b, ", %d foreign changes repaired", s.IPVS.Repaired)
	}
	fmt.Fprintln(b)
	for _, e := range s.IPVS.Errors {
		fmt.Fprintf(b, "       %s\n", e)
	}
	if s.Sync == nil {
		return
	}
	writeSync(b, s.At, s.Sync)
}

// writeParameters lists the kernel parameters that the configuration asks for.
func writeParameters(b *bytes.Buffer, s director.Status) {
	if len(s.Parameters) == 0 {
		return
	}
	fmt.Fprintln(b)
	t := newTable(b, "KERNEL PARAMETER", "VALUE", "WANTED", "WAS")
	for _, p := range s.Parameters {
		t.row(p.Parameter, cmp.Or(p.Value, "-"), p.Wanted, cmp.Or(p.Was, "-"))
	}
	t.flush()
	for _, p := range s.Parameters {
		switch {
		case p.Error != "":
			fmt.Fprintf(b, "  %s: NOT SET: %s\n", p.Parameter, p.Error)
		case !p.OK:
			fmt.Fprintf(b, "  %s: NOT SET\n", p.Parameter)
		}
		fmt.Fprintf(b, "  %s: %s\n", p.Parameter, p.Reason)
	}
	if s.ParametersRepaired > 0 {
		fmt.Fprintf(b, "  %d foreign changes repaired\n", s.ParametersRepaired)
	}
}

func writePeers(b *bytes.Buffer, s director.Status) {
	for _, p := range s.Peers {
		if !p.Alive {
			state := "LOST for " + age(s.At, p.Since)
			switch {
			case p.LastSeen.IsZero():
				state = "never seen"
			case p.Left:
				state = "stopped for " + age(s.At, p.Since)
			}
			fmt.Fprintf(b, "peer   %s %s %s%s\n", p.Name, p.Address, state, because(p.Why))
			continue
		}
		fmt.Fprintf(b, "peer   %s %s alive for %s, version %s%s\n", p.Name, p.Address, age(s.At, p.Since), p.Version, roles(p.Roles))
		switch p.LiveChanges {
		case director.LiveChangesOnTheWay:
			fmt.Fprintln(b, "       live changes are on their way")
		case director.LiveChangesNotShared:
			fmt.Fprintln(b, "       DOES NOT SHARE LIVE CHANGES: make them there too")
		}
		switch p.Views {
		case director.ViewsOther:
			fmt.Fprintln(b, "       checks other real servers: its verdicts are not compared")
		case director.ViewsUnreadable:
			fmt.Fprintln(b, "       its verdicts on real servers cannot be read")
		}
		switch {
		case p.SameConfig:
			fmt.Fprintf(b, "       same configuration\n")
		case len(p.Differs) == 0:
			fmt.Fprintf(b, "       DIFFERENT CONFIGURATION %s\n", p.ConfigHash)
		default:
			fmt.Fprintf(b, "       DIFFERENT CONFIGURATION %s, first differing keys:\n", p.ConfigHash)
			for _, key := range p.Differs {
				fmt.Fprintf(b, "         %s\n", key)
			}
		}
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func roles(m map[string]string) string {
	var list []string
	for name, state := range m {
		list = append(list, state+" of "+name)
	}
	if len(list) == 0 {
		return ""
	}
	slices.Sort(list)
	return ", " + strings.Join(list, ", ")
}

func sum(m map[string]uint64) uint64 {
	var n uint64
	for _, v := range m {
		n += v
	}
	return n
}

func counts(m map[string]uint64) string {
	var list []string
	for k, v := range m {
		if v > 0 {
			list = append(list, fmt.Sprintf("%s %d", k, v))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// age is the time between two moments as operators say it: the two largest units.
func age(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	switch d := max(0, now.Sub(then)); {
	case d < 10*time.Second:
		return d.Truncate(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// table aligns rows of cells.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, heads ...any) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(heads...)
	return t
}

func (t table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		fmt.Fprint(t.w, c)
	}
	fmt.Fprintln(t.w)
}

func (t table) flush() { t.w.Flush() }
