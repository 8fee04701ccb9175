package netif

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"

	"github.com/hadirector/hadirector/vrrp"
)

var asker = net.HardwareAddr{2, 0, 0, 0, 0, 0xa}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frames of answers, to 02:00:00:00:00:0a.
const (
	arpReply = `02000000000a 02000000000b 0806  0001 0800 06 04 0002
		02000000000b 0a000064  02000000000a 00000000`
	// An announcement in the reply form: its target is its sender.
	arpAnnouncement = `ffffffffffff 02000000000b 0806  0001 0800 06 04 0002
		02000000000b 0a000064  02000000000b 0a000064`
	naHead = `333300000001 02000000000b 86dd  60000000 0020 3a ff
		20010db8000000000000000000000100 ff020000000000000000000000000001 `
	// RFC 4861 section 4.4, Override set, with the target's link-layer address. The
	// checksum is 0xffff less the ones' complement sum of 2001 0db8 0100 ff02 0001 0020 003a
	// (pseudo-header), 8800 2000, 2001 0db8 0100 (target) and 0201 0200 0000 000c (option).
	naReply = naHead + `8800 f721 20000000 20010db8000000000000000000000100 0201 02000000000c`
)

func TestQuestions(t *testing.T) {
	for _, tt := range []struct {
		name, target, source, want string
	}{
		{"ARP probe (RFC 5227 section 2.1.1)", "10.0.0.100", "",
			`ffffffffffff 02000000000a 0806  0001 0800 06 04 0001
			02000000000a 00000000  000000000000 0a000064` + strings.Repeat("00", 18)},
		{"ARP request", "10.0.0.12", "10.0.0.11",
			`ffffffffffff 02000000000a 0806  0001 0800 06 04 0001
			02000000000a 0a00000b  000000000000 0a00000c` + strings.Repeat("00", 18)},
		// The checksum is 0xffff less the sum of ff02 0001 ff12 3456 (group), 0018 003a,
		// 8700, 2001 0db8 0012 3456 (target).
		{"neighbour solicitation from :: (RFC 4862 section 5.4.2)", "2001:db8::12:3456", "",
			`3333ff123456 02000000000a 86dd  60000000 0018 3a ff
			00000000000000000000000000000000 ff0200000000000000000001ff123456
			8700 e41e 00000000 20010db8000000000000000000123456`},
		{"neighbour solicitation", "fe80::b", "fe80::a",
			`3333ff00000b 02000000000a 86dd  60000000 0020 3a ff
			fe80000000000000000000000000000a ff0200000000000000000001ff00000b
			8700 7a73 00000000 fe80000000000000000000000000000b 0101 02000000000a`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var source netip.Addr
			if tt.source != "" {
				source = netip.MustParseAddr(tt.source)
			}
			got, err := question(asker, netip.MustParseAddr(tt.target), source)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hex.EncodeToString(unhex(t, tt.want)), hex.EncodeToString(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseARPAnswer(t *testing.T) {
	good := unhex(t, arpReply)
	got, ok := parseARPAnswer(good, asker)
	if want := (answer{addr: netip.MustParseAddr("10.0.0.100"), mac: vrrp.MAC{2, 0, 0, 0, 0, 0xb}}); !ok || got != want {
		t.Errorf("%v %v, want %v", got, ok, want)
	}
	if _, ok := parseARPAnswer(unhex(t, arpAnnouncement), asker); ok {
		t.Error("an announcement was taken for an answer")
	}
	for what, change := range map[string]func([]byte) []byte{
		"short":                 func(b []byte) []byte { return b[:41] },
		"no Ethernet":           func(b []byte) []byte { b[15] = 6; return b },
		"no IPv4":               func(b []byte) []byte { b[16] = 0x86; return b },
		"other address lengths": func(b []byte) []byte { b[19] = 16; return b },
		"request":               func(b []byte) []byte { b[21] = 1; return b },
		"for another machine":   func(b []byte) []byte { b[37] = 0xb; return b },
	} {
		if got, ok := parseARPAnswer(change(unhex(t, arpReply)), asker); ok {
			t.Errorf("%s: accepted as %v", what, got)
		}
	}
}

func TestParseNeighbourAdvertisement(t *testing.T) {
	got, ok := parseNeighbourAdvertisement(unhex(t, naReply))
	if want := (answer{netip.MustParseAddr("2001:db8::100"), vrrp.MAC{2, 0, 0, 0, 0, 0xc}, true}); !ok || got != want {
		t.Errorf("%v %v, want %v", got, ok, want)
	}
	// Without the option the sender's Ethernet address counts. The sum has 0201 0200 000c
	// less for the option and 8 less for the length.
	bare := unhex(t, naHead+`8800 fb36 20000000 20010db8000000000000000000000100`)
	bare[19] = 0x18
	if got, ok := parseNeighbourAdvertisement(bare); !ok || got.mac != (vrrp.MAC{2, 0, 0, 0, 0, 0xb}) {
		t.Errorf("without an option: %v %v", got, ok)
	}
	solicited := unhex(t, naReply)
	solicited[58], solicited[56] = 0x60, 0xb7 // Solicited, and the checksum less by as much
	if got, ok := parseNeighbourAdvertisement(solicited); !ok || got.unsolicited {
		t.Errorf("solicited: %v %v", got, ok)
	}
	if _, ok := parseNeighbourAdvertisement(append(unhex(t, naReply), 0, 0, 0)); !ok {
		t.Error("padding was not accepted")
	}
	// RFC 4861 section 7.1.2.
	for what, change := range map[string]func([]byte) []byte{
		"short":                  func(b []byte) []byte { return b[:77] },
		"shorter than it says":   func(b []byte) []byte { return b[:85] },
		"length below a message": func(b []byte) []byte { b[19] = 23; return b },
		"IPv4":                   func(b []byte) []byte { b[14] = 0x45; return b },
		"no ICMPv6":              func(b []byte) []byte { b[20] = 17; return b },
		"hop limit 254":          func(b []byte) []byte { b[21] = 254; return b },
		"solicitation":           func(b []byte) []byte { b[54]--; b[56]++; return b },
		"code 1":                 func(b []byte) []byte { b[55]++; b[57]--; return b },
		"wrong checksum":         func(b []byte) []byte { b[57]++; return b },
		"multicast target":       func(b []byte) []byte { b[62] = 0xff; b[56] -= 0xdf; return b },
		"option of length 0":     func(b []byte) []byte { b[79]--; b[57]++; return b },
		"option beyond the end":  func(b []byte) []byte { b[79]++; b[57]--; return b },
	} {
		if got, ok := parseNeighbourAdvertisement(change(unhex(t, naReply))); ok {
			t.Errorf("%s: accepted as %v", what, got)
		}
	}
}

// The filter takes what the parsers take, and little else.
func TestAnswerFilter(t *testing.T) {
	for _, family := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		raw, err := answerFilter(family, asker)
		if err != nil {
			t.Fatal(err)
		}
		program, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatalf("%v: not all instructions are known", family)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		request := unhex(t, arpReply)
		request[21] = 1
		elsewhere := unhex(t, arpReply)
		elsewhere[37]++
		solicitation := unhex(t, naReply)
		solicitation[54]--
		forwarded := unhex(t, naReply)
		forwarded[21]--
		udp := unhex(t, naReply)
		udp[20] = 17
		for name, frame := range map[string][]byte{
			"ARP reply": unhex(t, arpReply), "neighbour advertisement": unhex(t, naReply),
			"ARP request": request, "ARP reply to another": elsewhere, "ARP announcement": unhex(t, arpAnnouncement),
			"solicitation": solicitation, "forwarded": forwarded, "UDP": udp, "short": request[:20],
		} {
			if (len(frame) > 50) != (family == vrrp.IPv6) && name != "short" {
				continue // the socket is bound to the protocol
			}
			n, err := vm.Run(frame)
			if err != nil {
				t.Fatal(err)
			}
			if want := name == "ARP reply" || name == "neighbour advertisement"; (n > 0) != want {
				t.Errorf("%v: %s: %d bytes pass", family, name, n)
			}
		}
	}
}

func TestAskFrom(t *testing.T) {
	own := prefixes("10.0.0.100/24", "10.0.0.11/24", "10.9.0.1/16", "2001:db8::11/64", "fe80::100/64", "fe80::11/64")
	virtual := []netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("fe80::100")}
	for target, want := range map[string]string{
		"10.0.0.12":     "10.0.0.11",
		"10.9.3.3":      "10.9.0.1",
		"10.8.0.1":      "invalid IP", // not on this segment
		"10.0.0.11":     "invalid IP", // our own
		"fe80::12":      "fe80::11",
		"2001:db8::12":  "fe80::11",
		"2001:db8:1::1": "fe80::11", // nobody answers
	} {
		got, ok := askFrom(netip.MustParseAddr(target), own, virtual)
		if got.String() != want || ok != got.IsValid() {
			t.Errorf("%s is asked for from %v (%v), want %s", target, got, ok, want)
		}
	}
}

func FuzzParseAnswers(f *testing.F) {
	f.Add(unhex(f, arpReply))
	f.Add(unhex(f, arpAnnouncement))
	f.Add(unhex(f, naReply))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if a, ok := parseARPAnswer(frame, asker); ok {
			if !a.addr.Is4() || string(frame[22:28]) != string(a.mac[:]) {
				t.Errorf("%v from %x", a, frame)
			}
		}
		if a, ok := parseNeighbourAdvertisement(frame); ok {
			if !a.addr.Is6() || a.addr.IsMulticast() || frame[21] != 255 {
				t.Errorf("%v from %x", a, frame)
			}
		}
	})
}
