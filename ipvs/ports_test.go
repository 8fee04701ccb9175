package ipvs

import (
	"net/netip"
	"slices"
	"testing"
)

func ports(addr string, first, last uint16) Ports {
	return Ports{Addr: netip.MustParseAddr(addr), First: first, Last: last}
}

func TestPorts(t *testing.T) {
	for _, tt := range []struct {
		ports      Ports
		text       string
		count      int
		has, lacks []uint16
	}{
		{ports("10.0.0.100", 80, 80), "10.0.0.100:80", 1, []uint16{80}, []uint16{0, 79, 81}},
		{ports("10.0.0.100", 8000, 8010), "10.0.0.100:8000-8010", 11, []uint16{8000, 8005, 8010}, []uint16{7999, 8011}},
		{ports("fd00::100", 1, 65535), "[fd00::100]:1-65535", 65535, []uint16{1, 65535}, []uint16{0}},
		{ports("10.0.0.100", 0, 0), "10.0.0.100:0", 1, []uint16{0, 1, 65535}, nil},
	} {
		if got := tt.ports.String(); got != tt.text {
			t.Errorf("got %s, want %s", got, tt.text)
		}
		if n := tt.ports.Count(); n != tt.count {
			t.Errorf("%s: %d ports, want %d", tt.text, n, tt.count)
		}
		for _, p := range tt.has {
			if !tt.ports.Has(p) {
				t.Errorf("%s lacks %d", tt.text, p)
			}
		}
		for _, p := range tt.lacks {
			if tt.ports.Has(p) {
				t.Errorf("%s has %d", tt.text, p)
			}
		}
	}
}

func TestPortsOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b Ports
		want bool
	}{
		{ports("10.0.0.100", 80, 80), ports("10.0.0.100", 80, 80), true},
		{ports("10.0.0.100", 80, 80), ports("10.0.0.101", 80, 80), false},
		{ports("10.0.0.100", 80, 90), ports("10.0.0.100", 90, 95), true},
		{ports("10.0.0.100", 80, 90), ports("10.0.0.100", 91, 95), false},
		{ports("10.0.0.100", 80, 90), ports("10.0.0.100", 82, 83), true},
		{ports("10.0.0.100", 0, 0), ports("10.0.0.100", 443, 443), true},
	} {
		if got := tt.a.Overlaps(tt.b); got != tt.want || tt.b.Overlaps(tt.a) != got {
			t.Errorf("%s and %s: got %t and %t, want %t", tt.a, tt.b, got, tt.b.Overlaps(tt.a), tt.want)
		}
	}
}

func TestMarkingsHaveAnOrder(t *testing.T) {
	want := []Marking{
		{10, TCP, ports("10.0.0.100", 80, 80)},
		{10, TCP, ports("10.0.0.100", 80, 90)},
		{10, UDP, ports("10.0.0.100", 53, 53)},
		{9, TCP, ports("10.0.0.101", 80, 80)},
		{10, TCP, ports("10.0.0.101", 80, 80)},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Marking.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s := want[1].String(); s != "fwmark 10 for tcp 10.0.0.100:80-90" {
		t.Error(s)
	}
}
