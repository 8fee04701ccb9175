package ipvs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

// listed are services as a kernel lists them, with some counts.
func listed(t *testing.T) ipvs.Listing {
	t.Helper()
	table := mustParse(t, `
-A -f 4294967295 -s rr
-A -t 10.0.0.100:7 -s wrr
-a -t 10.0.0.100:7 -r 10.0.0.22:7 -g -w 2
-a -t 10.0.0.100:7 -r 10.0.0.21:7 -g -w 1
-A -t 10.0.0.100:81 -s wlc
-a -t 10.0.0.100:81 -r [fd00::1]:81 -i -w 65535 --tun-type ipip
-a -t 10.0.0.100:81 -r 10.0.0.22:81 -i -w 0 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.0.0.100:81 -r 10.0.0.23:81 -i -w 0 --tun-type gue --tun-port 65535 --tun-remcsum
-a -t 10.0.0.100:81 -r 10.0.0.24:81 -i -w 0 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.0.0.100:81 -r 10.0.0.25:81 -i -w 0 --tun-type gre --tun-csum
-a -t 10.0.0.100:81 -r 10.0.0.26:81 -i -w 65535 --tun-type gre --tun-nocsum
-A -t 10.0.0.100:8007 -s rr -p 300 -M 255.255.255.0
-a -t 10.0.0.100:8007 -r 10.0.0.21:7 -m -w 1
-A -t 10.0.0.101:0 -s mh -p 360 -M 255.0.255.0 -b mh-fallback,mh-port
-A -t 10.0.0.103:80 -s sh -b sh-fallback,flag-3
-a -t 10.0.0.103:80 -r 10.0.0.21:80 -m -w 1 -x 4294967 -y 5
-A -t 10.0.0.104:80 -s mh -b flag-3
-A -u 10.0.0.100:5060 -s rr -p 360 --pe sip -o -b flag-3
-A --sctp-service 10.0.0.102:80 -s lc
-A -t [fd00::100]:80 -s rr -p 300 -M 64
-a -t [fd00::100]:80 -r [2001:db8:1234:5678:9abc:def0:1234:5678]:80 -g -w 0
-A -f 11 -6 -s rr -p 5
-a -f 11 -6 -r [fd00::21]:0 -g -w 1
`)
	var l ipvs.Listing
	for _, e := range table.All() {
		s := ipvs.ListedService{Service: e.Service}
		for _, d := range e.All() {
			s.Destinations = append(s.Destinations, ipvs.ListedDestination{Destination: d})
		}
		l = append(l, s)
	}
	if !l.Table().Equal(table) {
		t.Errorf("the listing's table is\n%s", l.Table())
	}
	l.Sort()
	echo := &l[1]
	echo.Destinations[0].Connections = ipvs.Connections{Active: 2, Inactive: 70000, Persistent: 3}
	echo.Counters = ipvs.Counters{
		Connections: 5, PacketsIn: 99999999, PacketsOut: 100000000, BytesIn: 123456789012, BytesOut: 123456789012345,
		ConnectionRate: 1, PacketRateIn: 999999999, PacketRateOut: 1000000000, ByteRateIn: 99999999999, ByteRateOut: 100000000000,
	}
	echo.Destinations[0].Counters = echo.Counters
	return l
}

