package ipvs

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// The texts of this file are what `ipvsadm -Ln` prints (ipvsadm 1.31), to the byte.

// Columns are what a listing shows of each service and destination.
type Columns int

// The columns, by the options of `ipvsadm -Ln` that choose them.
const (
	ColumnsPlain          Columns = iota
	ColumnsStats                  // --stats
	ColumnsRate                   // --rate
	ColumnsThresholds             // --thresholds
	ColumnsPersistentConn         // --persistent-conn
	ColumnsTunnel                 // --tun-info
)

// ListFormat is how a listing is printed.
type ListFormat struct {
	Columns Columns
	// Exact prints great counters in full; otherwise they are cut to thousands and
	// more, with K, M, G or T. Only ColumnsStats and ColumnsRate have counters.
	Exact bool
}

// String returns the first line of a listing.
func (i Info) String() string {
	return fmt.Sprintf("IP Virtual Server version %s (size=%d)", i.Version, i.ConnectionTableSize)
}

// Print writes the listing in its order, below the line of titles.
func (l Listing) Print(w io.Writer, f ListFormat) error {
	if _, err := io.WriteString(w, f.titles()); err != nil {
		return err
	}
	for _, s := range l {
		if _, err := io.WriteString(w, f.service(s)); err != nil {
			return err
		}
	}
	return nil
}

// titles are the two lines above the services.
func (f ListFormat) titles() string {
	const local, remote = "Prot LocalAddress:Port", "  -> RemoteAddress:Port"
	wide := func(format string, titles ...any) string {
		return fmt.Sprintf("%-33s"+format+"\n", append([]any{local}, titles...)...) + remote + "\n"
	}
	const counters = " %8s %8s %8s %8s %8s"
	switch f.Columns {
	case ColumnsStats:
		return wide(counters, "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes")
	case ColumnsRate:
		return wide(counters, "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS")
	case ColumnsThresholds:
		return wide(" %-10s %-10s %-10s %-10s", "Uthreshold", "Lthreshold", "ActiveConn", "InActConn")
	case ColumnsPersistentConn:
		return wide(" %-9s %-11s %-10s %-10s", "Weight", "PersistConn", "ActiveConn", "InActConn")
	case ColumnsTunnel:
		return local + " Scheduler Flags\n" + remote + "           Forward TunnelInfo    Weight ActiveConn InActConn\n"
	}
	return local + " Scheduler Flags\n" + remote + "           Forward Weight ActiveConn InActConn\n"
}

// service is a service's line and those of its destinations.
func (f ListFormat) service(s ListedService) string {
	var b strings.Builder
	switch f.Columns {
	case ColumnsStats, ColumnsRate:
		fmt.Fprintf(&b, "%-33s", s.Key.listed())
		for _, n := range f.counters(s.Counters) {
			b.WriteString(f.number(n))
		}
	default:
		b.WriteString(s.Key.listed() + " " + s.Service.listed())
	}
	b.WriteByte('\n')
	for _, d := range s.Destinations {
		fmt.Fprintf(&b, "  -> %-28s", d.Key)
		f.destination(&b, d)
		b.WriteByte('\n')
	}
	return b.String()
}

// destination is what follows a destination's address.
func (f ListFormat) destination(b *strings.Builder, d ListedDestination) {
	c := d.Connections
	switch f.Columns {
	case ColumnsStats:
		for _, n := range f.counters(d.Counters) {
			b.WriteString(f.number(n))
		}
	case ColumnsRate:
		for i, n := range f.counters(d.Counters) {
			if i < 3 { // ipvsadm never cuts these of a destination
				fmt.Fprintf(b, " %8d", n)
			} else {
				b.WriteString(f.number(n))
			}
		}
	case ColumnsThresholds:
		fmt.Fprintf(b, " %-10d %-10d %-10d %-10d", d.UpperThreshold, d.LowerThreshold, c.Active, c.Inactive)
	case ColumnsPersistentConn:
		fmt.Fprintf(b, " %-9d %-11d %-10d %-10d", d.Weight, c.Persistent, c.Active, c.Inactive)
	case ColumnsTunnel:
		fmt.Fprintf(b, " %-7s %-13s %-6d %-10d %-10d", d.Forward.listed(), d.tunnelListed(), d.Weight, c.Active, c.Inactive)
	default:
		fmt.Fprintf(b, " %-7s %-6d %-10d %-10d", d.Forward.listed(), d.Weight, c.Active, c.Inactive)
	}
}

