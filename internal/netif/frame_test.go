package netif

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testMAC = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x01}

// unspace removes the blanks that group a literal for the reader.
func unspace(s string) string { return strings.ReplaceAll(s, " ", "") }

func hexFrames(fs [][]byte) []string {
	var out []string
	for _, f := range fs {
		out = append(out, hex.EncodeToString(f))
	}
	return out
}

func TestGratuitousARP(t *testing.T) {
	frames, err := announcement(testMAC, netip.MustParseAddr("10.0.0.100"), false)
	if err != nil {
		t.Fatal(err)
	}
	padding := strings.Repeat("00", 60-42)
	want := []string{
		// request: target hardware address zero
		unspace("ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000064 000000000000 0a000064") + padding,
		// reply: target hardware address = sender's
		unspace("ffffffffffff 020000000001 0806 0001 0800 06 04 0002 020000000001 0a000064 020000000001 0a000064") + padding,
	}
	if diff := cmp.Diff(want, hexFrames(frames)); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

// keepalived 2.2.7 sends the same request, but with the broadcast address as target
// hardware address.
func TestGratuitousARPRequestDiffersFromKeepalivedOnlyInTargetHardwareAddress(t *testing.T) {
	keepalived := "ffffffffffff020000000001080600010800060400010200000000010a000064ffffffffffff0a000064"
	frames, err := gratuitousARP(testMAC, netip.MustParseAddr("10.0.0.100"))
	if err != nil {
		t.Fatal(err)
	}
	got := hex.EncodeToString(frames[0][:42])
	const tha, end = 2 * 32, 2 * 38
	if got[:tha] != keepalived[:tha] || got[end:] != keepalived[end:] {
		t.Errorf("request\n%s\nkeepalived's\n%s", got, keepalived)
	}
}

// The frame that keepalived 2.2.7 sends for fe80::100, not being a router.
func TestUnsolicitedNA(t *testing.T) {
	want := unspace("333300000001 020000000001 86dd 60000000 0020 3a ff" +
		"fe800000000000000000000000000100 ff020000000000000000000000000001" +
		"88 00 559d 20000000 fe800000000000000000000000000100 0201 020000000001")
	frames, err := announcement(testMAC, netip.MustParseAddr("fe80::100"), false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{want}, hexFrames(frames)); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

func TestUnsolicitedNAFromARouterSaysSo(t *testing.T) {
	frames, err := announcement(testMAC, netip.MustParseAddr("fe80::100"), true)
	if err != nil {
		t.Fatal(err)
	}
	// ICMPv6 follows 14 bytes of Ethernet and 40 of IPv6; its flags are 4 further on.
	if got := frames[0][58]; got != 0xa0 {
		t.Errorf("flags %#02x, want Router and Override, 0xa0", got)
	}
	// 0x559d with 0x80 more in the high byte of a summed word.
	if got := hex.EncodeToString(frames[0][56:58]); got != "d59c" {
		t.Errorf("checksum %s, want d59c", got)
	}
}

func TestAnnouncementNeedsAnEthernetAddress(t *testing.T) {
	for _, addr := range []string{"10.0.0.100", "2001:db8::1"} {
		if _, err := announcement(net.HardwareAddr{1, 2}, netip.MustParseAddr(addr), false); err == nil {
			t.Errorf("no error for %s with a hardware address of two bytes", addr)
		}
	}
}
