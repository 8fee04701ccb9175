package ipvs_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/ipvs"
)

func mustParse(t *testing.T, text string) ipvs.Table {
	t.Helper()
	table, err := ipvs.ParseSave(strings.NewReader(text))
	if err != nil {
		t.Fatalf("ParseSave: %v", err)
	}
	return table
}

func TestParseSaveValues(t *testing.T) {
	got := mustParse(t, `
-A -t 10.0.0.100:80 -s mh -p 300 -M 255.255.255.0 --pe sip -o -b mh-port
-a -t 10.0.0.100:80 -r 10.0.0.22:8080 -i -w 3 -x 10 -y 5 --tun-type gue --tun-port 6080 --tun-csum
-A -f 11 -6 -s rr
`)
	web, mark := tcp("10.0.0.100:80"), ipvs.FWMarkKey(11, true)
	want := ipvs.Table{
		web: {
			Service: ipvs.Service{
				Key: web, Scheduler: "mh", Flags: ipvs.FlagPersistent | ipvs.FlagOnePacket | ipvs.FlagSched2,
				Persistence: 5 * time.Minute, PersistenceBits: 24, Engine: "sip",
			},
			Destinations: map[ipvs.DestinationKey]ipvs.Destination{
				addr("10.0.0.22:8080"): {
					Key: addr("10.0.0.22:8080"), Forward: ipvs.ForwardTunnel, Weight: 3, UpperThreshold: 10, LowerThreshold: 5,
					Tunnel: ipvs.TunnelGUE, TunnelPort: 6080, TunnelFlags: ipvs.TunnelChecksum,
				},
			},
		},
		mark: {Service: ipvs.Service{Key: mark, Scheduler: "rr"}, Destinations: map[ipvs.DestinationKey]ipvs.Destination{}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Files for ipvsadm -R are also written by hand.
func TestParseSaveByHand(t *testing.T) {
	got := mustParse(t, `
# web
ipvsadm --add-service --tcp-service 10.0.0.100:80 --scheduler=wlc   # the default
/sbin/ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.21
-a -t 10.0.0.100:80 -r 10.0.0.22 --masquerading --weight 5
-A -t 10.0.0.100:443 -p
-A -t 10.0.0.101 -p -s rr
-A -f -1
-A -t fd00::100
`)
	want := `-A -t 10.0.0.100:80 -s wlc
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -m -w 5
-A -t 10.0.0.100:443 -s wlc -p 360
-A -t 10.0.0.101:0 -s rr -p 360
-A -t [fd00::100]:0 -s wlc
-A -f 4294967295 -s wlc
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseSaveErrors(t *testing.T) {
	const web = "-A -t 10.0.0.100:80 -s rr\n"
	for _, tt := range []struct{ name, text, want string }{
		{"no command", "-t 10.0.0.100:80", "line 1: a rule is either -A (a service) or -a (a real server)"},
		{"both commands", "-A -a -t 10.0.0.100:80", "line 1: a rule is either -A (a service) or -a (a real server)"},
		{"another command", "-C", "line 1: -C needs a value, or is not an option of an ipvsadm rule"},
		{"unknown option", web + "-A -t 10.0.0.100:80 -z 1", "line 2: -z 1: not an option of an ipvsadm rule"},
		{"not an option", "-A -t 10.0.0.100:80 rr", "line 1: rr needs a value, or is not an option of an ipvsadm rule"},
		{"value missing", "-A -t", "line 1: -t needs a value, or is not an option of an ipvsadm rule"},
		{"no service", "-A -s rr", "line 1: the service is missing: -t, -u, --sctp-service or -f"},
		{"two services", "-A -t 10.0.0.100:80 -f 3", "line 1: the service is named more than once: --tcp-service, --fwmark-service"},
		{"option twice", "-A -t 10.0.0.100:80 -s rr -s rr", "line 1: -s is given twice"},
		{"names", "-A -t web:http", "line 1: -t web:http: not a numeric address and port (ipvsadm -S needs -n)"},
		{"zone", "-A -t [fe80::1%eth0]:80", "line 1: -t [fe80::1%eth0]:80: IPVS knows no address zones"},
		{"mark 0", "-A -f 0", "line 1: -f 0: not a firewall mark from 1 to 4294967295"},
		{"mark too great", "-A -f 4294967296", "line 1: -f 4294967296: not a firewall mark from 1 to 4294967295"},
		{"family of an address", "-A -t 10.0.0.100:80 -6", "line 1: -6 is for firewall marks only"},
		{"timeout 0", "-A -t 10.0.0.100:80 -p 0", "line 1: -p 0: not a number from 1 to 2147483647"},
		{"mask without persistence", "-A -t 10.0.0.100:80 -M 255.0.0.0", "line 1: -M has no meaning without -p"},
		{"mask with holes", "-A -t 10.0.0.100:80 -p -M 255.0.255.0", "line 1: -M 255.0.255.0: not a mask of leading ones"},
		{"length as IPv4 mask", "-A -t 10.0.0.100:80 -p -M 24", "line 1: -M 24: not a dotted mask"},
		{"IPv6 mask", "-A -t [fd00::1]:80 -p -M 129", "line 1: -M 129: not a number from 1 to 128"},
		{"flags of another scheduler", "-A -t 10.0.0.100:80 -s sh -b mh-port", `line 1: -b mh-port: scheduler sh has no flag "mh-port", it has flag-1, flag-2, flag-3, sh-fallback, sh-port`},
		{"long name", "-A -t 10.0.0.100:80 -s abcdefghijklmnop", "line 1: -s abcdefghijklmnop: not a name of 1 to 15 bytes"},
		{"service twice", web + web, "line 2: tcp 10.0.0.100:80 is defined twice"},
		{"real server option of a service", "-A -t 10.0.0.100:80 -w 1", "line 1: --weight has no meaning with -A"},
		{"service option of a real server", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -s rr", "line 2: --scheduler has no meaning with -a"},
		{"real server missing", web + "-a -t 10.0.0.100:80", "line 2: -r : not a numeric address and port (ipvsadm -S needs -n)"},
		{"real server twice", web + "-a -t 10.0.0.100:80 -r 10.0.0.21\n-a -t 10.0.0.100:80 -r 10.0.0.21:80", "line 3: real server 10.0.0.21:80 is defined twice for tcp 10.0.0.100:80"},
		{"service of another line missing", web + "-a -u 10.0.0.100:80 -r 10.0.0.21", "line 2: udp 10.0.0.100:80: the service is not defined above"},
		{"forwarding twice", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -m", "line 2: the forwarding method is given more than once: --masquerading, --gatewaying"},
		{"weight", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -w 2147483648", "line 2: -w 2147483648: not a number from 0 to 2147483647"},
		{"negative weight", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -w -1", "line 2: -w -1: not a number from 0 to 2147483647"},
		{"thresholds", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -x 1 -y 2", "line 2: the lower threshold is above the upper one"},
		{"tunnel type", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -i --tun-type vxlan", "line 2: --tun-type vxlan: not one of ipip, gue, gre"},
		{"gue without a port", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -i --tun-type gue", "line 2: a gue tunnel needs --tun-port"},
		{"mixed families", web + "-a -t 10.0.0.100:80 -r [fd00::1]:80 -m", "line 2: service and real server are of different families, which only tunnels can cross (-i)"},
		{"flag with a value", "-A -t 10.0.0.100:80 --ops=1", "line 1: --ops=1 takes no value"},
		{"all mistakes, without those that follow from others", "-A -t 10.0.0.100:80 -s\n-a -t 10.0.0.100:80 -r 10.0.0.21\n\n-A -f 0", "line 1: -s needs a value, or is not an option of an ipvsadm rule\nline 4: -f 0: not a firewall mark from 1 to 4294967295"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ipvs.ParseSave(strings.NewReader(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseSaveLongLine(t *testing.T) {
	_, err := ipvs.ParseSave(strings.NewReader("-A -f 1\n" + strings.Repeat("x", 1<<17)))
	if err == nil || err.Error() != "line 2: bufio.Scanner: token too long" {
		t.Errorf("got %v", err)
	}
}

// Whatever ParseSave takes, printing and reading it again changes nothing.
func FuzzParseSave(f *testing.F) {
	f.Add(saved)
	f.Add("ipvsadm --add-service --tcp-service 10.0.0.100:80 --scheduler=wlc # c\n-a -t 10.0.0.100:80 -r 10.0.0.21")
	f.Add("-A -f -1 -p\n-a -f -1 -r 10.0.0.1")
	f.Add("-A -t 10.0.0.1:0 -p 5 -M 128.0.0.0\n-a -t 10.0.0.1:0 -r ::1 -i --tun-type gre --tun-csum")
	f.Add("-A -t ::ffff:10.0.0.1 -s sh -b flag-1,sh-port,flag-3")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := ipvs.ParseSave(strings.NewReader(text))
		if err != nil {
			if table != nil {
				t.Errorf("a table beside the error %v", err)
			}
			return
		}
		printed := table.String()
		again, err := ipvs.ParseSave(strings.NewReader(printed))
		if err != nil {
			t.Fatalf("printed as\n%s\nwhich is refused: %v", printed, err)
		}
		if !again.Equal(table) {
			t.Errorf("printed as\n%s\nand read as\n%s", printed, again)
		}
		if got := again.String(); got != printed {
			t.Errorf("printed as\n%s\nthen as\n%s", printed, got)
		}
		for key, e := range table.All() {
			if e.Service.Key != key || e.Service.Canonical() != e.Service {
				t.Errorf("%s: service %v is not in canonical form", key, e.Service)
			}
			for dk, d := range e.All() {
				if d.Key != dk || d.Canonical() != d {
					t.Errorf("%s: destination %v is not in canonical form", key, d)
				}
			}
		}
	})
}