// counters are those that the columns show.
func (f ListFormat) counters(c Counters) [5]uint64 {
	if f.Columns == ColumnsRate {
		return [5]uint64{c.ConnectionRate, c.PacketRateIn, c.PacketRateOut, c.ByteRateIn, c.ByteRateOut}
	}
	return [5]uint64{c.Connections, c.PacketsIn, c.PacketsOut, c.BytesIn, c.BytesOut}
}

// number is a counter with the blank before it, nine characters unless it is longer.
func (f ListFormat) number(n uint64) string {
	switch {
	case f.Exact:
		return fmt.Sprintf(" %8d", n)
	case n < 1e8:
		return fmt.Sprintf("%9d", n)
	case n < 1e9:
		return fmt.Sprintf("%8dK", n/1e3)
	case n < 1e11:
		return fmt.Sprintf("%8dM", n/1e6)
	case n < 1e14:
		return fmt.Sprintf("%8dG", n/1e9)
	}
	return fmt.Sprintf("%8dT", n/1e12)
}

// listed is the key in a listing: "TCP  10.0.0.100:80", "FWM  10 IPv6". A mark above
// 2147483647 is negative there.
func (k ServiceKey) listed() string {
	if k.FWMark == 0 {
		return fmt.Sprintf("%-4s %s", strings.ToUpper(k.Protocol.String()), k.Addr)
	}
	s := fmt.Sprintf("FWM  %d", int32(k.FWMark))
	if k.IPv6 {
		s += " IPv6"
	}
	return s
}

// listed is what follows the key: the scheduler with its flags in brackets, which are
// empty if ipvsadm has no name for a flag, and the persistence.
func (s Service) listed() string {
	s = s.Canonical()
	var b strings.Builder
	b.WriteString(s.Scheduler)
	if s.Flags&(FlagSched1|FlagSched2|FlagSched3) != 0 {
		flags := s.Flags
		if s.Scheduler == "sh" || s.Scheduler == "mh" {
			flags &^= FlagSched3
		}
		b.WriteString(" (" + strings.Join(schedulerFlagNames(s.Scheduler, flags), ",") + ")")
	}
	if s.Flags&FlagPersistent != 0 {
		fmt.Fprintf(&b, " persistent %d", s.Persistence/time.Second)
		if s.PersistenceBits != s.clientBits() {
			b.WriteString(" mask " + s.maskText())
		}
		if s.Engine != "" {
			b.WriteString(" pe " + s.Engine)
		}
	}
	if s.Flags&FlagOnePacket != 0 {
		b.WriteString(" ops")
	}
	return b.String()
}

// listed is the method in a listing.
func (f ForwardMethod) listed() string {
	switch f {
	case ForwardMasq:
		return "Masq"
	case ForwardLocal:
		return "Local"
	case ForwardTunnel:
		return "Tunnel"
	}
	return "Route"
}

// tunnelListed is the tunnel in a listing: "gue:6080:+c", with the checksum as "+c",
// the remote one as "r+c", and none as "-c".
func (d Destination) tunnelListed() string {
	sum := ":-c"
	switch {
	case d.TunnelFlags&TunnelChecksum != 0:
		sum = ":+c"
	case d.TunnelFlags&TunnelRemoteChecksum != 0:
		sum = ":r+c"
	}
	switch {
	case d.Forward != ForwardTunnel:
		return "n/a"
	case d.Tunnel == TunnelGUE:
		return fmt.Sprintf("gue:%d%s", d.TunnelPort, sum)
	case d.Tunnel == TunnelGRE:
		return "gre" + sum
	}
	return d.Tunnel.String()
}

// Rules returns the listing in its order as `ipvsadm -Sn` writes it, one rule per
// line. [ParseSave] reads it back.
func (l Listing) Rules() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString("-A " + s.Service.String() + "\n")
		for _, d := range s.Destinations {
			b.WriteString("-a " + s.Key.args() + " " + d.Destination.String() + "\n")
		}
	}
	return b.String()
}

// String returns the timeouts as `ipvsadm -Ln --timeout` prints them.
func (t Timeouts) String() string {
	return fmt.Sprintf("Timeout (tcp tcpfin udp): %d %d %d", t.TCP/time.Second, t.TCPFin/time.Second, t.UDP/time.Second)
}
