package ipvsnl

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// counted is a nest of counters, each 10 greater than the one before.
func counted(typ uint16, first uint64) []byte {
	var nest []byte
	for i := range uint16(10) {
		nest = appendAttr(nest, statsConns+i, native.AppendUint64(nil, first+10*uint64(i)))
	}
	return appendAttr(nil, typ, nest)
}

// A listing keeps the kernel's order and everything that it counts.
func TestListing(t *testing.T) {
	f := newFake()
	f.intercept = func(cmd uint8) ([][]byte, error) {
		var msgs [][]byte
		switch cmd {
		case cmdGetService:
			for _, rule := range []ipvs.ServiceKey{ipvs.FWMarkKey(10, false), web.Key} {
				as, err := parseAttrs(packServiceKey(rule))
				if err != nil {
					return nil, err
				}
				nest := appendString(as[attrService], svcSched, "rr")
				msgs = append(msgs, appendAttr(nil, attrService, append(nest, counted(svcStats64, 1)...)))
			}
		case cmdGetDest:
			for _, n := range []uint32{2, 1} {
				d := web1
				d.Weight = n
				as, err := parseAttrs(packDestination(d))
				if err != nil {
					return nil, err
				}
				nest := appendUint32(as[attrDest], destPersist, 7*n)
				msgs = append(msgs, appendAttr(nil, attrDest, append(nest, counted(destStats64, uint64(n))...)))
			}
		}
		return msgs, nil
	}
	c := f.client(t)
	counters := func(first uint64) ipvs.Counters {
		return ipvs.Counters{
			Connections: first, PacketsIn: first + 10, PacketsOut: first + 20, BytesIn: first + 30, BytesOut: first + 40,
			ConnectionRate: first + 50, PacketRateIn: first + 60, PacketRateOut: first + 70, ByteRateIn: first + 80, ByteRateOut: first + 90,
		}
	}
	dest := func(n uint32) ipvs.ListedDestination {
		d := web1
		d.Weight = n
		return ipvs.ListedDestination{Destination: d, Connections: ipvs.Connections{Persistent: 7 * n}, Counters: counters(uint64(n))}
	}
	listed := ipvs.ListedService{Service: web, Counters: counters(1), Destinations: []ipvs.ListedDestination{dest(2), dest(1)}}
	mark := listed
	mark.Key = ipvs.FWMarkKey(10, false)
	for _, tt := range []struct {
		want   func(ipvs.ServiceKey) bool
		listed ipvs.Listing
	}{
		{nil, ipvs.Listing{mark, listed}},
		{func(k ipvs.ServiceKey) bool { return k == web.Key }, ipvs.Listing{listed}},
	} {
		got, err := c.Listing(t.Context(), tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.listed, got, cmp.Comparer(func(a, b ipvs.ServiceKey) bool { return a == b }),
			cmp.Comparer(func(a, b ipvs.DestinationKey) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestListingError(t *testing.T) {
	f := newFake()
	f.intercept = func(uint8) ([][]byte, error) { return nil, unix.EPERM }
	_, err := f.client(t).Listing(t.Context(), nil)
	if !errors.Is(err, unix.EPERM) || err.Error() != "read the IPVS table: operation not permitted (CAP_NET_ADMIN is needed)" {
		t.Errorf("got %v", err)
	}
}

func TestZeroServiceError(t *testing.T) {
	f := newFake()
	f.intercept = func(uint8) ([][]byte, error) { return nil, unix.ESRCH }
	err := f.client(t).ZeroService(t.Context(), web.Key)
	if !errors.Is(err, unix.ESRCH) || err.Error() != "ipvsadm -Z -t 10.0.0.100:80: no such process (the kernel has no such service)" {
		t.Errorf("got %v", err)
	}
}

func TestReadConnections(t *testing.T) {
	const titles = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
	const line = "TCP 0A000001 E0F2 0A000064 0007 0A000015 0007 ESTABLISHED     898\n"
	for _, tt := range []struct {
		name, text string
		stop       int // after so many
		want       int
		err        string
	}{
		{"nothing", titles, 9, 0, ""},
		{"three", titles + line + line + line, 9, 3, ""},
		{"stopped", titles + line + line + line, 2, 2, ""},
		{"broken", titles + line + "TCP\n" + line, 9, 1, "/proc/net/ip_vs_conn line 3: connection of 1 words, want at least 9"},
		{"endless line", titles + strings.Repeat("x", 1<<17), 9, 0, "read the IPVS connections: bufio.Scanner: token too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, text := 0, ""
			readConnections(strings.NewReader(tt.text), func(c ipvs.Connection, err error) bool {
				if err != nil {
					text = err.Error()
					return true
				}
				n++
				return n < tt.stop
			})
			if n != tt.want || text != tt.err {
				t.Errorf("got %d connections and %q, want %d and %q", n, text, tt.want, tt.err)
			}
		})
	}
}