// Without the lines that have counts or thresholds in them this is what ipvsadm 1.31
// printed for the table.
func TestListingPrint(t *testing.T) {
	for _, tt := range []struct {
		name   string
		format ipvs.ListFormat
		want   string
	}{
		{"plain", ipvs.ListFormat{}, `Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
FWM  -1 rr
TCP  10.0.0.100:7 wrr
  -> 10.0.0.21:7                  Route   1      2          70000     .
  -> 10.0.0.22:7                  Route   2      0          0         .
TCP  10.0.0.100:81 wlc
  -> [fd00::1]:81                 Tunnel  65535  0          0         .
  -> 10.0.0.22:81                 Tunnel  0      0          0         .
  -> 10.0.0.23:81                 Tunnel  0      0          0         .
  -> 10.0.0.24:81                 Tunnel  0      0          0         .
  -> 10.0.0.25:81                 Tunnel  0      0          0         .
  -> 10.0.0.26:81                 Tunnel  65535  0          0         .
TCP  10.0.0.100:8007 rr persistent 300 mask 255.255.255.0
  -> 10.0.0.21:7                  Masq    1      0          0         .
TCP  10.0.0.101:0 mh (mh-fallback,mh-port) persistent 360 mask 255.0.255.0
TCP  10.0.0.103:80 sh (sh-fallback)
  -> 10.0.0.21:80                 Masq    1      0          0         .
TCP  10.0.0.104:80 mh ()
UDP  10.0.0.100:5060 rr (flag-3) persistent 360 pe sip ops
SCTP 10.0.0.102:80 lc
TCP  [fd00::100]:80 rr persistent 300 mask 64
  -> [2001:db8:1234:5678:9abc:def0:1234:5678]:80 Route   0      0          0         .
FWM  11 IPv6 rr persistent 5
  -> [fd00::21]:0                 Route   1      0          0         .
`},
		{"stats", ipvs.ListFormat{Columns: ipvs.ColumnsStats}, `Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
FWM  -1                                  0        0        0        0        0
TCP  10.0.0.100:7                        5 99999999  100000K     123G     123T
  -> 10.0.0.21:7                         5 99999999  100000K     123G     123T
  -> 10.0.0.22:7                         0        0        0        0        0
`},
		{"stats, exact", ipvs.ListFormat{Columns: ipvs.ColumnsStats, Exact: true}, `Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
FWM  -1                                  0        0        0        0        0
TCP  10.0.0.100:7                        5 99999999 100000000 123456789012 123456789012345
  -> 10.0.0.21:7                         5 99999999 100000000 123456789012 123456789012345
  -> 10.0.0.22:7                         0        0        0        0        0
`},
		{"rate", ipvs.ListFormat{Columns: ipvs.ColumnsRate}, `Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
FWM  -1                                  0        0        0        0        0
TCP  10.0.0.100:7                        1  999999K    1000M   99999M     100G
  -> 10.0.0.21:7                         1 999999999 1000000000   99999M     100G
  -> 10.0.0.22:7                         0        0        0        0        0
`},
		{"thresholds", ipvs.ListFormat{Columns: ipvs.ColumnsThresholds}, `Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn .
  -> RemoteAddress:Port
FWM  -1 rr
TCP  10.0.0.100:7 wrr
  -> 10.0.0.21:7                  0          0          2          70000     .
  -> 10.0.0.22:7                  0          0          0          0         .
`},
		{"thresholds that are set", ipvs.ListFormat{Columns: ipvs.ColumnsThresholds}, `TCP  10.0.0.103:80 sh (sh-fallback)
  -> 10.0.0.21:80                 4294967    5          0          0         .
`},
		{"persistent connections", ipvs.ListFormat{Columns: ipvs.ColumnsPersistentConn}, `Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn .
  -> RemoteAddress:Port
FWM  -1 rr
TCP  10.0.0.100:7 wrr
  -> 10.0.0.21:7                  1         3           2          70000     .
  -> 10.0.0.22:7                  2         0           0          0         .
`},
		{"tunnels", ipvs.ListFormat{Columns: ipvs.ColumnsTunnel}, `Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn
FWM  -1 rr
TCP  10.0.0.100:7 wrr
  -> 10.0.0.21:7                  Route   n/a           1      2          70000     .
  -> 10.0.0.22:7                  Route   n/a           2      0          0         .
TCP  10.0.0.100:81 wlc
  -> [fd00::1]:81                 Tunnel  ipip          65535  0          0         .
  -> 10.0.0.22:81                 Tunnel  gue:6080:+c   0      0          0         .
  -> 10.0.0.23:81                 Tunnel  gue:65535:r+c 0      0          0         .
  -> 10.0.0.24:81                 Tunnel  gue:6080:-c   0      0          0         .
  -> 10.0.0.25:81                 Tunnel  gre:+c        0      0          0         .
  -> 10.0.0.26:81                 Tunnel  gre:-c        65535  0          0         .
TCP  10.0.0.100:8007 rr persistent 300 mask 255.255.255.0
  -> 10.0.0.21:7                  Masq    n/a           1      0          0         .
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if err := listed(t).Print(&b, tt.format); err != nil {
				t.Fatal(err)
			}
			// A dot stands where lines end in a blank.
			got := strings.ReplaceAll(b.String(), " \n", " .\n")
			if tt.name == "plain" && got != tt.want || !strings.Contains(got, tt.want) {
				t.Errorf("(-want +got):\n%s", cmp.Diff(strings.Split(tt.want, "\n"), strings.Split(got, "\n")))
			}
		})
	}
}

func TestListingRules(t *testing.T) {
	want := []string{
		"-A -f 4294967295 -s rr",
		"-A -t 10.0.0.100:7 -s wrr",
		"-a -t 10.0.0.100:7 -r 10.0.0.21:7 -g -w 1",
		"-a -t 10.0.0.100:7 -r 10.0.0.22:7 -g -w 2",
	}
	got := strings.Split(listed(t).Rules(), "\n")
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again := mustParse(t, listed(t).Rules())
	if diff := cmp.Diff(listed(t).Table().String(), again.String()); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
}

// ipvsadm has a name for the method, and no option.
func TestLocalDestinationIsSavedAsDirectRouting(t *testing.T) {
	d := ipvs.Destination{Key: addr("10.0.0.1:80"), Forward: ipvs.ForwardLocal, Weight: 1}
	if got := d.String(); got != "-r 10.0.0.1:80 -g -w 1" {
		t.Errorf("got %s", got)
	}
	l := ipvs.Listing{{Service: ipvs.Service{Key: tcp("10.0.0.100:80"), Scheduler: "rr"}, Destinations: []ipvs.ListedDestination{{Destination: d}}}}
	var b strings.Builder
	if err := l.Print(&b, ipvs.ListFormat{}); err != nil || !strings.Contains(b.String(), "  -> 10.0.0.1:80                  Local   1      0          0         \n") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

func TestInfoAndTimeoutsString(t *testing.T) {
	if got := (ipvs.Info{Version: "1.2.1", ConnectionTableSize: 4096}).String(); got != "IP Virtual Server version 1.2.1 (size=4096)" {
		t.Errorf("got %s", got)
	}
	timeouts := ipvs.Timeouts{TCP: 900 * time.Second, TCPFin: 2 * time.Minute, UDP: 300 * time.Second}
	if got := timeouts.String(); got != "Timeout (tcp tcpfin udp): 900 120 300" {
		t.Errorf("got %s", got)
	}
}
