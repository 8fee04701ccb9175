package vrrpconn

import (
	"testing"

	"github.com/hadirector/hadirector/vrrp"
)

func TestSendTriesEveryPeer(t *testing.T) {
	h, sock := fakeHub()
	c := mustOpen(t, h, unicast(51, other, peer))
	defer c.Close()
	err := c.Send(advert(51, 100))
	if err == nil {
		t.Error("no error although one peer cannot be reached")
	}
	d := <-sock().sent
	if d.src != ours || d.dst != peer {
		t.Errorf("sent from %v to %v, want from %v to %v", d.src, d.dst, ours, peer)
	}
	if _, err := vrrp.ParseAdvert(d.payload, vrrp.Header{Src: ours, Dst: peer, TTL: 255, Unicast: true}); err != nil {
		t.Errorf("what was sent to the second peer is not valid for it: %v", err)
	}
}

func TestSendTTL(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   vrrp.Instance
		want int
	}{
		{"multicast", multicast(51), 255},
		{"multicast has no other", hops(multicast(51), 64, 0), 255},
		{"unicast", unicast(51, peer), 255},
		{"unicast as configured", hops(unicast(51, peer), 64, 0), 64},
	} {
		h, sock := fakeHub()
		c := mustOpen(t, h, tt.in)
		if err := c.Send(advert(51, 100)); err != nil {
			t.Fatal(err)
		}
		if d := <-sock().sent; d.ttl != tt.want {
			t.Errorf("%s: TTL %d, want %d", tt.name, d.ttl, tt.want)
		}
		c.Close()
	}
}
