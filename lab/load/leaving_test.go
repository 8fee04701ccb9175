package load

import (
	"net/netip"
	"testing"
	"time"
)

func TestParseAdvert(t *testing.T) {
	at := time.Unix(1, 0)
	// An advertisement of version 3 behind an IPv4 header with a router alert (24 bytes):
	// from 10.0.0.11 to 224.0.0.18, protocol 112, VRID 51, priority 150.
	packet := []byte{
		0x46, 0xc0, 0, 36, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 11, 224, 0, 0, 18, 0x94, 4, 0, 0,
		0x31, 51, 150, 1, 0, 10, 0, 0, 10, 0, 0, 100,
	}
	want := Advert{At: at, From: netip.MustParseAddr("10.0.0.11"), VRID: 51, Priority: 150}
	if got, ok := parseAdvert(packet, at); !ok || got != want {
		t.Errorf("parseAdvert = %+v, %t, want %+v", got, ok, want)
	}
	for n := range 27 {
		if got, ok := parseAdvert(packet[:n], at); ok {
			t.Errorf("the first %d bytes are %+v, want none", n, got)
		}
	}
}
