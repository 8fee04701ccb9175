package ipvs_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func tcp(s string) ipvs.ServiceKey { return ipvs.AddrKey(ipvs.TCP, addr(s)) }

func TestServiceKeyString(t *testing.T) {
	for _, tt := range []struct {
		key  ipvs.ServiceKey
		want string
	}{
		{tcp("10.0.0.100:80"), "tcp 10.0.0.100:80"},
		{ipvs.AddrKey(ipvs.UDP, addr("[fd00::100]:53")), "udp [fd00::100]:53"},
		{ipvs.AddrKey(ipvs.SCTP, addr("10.0.0.100:80")), "sctp 10.0.0.100:80"},
		{ipvs.FWMarkKey(10, false), "fwmark 10"},
		{ipvs.FWMarkKey(10, true), "fwmark 10 ipv6"},
		{tcp("[::ffff:10.0.0.100]:80"), "tcp 10.0.0.100:80"},
	} {
		if got := tt.key.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// The lines are what ipvsadm 1.31 printed for the same table, except for those that
// say what ipvsadm does not save.
func TestServiceString(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    ipvs.Service
		want string
	}{
		{"plain", ipvs.Service{Key: tcp("10.0.0.100:80"), Scheduler: "wrr"}, "-t 10.0.0.100:80 -s wrr"},
		{"persistent", ipvs.Service{
			Key: tcp("10.0.0.100:80"), Scheduler: "wrr", Flags: ipvs.FlagPersistent,
			Persistence: 300 * time.Second, PersistenceBits: 32,
		}, "-t 10.0.0.100:80 -s wrr -p 300"},
		{"a timeout without persistence has no effect", ipvs.Service{
			Key: tcp("10.0.0.100:80"), Scheduler: "wrr", Persistence: 300 * time.Second, PersistenceBits: 24,
		}, "-t 10.0.0.100:80 -s wrr"},
		{"client mask and flags", ipvs.Service{
			Key: tcp("10.0.0.101:0"), Scheduler: "mh", Flags: ipvs.FlagPersistent | ipvs.FlagSched1 | ipvs.FlagSched2,
			Persistence: 6 * time.Minute, PersistenceBits: 24,
		}, "-t 10.0.0.101:0 -s mh -p 360 -M 255.255.255.0 -b mh-fallback,mh-port"},
		{"client mask of no whole byte", ipvs.Service{
			Key: tcp("10.0.0.101:0"), Scheduler: "rr", Flags: ipvs.FlagPersistent,
			Persistence: time.Second, PersistenceBits: 9,
		}, "-t 10.0.0.101:0 -s rr -p 1 -M 255.128.0.0"},
		{"IPv6 client mask", ipvs.Service{
			Key: tcp("[fd00::100]:80"), Scheduler: "rr", Flags: ipvs.FlagPersistent,
			Persistence: 300 * time.Second, PersistenceBits: 64,
		}, "-t [fd00::100]:80 -s rr -p 300 -M 64"},
		{"IPv6 single clients", ipvs.Service{
			Key: tcp("[fd00::100]:81"), Scheduler: "rr", Flags: ipvs.FlagPersistent, Persistence: 360 * time.Second,
		}, "-t [fd00::100]:81 -s rr -p 360"},
		{"persistence engine, one packet", ipvs.Service{
			Key: ipvs.AddrKey(ipvs.UDP, addr("10.0.0.101:5060")), Scheduler: "rr", Engine: "sip",
			Flags:       ipvs.FlagPersistent | ipvs.FlagOnePacket | ipvs.FlagSched3,
			Persistence: 6 * time.Minute,
		}, "-u 10.0.0.101:5060 -s rr -p 360 --pe sip -o -b flag-3"},
		{"the kernel's own flag", ipvs.Service{Key: ipvs.FWMarkKey(10, false), Scheduler: "rr", Flags: 0x2}, "-f 10 -s rr"},
		{"IPv6 mark", ipvs.Service{
			Key: ipvs.FWMarkKey(11, true), Scheduler: "rr", Flags: ipvs.FlagPersistent, Persistence: 5 * time.Second,
		}, "-f 11 -6 -s rr -p 5"},
		{"sctp", ipvs.Service{Key: ipvs.AddrKey(ipvs.SCTP, addr("10.0.0.102:80")), Scheduler: "lc"}, "--sctp-service 10.0.0.102:80 -s lc"},
		{"source hash flags", ipvs.Service{
			Key: ipvs.AddrKey(ipvs.UDP, addr("10.0.0.100:53")), Scheduler: "sh",
			Flags: ipvs.FlagOnePacket | ipvs.FlagSched1 | ipvs.FlagSched2,
		}, "-u 10.0.0.100:53 -s sh -o -b sh-fallback,sh-port"},
		{"flag 3 of a source hash, which ipvsadm does not save", ipvs.Service{
			Key: ipvs.AddrKey(ipvs.UDP, addr("10.0.0.101:5062")), Scheduler: "sh", Flags: ipvs.FlagSched1 | ipvs.FlagSched3,
		}, "-u 10.0.0.101:5062 -s sh -b sh-fallback,flag-3"},
		{"great mark, which ipvsadm saves as -1", ipvs.Service{Key: ipvs.FWMarkKey(4294967295, false), Scheduler: "rr"}, "-f 4294967295 -s rr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestDestinationString(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    ipvs.Destination
		want string
	}{
		{"direct routing", ipvs.Destination{Key: addr("10.0.0.21:80"), Forward: ipvs.ForwardDirect, Weight: 2}, "-r 10.0.0.21:80 -g -w 2"},
		{"nat", ipvs.Destination{Key: addr("[fd00::21]:8080"), Forward: ipvs.ForwardMasq, Weight: 70000}, "-r [fd00::21]:8080 -m -w 70000"},
		{"thresholds, which ipvsadm does not save", ipvs.Destination{
			Key: addr("10.0.0.22:80"), Forward: ipvs.ForwardMasq, Weight: 1, UpperThreshold: 10, LowerThreshold: 5,
		}, "-r 10.0.0.22:80 -m -w 1 -x 10 -y 5"},
		{"ipip", ipvs.Destination{
			Key: addr("10.0.0.22:80"), Forward: ipvs.ForwardTunnel, Weight: 1, TunnelPort: 9,
		}, "-r 10.0.0.22:80 -i -w 1 --tun-type ipip"},
		{"gue", ipvs.Destination{
			Key: addr("10.0.0.23:80"), Forward: ipvs.ForwardTunnel, Weight: 1,
			Tunnel: ipvs.TunnelGUE, TunnelPort: 6080, TunnelFlags: ipvs.TunnelRemoteChecksum,
		}, "-r 10.0.0.23:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum"},
		{"gre with checksum", ipvs.Destination{
			Key: addr("10.0.0.25:80"), Forward: ipvs.ForwardTunnel, Weight: 1, Tunnel: ipvs.TunnelGRE, TunnelFlags: ipvs.TunnelChecksum,
		}, "-r 10.0.0.25:80 -i -w 1 --tun-type gre --tun-csum"},
		{"gre", ipvs.Destination{
			Key: addr("10.0.0.26:80"), Forward: ipvs.ForwardTunnel, Weight: 1, Tunnel: ipvs.TunnelGRE,
		}, "-r 10.0.0.26:80 -i -w 1 --tun-type gre --tun-nocsum"},
		{"a tunnel that is not used", ipvs.Destination{
			Key: addr("10.0.0.27:80"), Forward: ipvs.ForwardMasq, Tunnel: ipvs.TunnelGUE, TunnelPort: 6080,
		}, "-r 10.0.0.27:80 -m -w 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.d.String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestOpString(t *testing.T) {
	s := ipvs.Service{Key: tcp("10.0.0.100:80"), Scheduler: "wrr"}
	d := ipvs.Destination{Key: addr("10.0.0.21:80"), Forward: ipvs.ForwardDirect, Weight: 1}
	for want, op := range map[string]ipvs.Op{
		"-A -t 10.0.0.100:80 -s wrr":                  ipvs.AddService{Service: s},
		"-E -t 10.0.0.100:80 -s wrr":                  ipvs.EditService{Service: s},
		"-D -t 10.0.0.100:80":                         ipvs.DeleteService{Key: s.Key},
		"-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1": ipvs.AddDestination{Service: s.Key, Destination: d},
		"-e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1": ipvs.EditDestination{Service: s.Key, Destination: d},
		"-d -t 10.0.0.100:80 -r 10.0.0.21:80":         ipvs.DeleteDestination{Service: s.Key, Key: d.Key},
		"-d -f 11 -6 -r [fd00::21]:0":                 ipvs.DeleteDestination{Service: ipvs.FWMarkKey(11, true), Key: addr("[fd00::21]:0")},
	} {
		if got := op.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// saved is what `ipvsadm -Sn` printed for a table with everything in it, in the
// order of Table.String.
const saved = `-A -t 10.0.0.100:80 -s wrr -p 300
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 2
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -i -w 70000 --tun-type ipip
-a -t 10.0.0.100:80 -r 10.0.0.23:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.0.0.100:80 -r 10.0.0.24:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 10.0.0.100:80 -r 10.0.0.25:80 -i -w 1 --tun-type gre --tun-csum
-a -t 10.0.0.100:80 -r 10.0.0.26:80 -i -w 1 --tun-type gre --tun-nocsum
-a -t 10.0.0.100:80 -r 10.0.0.27:8080 -m -w 1
-a -t 10.0.0.100:80 -r [fd00::1]:80 -i -w 1 --tun-type ipip
-A -t 10.0.0.101:0 -s mh -p 360 -M 255.255.255.0 -b mh-fallback,mh-port
-A -u 10.0.0.100:53 -s sh -o -b sh-fallback,sh-port
-A -u 10.0.0.101:5060 -s rr -p 360 --pe sip -o -b flag-3
-A -u 10.0.0.101:5061 -s rr -b flag-1,flag-2,flag-3
-A -u 10.0.0.101:5062 -s sh -b sh-fallback
-A --sctp-service 10.0.0.102:80 -s lc
-A -t [fd00::100]:80 -s rr -p 300 -M 64
-A -t [fd00::100]:81 -s rr -p 360
-a -t [fd00::100]:81 -r [fd00::21]:81 -m -w 1
-A -f 10 -s rr
-a -f 10 -r 10.0.0.21:0 -g -w 1
-A -f 11 -6 -s rr -p 5
-a -f 11 -6 -r [fd00::21]:0 -g -w 1
`

func TestTableString(t *testing.T) {
	table := mustParse(t, saved)
	if diff := cmp.Diff(saved, table.String()); diff != "" {
		t.Errorf("after a round trip (-saved +printed):\n%s", diff)
	}
}
