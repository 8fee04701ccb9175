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
				addr("10.0.0.22:80"): { // a tunnel does not change the port
					Key: addr("10.0.0.22:80"), Forward: ipvs.ForwardTunnel, Weight: 3, UpperThreshold: 10, LowerThreshold: 5,
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
-A -u10.0.0.100:53 -srr -p=60 -M255.0.255.0
-at 10.0.0.100:80 -r10.0.0.23:8080 -iw2 --tun-type=gre
`)
	want := `-A -t 10.0.0.100:80 -s wlc
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -m -w 5
-a -t 10.0.0.100:80 -r 10.0.0.23:80 -i -w 2 --tun-type gre --tun-nocsum
-A -t 10.0.0.100:443 -s wlc -p 360
-A -t 10.0.0.101:0 -s rr -p 360
-A -u 10.0.0.100:53 -s rr -p 60 -M 255.0.255.0
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
		{"no command", "-t 10.0.0.100:80", "1:1: a rule is either -A (a service) or -a (a real server)"},
		{"both commands", "  -A -a -t 10.0.0.100:80", "1:3: a rule is either -A (a service) or -a (a real server)"},
		{"another command", "-C", "1:1: -C is not read here, only -A and -a, which add"},
		{"another command by its long name", "ipvsadm --set 1 2 3", "1:9: --set is not read here, only -A and -a, which add"},
		{"unknown option", web + "-A -t 10.0.0.100:80 -z 1", "2:21: -z 1: not an option of an ipvsadm rule"},
		{"not an option", "-A -t 10.0.0.100:80 rr", "1:21: rr needs a value, or is not an option of an ipvsadm rule"},
		{"value missing", "-A -t", "1:4: -t needs a value, or is not an option of an ipvsadm rule"},
		{"no service", "-A -s rr", "1:1: the service is missing: -t, -u, --sctp-service or -f"},
		{"two services", "-A -t 10.0.0.100:80 -f 3", "1:21: the service is named more than once: --tcp-service, --fwmark-service"},
		{"option twice", "-A -t 10.0.0.100:80 -s rr -s rr", "1:27: -s is given twice"},
		{"names", "-A -t web:http", "1:7: -t web:http: not a numeric address and port (ipvsadm -S needs -n)"},
		{"zone", "-A -t [fe80::1%eth0]:80", "1:7: -t [fe80::1%eth0]:80: IPVS knows no address zones"},
		{"mark 0", "-A -f 0", "1:7: -f 0: not a firewall mark from 1 to 4294967295"},
		{"mark too great", "-A -f 4294967296", "1:7: -f 4294967296: not a firewall mark from 1 to 4294967295"},
		{"joined to a short option", "-A -f0", "1:6: -f 0: not a firewall mark from 1 to 4294967295"},
		{"joined to a short option by a sign", "-A -f=0", "1:7: -f 0: not a firewall mark from 1 to 4294967295"},
		{"joined to a long option", "-A --fwmark-service=0", "1:21: --fwmark-service 0: not a firewall mark from 1 to 4294967295"},
		{"characters that are more bytes", "-A -s\u00a0é -f 0", "1:12: -f 0: not a firewall mark from 1 to 4294967295"},
		{"family of an address", "-A -t 10.0.0.100:80 -6", "1:21: -6 is for firewall marks only"},
		{"timeout 0", "-A -t 10.0.0.100:80 -p 0", "1:24: -p 0: not a number from 1 to 2147483647"},
		{"mask without persistence", "-A -t 10.0.0.100:80 -M 255.0.0.0", "1:21: -M has no meaning without -p"},
		{"length as IPv4 mask", "-A -t 10.0.0.100:80 -p -M 24", "1:27: -M 24: not a dotted mask"},
		{"IPv6 mask", "-A -t [fd00::1]:80 -p -M 129", "1:26: -M 129: not a number from 1 to 128"},
		{"flags of another scheduler", "-A -t 10.0.0.100:80 -s sh -b mh-port", `1:30: -b mh-port: scheduler sh has no flag "mh-port", it has flag-1, flag-2, flag-3, sh-fallback, sh-port`},
		{"long name", "-A -t 10.0.0.100:80 -s abcdefghijklmnop", "1:24: -s abcdefghijklmnop: not a name of 1 to 15 bytes"},
		{"service twice", web + web, "2:1: tcp 10.0.0.100:80 is defined twice"},
		{"real server option of a service", "-A -t 10.0.0.100:80 -w 1", "1:21: --weight has no meaning with -A"},
		{"service option of a real server", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -s rr", "2:34: --scheduler has no meaning with -a"},
		{"real server missing", web + "-a -t 10.0.0.100:80", "2:1: the real server is missing: -r"},
		{"real server by its name", web + "-a -t 10.0.0.100:80 -r rs-1", "2:24: -r rs-1: not a numeric address and port (ipvsadm -S needs -n)"},
		{"real server twice", web + "-a -t 10.0.0.100:80 -r 10.0.0.21\n-a -t 10.0.0.100:80 -r 10.0.0.21:80", "3:24: real server 10.0.0.21:80 is defined twice for tcp 10.0.0.100:80"},
		{"service of another line missing", web + "-a -u 10.0.0.100:80 -r 10.0.0.21", "2:1: udp 10.0.0.100:80: the service is not defined above"},
		{"forwarding twice", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -m", "2:37: the forwarding method is given more than once: --masquerading, --gatewaying"},
		{"weight", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -w 2147483648", "2:37: -w 2147483648: not a number from 0 to 2147483647"},
		{"negative weight", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -w -1", "2:37: -w -1: not a number from 0 to 2147483647"},
		{"thresholds", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -x 1 -y 2", "2:42: the lower threshold is above the upper one"},
		{"tunnel type", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -i --tun-type vxlan", "2:48: --tun-type vxlan: not one of ipip, gue, gre"},
		{"gue without a port", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -i --tun-type gue", "2:48: a gue tunnel needs --tun-port"},
		{"mixed families", web + "-a -t 10.0.0.100:80 -r [fd00::1]:80 -m", "2:24: service and real server are of different families, which only tunnels can cross (-i)"},
		{"flag with a value", "-A -t 10.0.0.100:80 --ops=1", "1:21: --ops takes no value"},
		{"short flag with a value", "-A -t 10.0.0.100:80 -o=1", "1:21: -o takes no value"},
		{"all mistakes, without those that follow from others", "-A -t 10.0.0.100:80 -s\n-a -t 10.0.0.100:80 -r 10.0.0.21\n\n-A -f 0", "1:21: -s needs a value, or is not an option of an ipvsadm rule\n4:7: -f 0: not a firewall mark from 1 to 4294967295"},
		{"a missing service beside a mistake elsewhere", "-A -t 10.0.0.100:80 -p 0\n-a -t 10.0.0.100:80 -r 10.0.0.21\n-a -t 10.0.0.101:80 -r 10.0.0.21", "1:24: -p 0: not a number from 1 to 2147483647\n3:1: tcp 10.0.0.101:80: the service is not defined above"},
		{"a service whose address was refused may be any", "-A -t web:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21", "1:7: -t web:80: not a numeric address and port (ipvsadm -S needs -n)"},
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
	if err == nil || err.Error() != "2:1: the line is too long" {
		t.Errorf("got %v", err)
	}
}

// Whatever ParseSave takes, printing and reading it again changes nothing.
func FuzzParseSave(f *testing.F) {
	f.Add(saved)
	f.Add("ipvsadm --add-service --tcp-service 10.0.0.100:80 --scheduler=wlc # c\n-a -t 10.0.0.100:80 -r 10.0.0.21")
	f.Add("-A -f -1 -p\n-a -f -1 -r 10.0.0.1")
	f.Add("-A -t 10.0.0.1:0 -p 5 -M 128.0.0.0\n-a -t 10.0.0.1:0 -r ::1 -i --tun-type gre --tun-csum")
	f.Add("-A -t 10.0.0.1 -p=9 -M0.0.0.0\n-at 10.0.0.1 -r10.0.0.2 -iw3 --tun-type=gre")
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

func TestParseServiceKey(t *testing.T) {
	for _, key := range []ipvs.ServiceKey{
		tcp("10.0.0.100:80"), ipvs.AddrKey(ipvs.UDP, addr("[fd00::100]:53")), ipvs.AddrKey(ipvs.SCTP, addr("10.0.0.100:0")),
		ipvs.FWMarkKey(10, false), ipvs.FWMarkKey(1<<32-1, true),
	} {
		if got, err := ipvs.ParseServiceKey(key.String()); err != nil || got != key {
			t.Errorf("%s: got %v, %v", key, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                    "no service is named",
		"10.0.0.100:80":       `"10.0.0.100:80" is no service without its protocol: "tcp 10.0.0.100:80"`,
		"web":                 `"web" is no service: "tcp 10.0.0.100:80" or "fwmark 10" would be one`,
		"icmp 10.0.0.100:80":  `"icmp 10.0.0.100:80" is no service: "tcp 10.0.0.100:80" or "fwmark 10" would be one`,
		"tcp web":             "web: not a numeric address and port (ipvsadm -S needs -n)",
		"tcp 10.0.0.100:80 x": `"tcp 10.0.0.100:80 x" is no service: "tcp 10.0.0.100:80" or "fwmark 10" would be one`,
		"fwmark 0":            "0: not a firewall mark from 1 to 4294967295",
		"fwmark 10 ipv4":      `"fwmark 10 ipv4" is no service: "tcp 10.0.0.100:80" or "fwmark 10" would be one`,
	} {
		if _, err := ipvs.ParseServiceKey(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
