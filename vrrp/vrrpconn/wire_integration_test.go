//go:build integration

package vrrpconn

import (
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what should happen at once.
const patience = 10 * time.Second

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// lan connects the test process (10.0.0.1) and a namespace (10.0.0.2) by a cable,
// eth0 at both ends. IPv6 addresses are link-local and skip duplicate address
// detection.
func lan(t *testing.T) (self, far *netnstest.NS) {
	t.Helper()
	self, far = netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	self.IP(t, "addr add fe80::1/64 dev eth0 nodad")
	far.IP(t, "addr add 10.0.0.2/24 dev eth0")
	far.IP(t, "addr add fe80::2/64 dev eth0 nodad")
	return self, far
}

func onEth0(in vrrp.Instance) vrrp.Instance {
	in.ID.Interface = "eth0"
	return in
}

// openIn opens a Conn in a namespace.
func openIn(t *testing.T, ns *netnstest.NS, in vrrp.Instance, source string) opened {
	t.Helper()
	return openOn(t, NewHub(quiet), ns, in, source)
}

func openOn(t *testing.T, h *Hub, ns *netnstest.NS, in vrrp.Instance, source string) opened {
	t.Helper()
	inbox := make(router.Inbox, 16)
	var c router.Conn
	var err error
	ns.Do(func() { c, err = h.Open(in, netip.MustParseAddr(source), inbox) })
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return opened{c, inbox}
}

func next(t *testing.T, c opened) router.Received {
	t.Helper()
	select {
	case r := <-c.inbox:
		return r
	case <-time.After(patience):
		t.Fatalf("no advertisement within %v, discarded: %v", patience, c.Discarded())
		panic("unreachable")
	}
}

func TestAdvertsCross(t *testing.T) {
	v6 := advert(51, 100)
	v6.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100"), netip.MustParseAddr("2001:db8::100")}
	v2 := advert(51, 100)
	v2.Version = vrrp.Version2
	ip6 := func(in vrrp.Instance) vrrp.Instance {
		in.ID.Family = vrrp.IPv6
		return in
	}
	tests := []struct {
		name       string
		ours, fars vrrp.Instance
		source     string
		farSource  string
		advert     vrrp.Advert
	}{
		{"multicast", multicast(51), multicast(51), "10.0.0.1", "10.0.0.2", advert(51, 100)},
		{"multicast version 2", multicast(51), multicast(51), "10.0.0.1", "10.0.0.2", v2},
		{"unicast", unicast(51, peer), unicast(51, ours), "10.0.0.1", "10.0.0.2", advert(51, 100)},
		{"multicast IPv6", ip6(multicast(51)), ip6(multicast(51)), "fe80::1", "fe80::2", v6},
		{"unicast IPv6", ip6(unicast(51, netip.MustParseAddr("fe80::2"))), ip6(unicast(51, netip.MustParseAddr("fe80::1"))), "fe80::1", "fe80::2", v6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			a := openIn(t, self, onEth0(tt.ours), tt.source)
			b := openIn(t, far, onEth0(tt.fars), tt.farSource)
			must(t, a.Send(tt.advert))
			r := next(t, b)
			if r.From != netip.MustParseAddr(tt.source) {
				t.Errorf("from %v, want %v", r.From, tt.source)
			}
			if diff := cmp.Diff(tt.advert, r.Advert, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("advertisement (-sent +received):\n%s", diff)
			}
			// And back, which also shows that our own did not come back to us.
			must(t, b.Send(tt.advert))
			if r := next(t, a); r.From != netip.MustParseAddr(tt.farSource) {
				t.Errorf("from %v, want %v", r.From, tt.farSource)
			}
			for _, c := range []opened{a, b} {
				if d := c.Discarded(); len(d) != 0 {
					t.Errorf("discarded %v, want nothing", d)
				}
			}
		})
	}
}

// The frames that keepalived 2.2.7 sends for the same virtual router, priority 100,
// interval 500 ms. The identification and with it the IP checksum are the kernel's.
func TestWireFormatEqualsKeepalived(t *testing.T) {
	a := advert(51, 100)
	a.Interval = 500 * time.Millisecond
	v2 := advert(51, 100)
	v2.Version = vrrp.Version2
	tests := []struct {
		name   string
		in     vrrp.Instance
		advert vrrp.Advert
		want   string
	}{
		{"version 3 multicast", multicast(51), a, "01005e00001202000000000108 00 45c00020 0001 0000 ff70 d099 0a000001e0000012 313364010032 75a5 0a000064"},
		{"version 3 unicast", unicast(51, peer), a, "02000000000202000000000108 00 45c00020 0001 0000 ff70 a6aa 0a0000010a000002 313364010032 4bb6 0a000064"},
		{"version 2 multicast", multicast(51), v2, "01005e00001202000000000108 00 45c00028 0001 0000 ff70 d091 0a000001e0000012 213364010001 7066 0a000064 0000000000000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			self.IP(t, "link set eth0 address 02:00:00:00:00:01")
			far.IP(t, "link set eth0 address 02:00:00:00:00:02")
			frames := captureVRRP(t, far)
			c := openIn(t, self, onEth0(tt.in), "10.0.0.1")
			must(t, c.Send(tt.advert))
			want, err := hex.DecodeString(removeSpaces(tt.want))
			must(t, err)
			got := frames()
			if diff := cmp.Diff(hex.EncodeToString(withoutID(want)), hex.EncodeToString(withoutID(got))); diff != "" {
				t.Errorf("frame without identification and IP checksum (-keepalived's +ours):\n%s", diff)
			}
		})
	}
}

