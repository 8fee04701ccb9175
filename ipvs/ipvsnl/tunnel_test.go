package ipvsnl

import (
	"errors"
	"testing"

	"github.com/hadirector/hadirector/ipvs"
)

// A kernel that does not know the tunnel would make another one of it, without a word.
func TestKernelTooOldForATunnel(t *testing.T) {
	const (
		add    = "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.21:80 -i -w 1 "
		before = destStats64 // Linux before 5.2
		first  = destTunPort // Linux 5.2
	)
	tunnel := func(typ ipvs.TunnelType, port, flags uint16) ipvs.Destination {
		d := web1
		d.Forward, d.Tunnel, d.TunnelPort, d.TunnelFlags = ipvs.ForwardTunnel, typ, port, flags
		return d
	}
	gue, sum := tunnel(ipvs.TunnelGUE, 6080, 0), tunnel(ipvs.TunnelGUE, 6080, ipvs.TunnelChecksum)
	for _, tt := range []struct {
		name   string
		newest uint16
		dest   ipvs.Destination
		want   string
	}{
		{"ipip, before 5.2", before, tunnel(ipvs.TunnelIPIP, 0, 0), ""},
		{"gue, before 5.2", before, gue,
			add + "--tun-type gue --tun-port 6080 --tun-nocsum: the kernel is too old for gue tunnels, it has only ipip: gue came with Linux 5.2, gre with 5.3"},
		{"gre, before 5.2", before, tunnel(ipvs.TunnelGRE, 0, 0),
			add + "--tun-type gre --tun-nocsum: the kernel is too old for gre tunnels, it has only ipip: gue came with Linux 5.2, gre with 5.3"},
		{"gue, 5.2", first, gue, ""},
		{"a checksum, 5.2", first, sum,
			add + "--tun-type gue --tun-port 6080 --tun-csum: the kernel is too old for the checksums of tunnels, which came with Linux 5.3"},
		{"gre, 5.2", first, tunnel(ipvs.TunnelGRE, 0, 0),
			add + "--tun-type gre --tun-nocsum: the kernel is too old for gre tunnels, which came with Linux 5.3"},
		{"a checksum, 5.3", destTunFlags, sum, ""},
		{"gre, 5.3", destTunFlags, tunnel(ipvs.TunnelGRE, 0, ipvs.TunnelChecksum), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.newest = tt.newest
			c := f.client(t)
			f.Load(ipvs.Table{web.Key: {Service: web}})
			for range 2 {
				err := c.Apply(t.Context(), ipvs.AddDestination{Service: web.Key, Destination: tt.dest})
				if tt.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				if !errors.Is(err, ErrNoTunnel) || err.Error() != tt.want {
					t.Fatalf("got  %v\nwant %s", err, tt.want)
				}
				if text := f.String(); text != "-A -t 10.0.0.100:80 -s rr\n" {
					t.Fatalf("the refused destination is in the table:\n%s", text)
				}
			}
		})
	}
}

// A destination that serves is not made into something else first.
func TestEditOnAKernelTooOldForATunnel(t *testing.T) {
	f := newFake()
	f.newest = destStats64
	c := f.client(t)
	f.Load(ipvs.Table{web.Key: {Service: web, Destinations: map[ipvs.DestinationKey]ipvs.Destination{web1.Key: web1}}})
	want := f.String()
	d := web1
	d.Forward, d.Tunnel = ipvs.ForwardTunnel, ipvs.TunnelGRE
	if err := c.Apply(t.Context(), ipvs.EditDestination{Service: web.Key, Destination: d}); !errors.Is(err, ErrNoTunnel) {
		t.Errorf("got %v, want %v", err, ErrNoTunnel)
	}
	if got := f.String(); got != want {
		t.Errorf("the table is\n%swant\n%s", got, want)
	}
}
