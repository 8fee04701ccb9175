package ipvsnl

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

func TestSyncConns(t *testing.T) {
	table, err := ipvs.ParseSave(strings.NewReader(`
-A -t 10.0.0.100:80 -s rr
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g
-a -t 10.0.0.100:80 -r 10.0.0.22:8080 -m
-A -t 10.0.0.101:0 -s rr -p 300
-a -t 10.0.0.101:0 -r 10.0.0.21:0 -i
-A -f 10 -s rr -p 300
-a -f 10 -r 10.0.0.21:0 -g
-A -f 11 -s rr -p 300
-a -f 11 -r 10.0.0.22:0 -g
-A -f 12 -s rr
-a -f 12 -r 10.0.0.22:0 -g
-A -f 10 -6 -s rr -p 300
-a -f 10 -6 -r [fd00::21]:0 -i
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, line, want string }{
		{"a connection", "TCP 0A000001 E0F2 0A000064 0050 0A000015 0050 ESTABLISHED 898",
			"TCP 10.0.0.1:57586 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 14m58s dr,nooutput"},
		{"one by NAT that ends", "TCP 0A000001 E0F2 0A000064 0050 0A000016 1F90 FIN_WAIT 98",
			"TCP 10.0.0.1:57586 > 10.0.0.100:80 > 10.0.0.22:8080 FIN_WAIT 1m38s nat,inactive"},
		{"of a virtual server of all ports", "TCP 0A000001 E0F2 0A000065 0050 0A000015 0050 ESTABLISHED 898",
			"TCP 10.0.0.1:57586 > 10.0.0.101:80 > 10.0.0.21:80 ESTABLISHED 14m58s tun,nooutput"},
		{"its template", "TCP 0A000001 0000 0A000065 0000 0A000015 0000 ASSURED 250",
			"TCP 10.0.0.1:0 > 10.0.0.101:0 > 10.0.0.21:0 ASSURED 5m0s tun,nooutput,inactive,template, 4m10s remain"},
		{"of a mark", "UDP 0A000001 E0F2 0A000066 0035 0A000015 0035 UDP 300",
			"UDP 10.0.0.1:57586 > 10.0.0.102:53 > 10.0.0.21:53 UDP 5m0s dr,nooutput,inactive fwmark 10"},
		{"its template", "IP 0A000001 0000 0000000A 0000 0A000015 0000 NONE 300",
			"IP 10.0.0.1:0 > 0.0.0.10:0 > 10.0.0.21:0 NONE 5m0s dr,nooutput,inactive,template fwmark 10"},
		{"its template for IPv6", "IP fd00::1 0000 0:a:: 0000 fd00::21 0000 NONE 300",
			"IP [fd00::1]:0 > [0:a::]:0 > [fd00::21]:0 NONE 5m0s tun,nooutput,inactive,template fwmark 10"},
		{"of one of two marks", "UDP 0A000001 E0F2 0A000066 0035 0A000016 0035 UDP 300", ""},
		{"of a mark that is gone", "IP 0A000001 0000 00000009 0000 0A000015 0000 NONE 300", ""},
		{"of a real server that is gone", "TCP 0A000001 E0F2 0A000064 0050 0A000017 0050 ESTABLISHED 898", ""},
		{"for data, of FTP", "TCP 0A000001 0000 0A000064 0050 0A000015 0050 LISTEN 120",
			"TCP 10.0.0.1:0 > 10.0.0.100:80 > 10.0.0.21:80 LISTEN 2m0s dr,nooutput,inactive"},
		{"of a protocol that is unknown", "XYZ 0A000001 E0F2 0A000064 0050 0A000015 0050 NONE 1",
			`listed connection of 10.0.0.1:57586 to 10.0.0.100:80: protocol "XYZ": IPVS knows no such protocol`},
		{"of a state that is unknown", "TCP 0A000001 E0F2 0A000064 0050 0A000015 0050 BUG! 1",
			`listed connection of 10.0.0.1:57586 to 10.0.0.100:80: state "BUG!": TCP has no such state`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			listed := func(yield func(ipvs.Connection, error) bool) {
				readConnections(strings.NewReader("titles\n"+tt.line+"\n"), yield)
			}
			for c, err := range SyncConns(table, listed) {
				if err != nil {
					got = append(got, err.Error())
					continue
				}
				line := c.String()
				if c.Remaining != c.Timeout {
					line += fmt.Sprintf(", %s remain", c.Remaining)
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSyncConnsEndsWithTheListing(t *testing.T) {
	listed := func(yield func(ipvs.Connection, error) bool) { yield(ipvs.Connection{}, ErrNoIPVS) }
	n := 0
	for _, err := range SyncConns(nil, listed) {
		if n++; !errors.Is(err, ErrNoIPVS) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d values, want the error", n)
	}
}