func TestWhatIsNotAcceptedIsCountedAndNothingElse(t *testing.T) {
	self, far := lan(t)
	c := openIn(t, self, onEth0(multicast(51)), "10.0.0.1")
	group := netip.MustParseAddr("224.0.0.18")
	ok := wire(advert(51, 100), peer, group)
	broken := wire(advert(51, 100), peer, group)
	broken[6] ^= 0xff

	sendRaw(t, far, ok, group, 254)
	sendRaw(t, far, []byte("this is no advertisement, only noise"), group, 255) // VRID 'h'
	sendRaw(t, far, ok[:1], group, 255)
	sendRaw(t, far, ok[:7], group, 255)
	sendRaw(t, far, ok[:11], group, 255)
	sendRaw(t, far, append(append([]byte{}, ok...), 0), group, 255)
	sendRaw(t, far, broken, group, 255)
	sendRaw(t, far, wire(advert(52, 100), peer, group), group, 255)
	sendRaw(t, far, wire(advert(51, 100), peer, ours), ours, 255)
	sendRaw(t, far, wire(advert(51, 42), peer, group), group, 255)

	// Datagrams arrive in their order, so the good one at the end says that all
	// others have been seen.
	if r := next(t, c); r.Advert.Priority != 42 {
		t.Errorf("received priority %d, want only the last, 42", r.Advert.Priority)
	}
	want := map[string]uint64{"ttl": 1, "vrid": 2, "short": 2, "length": 2, "checksum": 1, "destination": 1}
	if diff := cmp.Diff(want, c.Discarded()); diff != "" {
		t.Errorf("discarded (-want +got):\n%s", diff)
	}
}

func TestUnicastIsTakenFromPeersOnly(t *testing.T) {
	self, far := lan(t)
	far.IP(t, "addr add 10.0.0.9/24 dev eth0")
	c := openIn(t, self, onEth0(unicast(51, peer)), "10.0.0.1")
	stranger := openIn(t, far, onEth0(unicast(51, ours)), "10.0.0.9")
	must(t, stranger.Send(advert(51, 255)))
	must(t, stranger.Close())
	friend := openIn(t, far, onEth0(unicast(51, ours)), "10.0.0.2")
	must(t, friend.Send(advert(51, 42)))
	if r := next(t, c); r.From != peer || r.Advert.Priority != 42 {
		t.Errorf("received %+v, want the peer's", r)
	}
	if diff := cmp.Diff(map[string]uint64{"peer": 1}, c.Discarded()); diff != "" {
		t.Errorf("discarded (-want +got):\n%s", diff)
	}
}

// A machine hears what arrives on the virtual router's interface, not what is sent
// to the same group or to the same address on another. And a socket that has not
// joined the group does not hear it because another one has.
func TestAnotherInterfaceIsNotHeard(t *testing.T) {
	self, far := lan(t)
	netnstest.Cable(t, self, "eth1", far, "eth1")
	self.IP(t, "addr add 10.0.1.1/24 dev eth1")
	far.IP(t, "addr add 10.0.1.2/24 dev eth1")
	eth1, err := net.InterfaceByName("eth1")
	must(t, err)
	far.IP(t, "route add 10.0.0.1/32 dev eth1")
	far.IP(t, "neigh replace 10.0.0.1 lladdr "+eth1.HardwareAddr.String()+" dev eth1")
	onEth1 := func(in vrrp.Instance) vrrp.Instance {
		in.ID.Interface = "eth1"
		return in
	}

	a := openIn(t, self, onEth0(multicast(51)), "10.0.0.1")
	b := openIn(t, self, onEth0(unicast(52, peer, netip.MustParseAddr("10.0.1.2"))), "10.0.0.1")
	must(t, openIn(t, far, onEth1(multicast(51)), "10.0.1.2").Send(advert(51, 255)))
	must(t, openIn(t, far, onEth1(unicast(52, ours)), "10.0.1.2").Send(advert(52, 255)))
	must(t, openIn(t, far, onEth0(multicast(51)), "10.0.0.2").Send(advert(51, 42)))
	wantOnly42(t, a)
	// Only now, because a's socket hears this one too.
	must(t, openIn(t, far, onEth0(unicast(52, ours)), "10.0.0.2").Send(advert(52, 42)))
	wantOnly42(t, b)
}

