package netif

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp/router"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func prefixes(ss ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, prefix(s))
	}
	return ps
}

var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func TestTableState(t *testing.T) {
	up := link{index: 2, name: "eth0", adminUp: true, carrier: true}
	tests := []struct {
		name  string
		apply func(*table)
		want  router.Link
	}{
		{"nothing known", func(*table) {},
			router.Link{Name: "eth0", Why: "link eth0 does not exist"}},
		{"another link only", func(tb *table) { tb.setLink(link{3, "eth1", true, true}) },
			router.Link{Name: "eth0", Why: "link eth0 does not exist"}},
		{"administratively down", func(tb *table) { tb.setLink(link{2, "eth0", false, false}) },
			router.Link{Name: "eth0", Index: 2, Why: "link eth0 is down"}},
		{"no carrier", func(tb *table) { tb.setLink(link{2, "eth0", true, false}) },
			router.Link{Name: "eth0", Index: 2, Why: "link eth0 has no carrier"}},
		{"up without address", func(tb *table) { tb.setLink(up) },
			router.Link{Name: "eth0", Index: 2, Up: true}},
		{"deleted", func(tb *table) {
			tb.setLink(up)
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/24")})
			tb.delLink(2)
		}, router.Link{Name: "eth0", Why: "link eth0 does not exist"}},
		{"recreated with another index, old addresses gone", func(tb *table) {
			tb.setLink(up)
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/24")})
			tb.delLink(2)
			tb.setLink(link{7, "eth0", true, true})
		}, router.Link{Name: "eth0", Index: 7, Up: true}},
		{"renamed away", func(tb *table) {
			tb.setLink(up)
			tb.setLink(link{2, "lan0", true, true})
		}, router.Link{Name: "eth0", Why: "link eth0 does not exist"}},
		{"renamed to it, addresses stay", func(tb *table) {
			tb.setLink(link{2, "lan0", true, true})
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/24")})
			tb.setLink(up)
		}, router.Link{Name: "eth0", Index: 2, Up: true, Addrs: prefixes("10.0.0.1/24")}},
		{"address told before its link", func(tb *table) {
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/24")})
			tb.setLink(up)
		}, router.Link{Name: "eth0", Index: 2, Up: true, Addrs: prefixes("10.0.0.1/24")}},
		{"primary addresses first", func(tb *table) {
			tb.setLink(up)
			tb.setAddr(2, address{prefix: prefix("10.0.0.100/24"), secondary: true})
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/24")})
			tb.setAddr(2, address{prefix: prefix("192.168.0.1/24")})
		}, router.Link{Name: "eth0", Index: 2, Up: true, Addrs: prefixes("10.0.0.1/24", "192.168.0.1/24", "10.0.0.100/24")}},
		{"secondary promoted", func(tb *table) {
			tb.setLink(up)
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/24")})
			tb.setAddr(2, address{prefix: prefix("10.0.0.2/24"), secondary: true})
			tb.setAddr(2, address{prefix: prefix("10.0.0.3/24"), secondary: true})
			tb.delAddr(2, prefix("10.0.0.1/24"))
			tb.setAddr(2, address{prefix: prefix("10.0.0.3/24")})
		}, router.Link{Name: "eth0", Index: 2, Up: true, Addrs: prefixes("10.0.0.3/24", "10.0.0.2/24")}},
		{"tentative address is not told", func(tb *table) {
			tb.setLink(up)
			tb.setAddr(2, address{prefix: prefix("fe80::1/64"), unusable: true})
		}, router.Link{Name: "eth0", Index: 2, Up: true}},
		{"after duplicate address detection it is", func(tb *table) {
			tb.setLink(up)
			tb.setAddr(2, address{prefix: prefix("fe80::1/64"), unusable: true})
			tb.setAddr(2, address{prefix: prefix("fe80::1/64")})
		}, router.Link{Name: "eth0", Index: 2, Up: true, Addrs: prefixes("fe80::1/64")}},
		{"address of another link", func(tb *table) {
			tb.setLink(up)
			tb.setLink(link{3, "eth1", true, true})
			tb.setAddr(3, address{prefix: prefix("10.0.0.1/24")})
		}, router.Link{Name: "eth0", Index: 2, Up: true}},
		{"same address with two prefix lengths", func(tb *table) {
			tb.setLink(up)
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/24")})
			tb.setAddr(2, address{prefix: prefix("10.0.0.1/32")})
			tb.delAddr(2, prefix("10.0.0.1/24"))
		}, router.Link{Name: "eth0", Index: 2, Up: true, Addrs: prefixes("10.0.0.1/32")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable()
			tt.apply(tb)
			if diff := cmp.Diff(tt.want, tb.state("eth0"), comparePrefixes); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSubscriberSeesTheNewestStateOnceAndOnlyChanges(t *testing.T) {
	w := NewWatcher(nil)
	ch, stop := w.Watch("eth0")
	defer stop()
	w.change(func(tb *table) { tb.setLink(link{2, "eth0", false, false}) })
	select {
	case l := <-ch:
		t.Fatalf("told %+v before the kernel's state was read", l)
	default:
	}

	w.change(func(*table) { w.synced = true })
	w.change(func(tb *table) { tb.setLink(link{2, "eth0", true, false}) })
	w.change(func(tb *table) { tb.setLink(link{2, "eth0", true, true}) })
	if l := (<-ch)["eth0"]; !l.Up {
		t.Errorf("told %q, want the newest state, up", l.Why)
	}
	w.change(func(tb *table) { tb.setLink(link{3, "eth1", true, true}) })
	select {
	case l := <-ch:
		t.Errorf("told %+v although nothing has changed for eth0", l)
	default:
	}

	late, stopLate := w.Watch("eth0")
	if l := (<-late)["eth0"]; !l.Up {
		t.Errorf("a later Watch is told %q, want up", l.Why)
	}
	stopLate()
	stopLate()
	w.change(func(tb *table) { tb.delLink(2) })
	if l := (<-ch)["eth0"]; l.Why != "link eth0 does not exist" {
		t.Errorf("told %+v after the link was deleted", l)
	}
	select {
	case l := <-late:
		t.Errorf("told %+v after stop", l)
	default:
	}
}
