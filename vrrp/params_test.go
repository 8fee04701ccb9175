package vrrp_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*vrrp.Params)
		want   string // part of the error; empty: valid
	}{
		{"valid", func(*vrrp.Params) {}, ""},
		{"10ms", func(p *vrrp.Params) { p.AdvertInterval = 10 * time.Millisecond }, ""},
		{"40.95s", func(p *vrrp.Params) { p.AdvertInterval = 40950 * time.Millisecond }, ""},
		{"40.96s", func(p *vrrp.Params) { p.AdvertInterval = 40960 * time.Millisecond }, "10ms to 40.95s"},
		{"15ms", func(p *vrrp.Params) { p.AdvertInterval = 15 * time.Millisecond }, "multiples of 10ms"},
		{"no interval", func(p *vrrp.Params) { p.AdvertInterval = 0 }, "10ms to 40.95s"},
		{"version 2 below a second", version2(100 * time.Millisecond), "whole seconds"},
		{"version 2, 255s", version2(255 * time.Second), ""},
		{"version 2, 256s", version2(256 * time.Second), "1s to 255s"},
		{"version 2 over IPv6", func(p *vrrp.Params) { version2(time.Second)(p); vips("fe80::1/64")(p) }, "version 2 knows IPv4 only"},
		{"version 4", func(p *vrrp.Params) { p.Version = 4 }, "neither 2 nor 3"},
		{"version 3 with a password", func(p *vrrp.Params) { p.Auth = vrrp.Password("x") }, "version 3 has none"},
		{"priority 0", priority(0), "reserved"},
		{"negative delay", func(p *vrrp.Params) { p.PreemptDelay = -1 }, "negative"},
		{"no addresses", vips(), "1 to 255"},
		{"two families", vips("192.0.2.1/24", "fe80::1/64"), "another family"},
		{"an address twice", vips("192.0.2.1/24", "192.0.2.1/32"), "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := params(tt.change).Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCheckOwnAddress(t *testing.T) {
	p := params()
	if err := p.Check(netip.MustParseAddr("::ffff:192.0.2.5"), heard("192.0.2.5", 200).Advert); !errors.Is(err, vrrp.ErrOwnAddress) {
		t.Errorf("got %v, want %v", err, vrrp.ErrOwnAddress)
	}
}

func TestMismatch(t *testing.T) {
	p := params(vips("192.0.2.100/24", "192.0.2.101/32"))
	for _, tt := range []struct {
		name      string
		addresses []string
		same      bool
	}{
		{"same", []string{"192.0.2.100", "192.0.2.101"}, true},
		{"another order", []string{"192.0.2.101", "192.0.2.100"}, true},
		{"one less", []string{"192.0.2.100"}, false},
		{"one more", []string{"192.0.2.100", "192.0.2.101", "192.0.2.102"}, false},
		{"one twice", []string{"192.0.2.100", "192.0.2.100"}, false},
		{"another", []string{"192.0.2.100", "192.0.2.102"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := heard("192.0.2.9", 200).Advert
			a.Addresses = nil
			for _, s := range tt.addresses {
				a.Addresses = append(a.Addresses, netip.MustParseAddr(s))
			}
			if err := p.Mismatch(netip.MustParseAddr("192.0.2.9"), a); (err == nil) != tt.same {
				t.Errorf("got %v, want the same: %v", err, tt.same)
			}
		})
	}
}