// wantOnly42 expects priority 42 as the first datagram that the socket has received.
func wantOnly42(t *testing.T, c opened) {
	t.Helper()
	if r := next(t, c); r.Advert.Priority != 42 {
		t.Errorf("received %+v, want priority 42 only", r)
	}
	if d := c.Discarded(); len(d) != 0 {
		t.Errorf("discarded %v, want nothing: the kernel should not have delivered it", d)
	}
}

func TestSendFailureIsReturnedAndTheLinkMayComeBack(t *testing.T) {
	self, far := lan(t)
	a := openIn(t, self, onEth0(multicast(51)), "10.0.0.1")
	b := openIn(t, far, onEth0(multicast(51)), "10.0.0.2")
	self.IP(t, "link set eth0 down")
	if err := a.Send(advert(51, 100)); err == nil {
		t.Error("sending on a link that is down gave no error")
	}
	self.IP(t, "link set eth0 up")
	self.AwaitUp(t, "eth0")
	far.AwaitUp(t, "eth0")
	must(t, a.Send(advert(51, 100)))
	next(t, b)
	must(t, b.Send(advert(51, 100)))
	next(t, a)
	self.IP(t, "addr del 10.0.0.1/24 dev eth0")
	if err := a.Send(advert(51, 100)); err == nil {
		t.Error("sending from an address that is not on the interface gave no error")
	}
}

// An interface that was deleted and made again needs a new Conn, and the old one
// does not stand in its way.
func TestReopenAfterTheInterfaceWasMadeAgain(t *testing.T) {
	self, far := lan(t)
	h := NewHub(quiet)
	old := openOn(t, h, self, onEth0(multicast(51)), "10.0.0.1")
	self.IP(t, "link del eth0")
	if err := old.Send(advert(51, 100)); err == nil {
		t.Error("sending on a deleted link gave no error")
	}
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	far.IP(t, "addr add 10.0.0.2/24 dev eth0")
	fresh := openOn(t, h, self, onEth0(multicast(51)), "10.0.0.1")
	must(t, old.Close())
	b := openIn(t, far, onEth0(multicast(51)), "10.0.0.2")
	must(t, fresh.Send(advert(51, 100)))
	next(t, b)
	must(t, b.Send(advert(51, 100)))
	next(t, fresh)
}

// sendRaw sends a VRRP payload from the far end with any TTL.
func sendRaw(t *testing.T, ns *netnstest.NS, payload []byte, dst netip.Addr, ttl int) {
	t.Helper()
	var err error
	ns.Do(func() {
		var pc net.PacketConn
		if pc, err = net.ListenPacket("ip4:112", "10.0.0.2"); err != nil {
			return
		}
		defer pc.Close()
		p := ipv4.NewPacketConn(pc)
		var ifi *net.Interface
		if ifi, err = net.InterfaceByName("eth0"); err != nil {
			return
		}
		for _, set := range []func() error{
			func() error { return p.SetMulticastInterface(ifi) },
			func() error { return p.SetMulticastTTL(ttl) },
			func() error { return p.SetTTL(ttl) },
		} {
			if err = set(); err != nil {
				return
			}
		}
		_, err = p.WriteTo(payload, nil, &net.IPAddr{IP: dst.AsSlice()})
	})
	must(t, err)
}

// captureVRRP returns a function that gives the next frame with protocol VRRP that
// arrives at a namespace's eth0.
func captureVRRP(t *testing.T, ns *netnstest.NS) func() []byte {
	t.Helper()
	var fd, eth0 int
	var err error
	ns.Do(func() {
		var ifi *net.Interface
		if ifi, err = net.InterfaceByName("eth0"); err != nil {
			return
		}
		eth0 = ifi.Index
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
	})
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
	return func() []byte {
		t.Helper()
		b := make([]byte, 2000)
		for {
			n, from, err := unix.Recvfrom(fd, b, 0)
			must(t, err)
			ll, ok := from.(*unix.SockaddrLinklayer)
			switch {
			case !ok || n < 24 || ll.Pkttype == unix.PACKET_OUTGOING || ll.Ifindex != eth0:
			case ll.Protocol == bigEndian(unix.ETH_P_IP) && b[23] == vrrp.Protocol,
				ll.Protocol == bigEndian(unix.ETH_P_IPV6) && b[20] == vrrp.Protocol:
				return b[:n]
			}
		}
	}
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

func removeSpaces(s string) string { return strings.ReplaceAll(s, " ", "") }

// withoutID clears a frame's IPv4 identification and header checksum.
func withoutID(frame []byte) []byte {
	f := slices.Clone(frame)
	clear(f[18:20])
	clear(f[24:26])
	return f
}
