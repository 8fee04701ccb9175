//go:build ipvs

package ipvsnl

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// script is operations with their outcomes, worked out from ip_vs_ctl.c. It runs
// on the real kernel and on the one in memory, which must agree.
var script = []struct {
	op   ipvs.Op
	want error
}{
	{ipvs.AddService{Service: svc("-A -t 10.0.0.100:80 -s wrr -p 300 -M 255.255.255.0")}, nil},
	{ipvs.AddService{Service: svc("-A -t 10.0.0.100:80 -s rr")}, unix.EEXIST},
	{ipvs.AddService{Service: svc("-A -t 10.0.0.100:81 -s nosuch")}, unix.ENOENT},
	{ipvs.AddService{Service: ipvs.Service{Key: svc("-A -f 9").Key, Scheduler: "rr", Engine: "nosuch"}}, unix.ENOENT},
	{ipvs.EditService{Service: svc("-A -t 10.0.0.100:81 -s rr")}, unix.ESRCH},
	{ipvs.EditService{Service: svc("-A -t 10.0.0.100:80 -s nosuch")}, unix.ENOENT},
	{ipvs.DeleteService{Key: svc("-A -t 10.0.0.100:81").Key}, unix.ESRCH},
	{ipvs.AddService{Service: svc("-A -u 10.0.0.100:80 -s rr -p 360 --pe sip -o -b flag-1,flag-3")}, nil},
	{ipvs.EditService{Service: svc("-A -u 10.0.0.100:80 -s mh -p 360 --pe sip -b mh-fallback,mh-port")}, nil},
	{ipvs.EditService{Service: svc("-A -u 10.0.0.100:80 -s none")}, nil},
	{ipvs.AddService{Service: svc("-A --sctp-service 10.0.0.100:80 -s lc")}, nil},
	{ipvs.AddService{Service: svc("-A -t [fd00::100]:80 -s rr")}, nil},
	{ipvs.AddService{Service: svc("-A -t [fd00::100]:81 -s rr -p 5 -M 64")}, nil},
	{ipvs.EditService{Service: svc("-A -t [fd00::100]:81 -s sh -p 6")}, nil},
	{ipvs.AddService{Service: svc("-A -f 10 -s rr")}, nil},
	{ipvs.AddService{Service: svc("-A -f 10 -6 -s rr -p 7")}, nil},
	{ipvs.AddService{Service: svc("-A -f 4294967295 -s rr")}, nil},
	{ipvs.AddService{Service: svc("-A -t 10.0.0.101:0 -s rr")}, nil},

	{add("-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 2"), nil},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.21:80 -m -w 3"), unix.EEXIST},
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.21:80 -m -w 2147483647 -x 70000 -y 5"), nil},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.22:8080 -m -w 70000"), nil},
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g"), unix.ENOENT},
	{add("-a -t 10.0.0.99:80 -r 10.0.0.23:80 -g"), unix.ESRCH},
	{edit("-a -t 10.0.0.99:80 -r 10.0.0.23:80 -g"), unix.ESRCH},
	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.99:80").Key, Key: netip.MustParseAddrPort("10.0.0.23:80")}, unix.ESRCH},
	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("10.0.0.23:80")}, unix.ENOENT},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.24:80 -i --tun-type gue --tun-port 6080 --tun-csum"), nil},
	// moby/ipvs would reset the tunnel to ipip here.
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.24:80 -i --tun-type gue --tun-port 6080 --tun-csum -w 9"), nil},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.25:80 -i --tun-type gre --tun-csum"), nil},
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.25:80 -i"), nil},
	// moby/ipvs would make 32.1.13.184 of this one.
	{add("-a -t 10.0.0.100:80 -r [2001:db8::1]:80 -i"), nil},
	{add("-a -t [fd00::100]:80 -r 10.0.0.21:80 -i"), nil},
	{add("-a -t [fd00::100]:80 -r [fd00::21]:80 -m -w 0"), nil},
	{edit("-a -t [fd00::100]:80 -r [fd00::21]:80 -g -w 1"), nil},
	{add("-a -f 10 -r 10.0.0.21:0 -g"), nil},
	{add("-a -f 10 -6 -r [fd00::21]:0 -g"), nil},
	{add("-a -f 4294967295 -r 10.0.0.21:0 -m"), nil},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.26:80"), Weight: ipvs.MaxWeight + 1},
	}, unix.ERANGE},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.26:80"), LowerThreshold: 1},
	}, unix.ERANGE},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.26:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.TunnelGUE},
	}, unix.EINVAL},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("[fd00::26]:80"), Forward: ipvs.ForwardMasq},
	}, unix.EINVAL},

	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("10.0.0.22:8080")}, nil},
	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("[2001:db8::1]:80")}, nil},
	{ipvs.DeleteDestination{Service: svc("-A -f 10 -6").Key, Key: netip.MustParseAddrPort("[fd00::21]:0")}, nil},
	{ipvs.DeleteService{Key: svc("-A -t 10.0.0.100:80").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -t [fd00::100]:80").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -f 10 -6").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -f 4294967295").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -f 4294967295").Key}, unix.ESRCH},
}

func svc(rule string) ipvs.Service {
	table, err := ipvs.ParseSave(strings.NewReader(rule))
	if err != nil {
		panic(err)
	}
	for _, e := range table {
		return e.Service
	}
	panic("no service in " + rule)
}

// dest reads a rule for a destination.
func dest(rule string) (ipvs.ServiceKey, ipvs.Destination) {
	service, _, _ := strings.Cut(strings.TrimPrefix(rule, "-a "), " -r ")
	table, err := ipvs.ParseSave(strings.NewReader("-A " + service + "\n" + rule))
	if err != nil {
		panic(err)
	}
	for key, e := range table {
		for _, d := range e.Destinations {
			return key, d
		}
	}
	panic("no destination in " + rule)
}

func add(rule string) ipvs.Op {
	key, d := dest(rule)
	return ipvs.AddDestination{Service: key, Destination: d}
}

func edit(rule string) ipvs.Op {
	key, d := dest(rule)
	return ipvs.EditDestination{Service: key, Destination: d}
}
