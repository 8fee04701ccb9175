package ipvsnl

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

// The literals are of a little-endian machine: length, type, value of each
// attribute.
func hexBytes(t *testing.T, text string) []byte {
	t.Helper()
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Fatal("the literals of this test are for little-endian machines")
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPack(t *testing.T) {
	addr := netip.MustParseAddrPort
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"service key", packServiceKey(ipvs.AddrKey(ipvs.TCP, addr("10.0.0.100:80"))), `
			2400 0100
			0600 0100 0200 0000
			0600 0200 0600 0000
			0800 0300 0a000064
			0600 0400 0050 0000`},
		{"IPv6 service key", packServiceKey(ipvs.AddrKey(ipvs.UDP, addr("[fd00::100]:5060"))), `
			3000 0100
			0600 0100 0a00 0000
			0600 0200 1100 0000
			1400 0300 fd000000000000000000000000000100
			0600 0400 13c4 0000`},
		{"mark", packServiceKey(ipvs.FWMarkKey(0x01020304, true)), `
			1400 0100
			0600 0100 0a00 0000
			0800 0500 04030201`},
		{"destination key", packDestinationKey(addr("10.0.0.21:8080")), `
			1c00 0200
			0800 0100 0a000015
			0600 0200 1f90 0000
			0600 0b00 0200 0000`},
		{"gue destination", packDestination(ipvs.Destination{
			Key: addr("[2001:db8::1]:80"), Forward: ipvs.ForwardTunnel, Weight: 70000, UpperThreshold: 10, LowerThreshold: 5,
			Tunnel: ipvs.TunnelGUE, TunnelPort: 6080, TunnelFlags: ipvs.TunnelRemoteChecksum,
		}), `
			6000 0200
			1400 0100 20010db8000000000000000000000001
			0600 0200 0050 0000
			0600 0b00 0a00 0000
			0800 0300 02000000
			0800 0400 70110100
			0800 0500 0a000000
			0800 0600 05000000
			0500 0d00 01 000000
			0600 0e00 17c0 0000
			0600 0f00 0200 0000`},
		{"daemon", packDaemon(syncd.Daemon{Role: syncd.RoleMaster, Interface: "eth1", SyncID: 51}), `
			2000 0300
			0800 0100 01000000
			0900 0200 6574683100 000000
			0800 0300 33000000`},
		{"daemon with everything", packDaemon(syncd.Daemon{
			Role: syncd.RoleBackup, Interface: "hasync0", SyncID: 255, MaxLen: 1400,
			Group: netip.MustParseAddr("224.0.0.82"), Port: 8849, TTL: 2,
		}), `
			4000 0300
			0800 0100 02000000
			0c00 0200 68617379 6e633000
			0800 0300 ff000000
			0600 0400 7805 0000
			0800 0500 e0000052
			0600 0700 9122 0000
			0500 0800 02 000000`},
		{"daemon to stop", packDaemonRole(syncd.RoleBackup), `
			0c00 0300
			0800 0100 02000000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if want := hexBytes(t, tt.want); string(tt.got) != string(want) {
				t.Errorf("got\n% x\nwant\n% x", tt.got, want)
			}
		})
	}
}

// A listing as the kernel sends it: addresses of IPv4 in 16 bytes, the flag that it
// sets itself, persistence where there is none.
func TestUnpack(t *testing.T) {
	s, err := unpackService(hexBytes(t, `
		7000 0180
		0600 0100 0200 0000
		0600 0200 0600 0000
		1400 0300 0a000064000000000000000000000000
		0600 0400 0050 0000
		0800 0600 77727200
		0c00 0700 03000000 ffffffff
		0800 0800 2c010000
		0800 0900 ffffff00
		0800 0b00 73697000
		0400 0a00
		1000 0c80 0c00 0100 0500000000000000`))
	if err != nil {
		t.Fatal(err)
	}
	want := ipvs.Service{
		Key: ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:80")), Scheduler: "wrr",
		Flags: ipvs.FlagPersistent, Persistence: 300 * time.Second, PersistenceBits: 24, Engine: "sip",
	}
	if s.Service != want {
		t.Errorf("got %+v, want %+v", s.Service, want)
	}
	if c, err := unpackCounters(s.attrs, svcStats64); err != nil || c != (ipvs.Counters{Connections: 5}) {
		t.Errorf("got %+v, %v, want 5 connections", c, err)
	}

	d, err := unpackDestination(hexBytes(t, `
		7800 0280
		1400 0100 20010db8000000000000000000000001
		0600 0200 0050 0000
		0800 0300 02000000
		0800 0400 70110100
		0800 0500 0a000000
		0800 0600 05000000
		0800 0700 01000000
		0800 0800 02000000
		0800 0900 03000000
		0600 0b00 0a00 0000
		0500 0d00 01 000000
		0600 0e00 17c0 0000
		0600 0f00 0100 0000`), want.Key)
	if err != nil {
		t.Fatal(err)
	}
	wantDest := ipvs.Destination{
		Key: netip.MustParseAddrPort("[2001:db8::1]:80"), Forward: ipvs.ForwardTunnel, Weight: 70000, UpperThreshold: 10, LowerThreshold: 5,
		Tunnel: ipvs.TunnelGUE, TunnelPort: 6080, TunnelFlags: ipvs.TunnelChecksum,
	}
	if d.Destination != wantDest || d.counts != (ipvs.Connections{Active: 1, Inactive: 2, Persistent: 3}) {
		t.Errorf("got %+v %+v, want %+v", d.Destination, d.counts, wantDest)
	}
	// A kernel before 3.18 does not tell the family: it is the service's.
	d, err = unpackDestination(hexBytes(t, "2000 0200 1400 0100 0a000015000000000000000000000000 0600 0200 0050 0000"), want.Key)
	if err != nil || d.Key != netip.MustParseAddrPort("10.0.0.21:80") {
		t.Errorf("got %v, %v", d.Key, err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                   "",
		"half a header":             "0400",
		"length within the header":  "0300 0100",
		"length past the end":       "0900 0100 00000000",
		"another attribute":         "0400 0700",
		"no address":                "0c00 0100 0600 0100 0200 0000",
		"short address":             "1400 0100 0600 0100 0a00 0000 0800 0300 0a000064",
		"short attribute in a nest": "0800 0100 0600 0100",
	} {
		if s, err := unpackService(hexBytes(t, text)); err == nil {
			t.Errorf("%s: service %+v", name, s.Service)
		}
	}
}

// No message makes the decoders panic, and what they take they would also write.
func FuzzUnpack(f *testing.F) {
	key := ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:80"))
	f.Add(packServiceKey(key))
	f.Add(packDestination(ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.21:80"), Weight: 1}))
	f.Add(packDaemon(syncd.Daemon{Role: syncd.RoleMaster, Interface: "eth1"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := unpackService(b); err == nil && s.Key.FWMark != 0 {
			again, err := unpackService(packServiceKey(s.Key))
			if err != nil || again.Key != s.Key {
				t.Errorf("%v became %v, %v", s.Key, again.Key, err)
			}
		}
		if d, err := unpackDestination(b, key); err == nil {
			again, err := unpackDestination(packDestination(d.Destination), key)
			if err != nil || again.Destination != d.Destination {
				t.Errorf("%+v became %+v, %v", d.Destination, again.Destination, err)
			}
		}
		if d, err := unpackDaemon(b); err == nil && len(d.Interface) < 16 {
			again, err := unpackDaemon(packDaemon(d))
			if err != nil || again.Interface != d.Interface || again.SyncID != d.SyncID || again.MaxLen != d.MaxLen {
				t.Errorf("%+v became %+v, %v", d, again, err)
			}
		}
	})
}

// kernelService is a service as the kernel would list it after it was given m.
func kernelService(m *moby.Service) []byte {
	b := appendUint16(nil, svcAF, m.AddressFamily)
	if m.FWMark != 0 {
		b = appendUint32(b, svcFWMark, m.FWMark)
	} else {
		b = appendUint16(b, svcProtocol, m.Protocol)
		b = appendAttr(b, svcAddr, append([]byte(m.Address), make([]byte, 16-len(m.Address))...))
		b = appendPort(b, svcPort, m.Port)
	}
	b = appendString(b, svcSched, m.SchedName)
	b = appendAttr(b, svcFlags, native.AppendUint32(native.AppendUint32(nil, m.Flags|flagHashed), ^uint32(0)))
	b = appendUint32(b, svcTimeout, m.Timeout)
	b = appendUint32(b, svcNetmask, m.Netmask)
	if m.PEName != "" {
		b = appendString(b, svcPEName, m.PEName)
	}
	return appendAttr(nil, attrService, b)
}

// Whatever is written is read back the same.
func TestRoundTripRandom(t *testing.T) {
	for seed := range uint64(500) {
		for key, e := range ipvstest.RandomTable(rand.New(rand.NewPCG(seed, 0)), true) {
			m, err := mobyService(e.Service)
			if err != nil {
				t.Fatal(err)
			}
			s, err := unpackService(kernelService(m))
			if err != nil || s.Service != e.Service.Canonical() {
				t.Fatalf("%v became %v, %v", e.Service, s.Service, err)
			}
			for _, d := range e.Destinations {
				got, err := unpackDestination(packDestination(d), key)
				if err != nil || got.Destination != d.Canonical() {
					t.Fatalf("%v became %v, %v", d, got.Destination, err)
				}
			}
		}
	}
}

func TestMobyService(t *testing.T) {
	four, six := netip.MustParseAddrPort("10.0.0.100:80"), netip.MustParseAddrPort("[fd00::100]:80")
	for _, tt := range []struct {
		name    string
		s       ipvs.Service
		netmask []byte // as it goes over the wire
		timeout uint32
	}{
		{"IPv4", ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, four)}, []byte{255, 255, 255, 255}, 0},
		{"IPv4 persistent", ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, four), Flags: ipvs.FlagPersistent, Persistence: 300 * time.Second, PersistenceBits: 20}, []byte{255, 255, 240, 0}, 300},
		{"IPv4 odd mask", ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, four), Flags: ipvs.FlagPersistent, Persistence: time.Second, PersistenceBits: ipvs.OddPersistenceMask, OddMask: [4]byte{255, 0, 255, 0}}, []byte{255, 0, 255, 0}, 1},
		{"IPv4 no mask", ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, four), Flags: ipvs.FlagPersistent, Persistence: time.Second, PersistenceBits: ipvs.OddPersistenceMask}, []byte{0, 0, 0, 0}, 1},
		// The kernel refuses a mask of 0 for IPv6, persistent or not.
		{"IPv6", ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, six)}, []byte{128, 0, 0, 0}, 0},
		{"IPv6 persistent", ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, six), Flags: ipvs.FlagPersistent, Persistence: time.Second, PersistenceBits: 64}, []byte{64, 0, 0, 0}, 1},
		{"IPv6 mark", ipvs.Service{Key: ipvs.FWMarkKey(10, true)}, []byte{128, 0, 0, 0}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := mobyService(tt.s)
			if err != nil {
				t.Fatal(err)
			}
			if got := binary.LittleEndian.AppendUint32(nil, m.Netmask); string(got) != string(tt.netmask) || m.Timeout != tt.timeout {
				t.Errorf("got mask %v, timeout %d, want %v, %d", got, m.Timeout, tt.netmask, tt.timeout)
			}
		})
	}
	odd := ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, six), Flags: ipvs.FlagPersistent, PersistenceBits: ipvs.OddPersistenceMask}
	if _, err := mobyService(odd); !cmp.Equal(err, unix.EINVAL, cmpopts.EquateErrors()) {
		t.Errorf("odd mask of IPv6: got %v, want EINVAL", err)
	}
}

func TestUnpackNetmask(t *testing.T) {
	for _, tt := range []struct {
		b    []byte
		ipv6 bool
		want int
		odd  [4]byte
	}{
		{[]byte{255, 255, 255, 255}, false, 32, [4]byte{}},
		{[]byte{255, 255, 255, 0}, false, 24, [4]byte{}},
		{[]byte{128, 0, 0, 0}, false, 1, [4]byte{}},
		{[]byte{0, 0, 0, 0}, false, ipvs.OddPersistenceMask, [4]byte{}},
		{[]byte{255, 0, 255, 0}, false, ipvs.OddPersistenceMask, [4]byte{255, 0, 255, 0}},
		{[]byte{64, 0, 0, 0}, true, 64, [4]byte{}},
	} {
		if got, odd := unpackNetmask(tt.b, tt.ipv6); got != tt.want || odd != tt.odd {
			t.Errorf("%v, IPv6 %t: got %d, %v, want %d, %v", tt.b, tt.ipv6, got, odd, tt.want, tt.odd)
		}
	}
}
