package vrrpconn

import (
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

func ofPriority(vrid vrrp.VRID, p vrrp.Priority) datagram {
	d := good()
	d.payload = wire(advert(vrid, p), peer, group4)
	return d
}

// The members of a sync group share an inbox. Whose advertisement comes when it is
// full takes the oldest out, and counts it.
func TestASharedInboxLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock, log := loggedHub(slog.LevelInfo)
		inbox := make(router.Inbox, 4)
		a, err := h.Open(multicast(51), ours, inbox)
		must(t, err)
		defer a.Close()
		b, err := h.Open(multicast(52), ours, inbox)
		must(t, err)
		defer b.Close()
		for _, d := range []datagram{
			ofPriority(51, 1), ofPriority(52, 2), ofPriority(51, 3), ofPriority(51, 4),
			ofPriority(52, 5), ofPriority(51, 6), ofPriority(52, 7),
		} {
			sock().in <- d
		}
		synctest.Wait()
		type seen struct {
			VRID     vrrp.VRID
			Priority vrrp.Priority
		}
		var got []seen
		for _, r := range waiting(opened{a, inbox}) {
			if r.ID.VRID != r.Advert.VRID {
				t.Errorf("virtual router %v received %+v", r.ID, r.Advert)
			}
			got = append(got, seen{r.ID.VRID, r.Advert.Priority})
		}
		if diff := cmp.Diff([]seen{{51, 4}, {52, 5}, {51, 6}, {52, 7}}, got); diff != "" {
			t.Errorf("waiting (-want +got):\n%s", diff)
		}
		for name, tt := range map[string]struct {
			c    router.Conn
			want uint64
		}{"51, which delivered 6": {a, 1}, "52, which delivered 5 and 7": {b, 2}} {
			if diff := cmp.Diff(map[string]uint64{ReasonOverflow: tt.want}, tt.c.Discarded()); diff != "" {
				t.Errorf("%s: discarded (-want +got):\n%s", name, diff)
			}
		}
		// The line names the one that lost.
		var want []string
		for _, vrid := range []string{"51", "52"} {
			want = append(want, `level=WARN msg="datagram discarded" interface=lo family=ipv4 reason=overflow count=1 err="the virtual router does not keep up" peer=10.0.0.2 vrid=`+vrid)
		}
		if diff := cmp.Diff(want, log.take()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// Two sockets deliver to one inbox while it is read: nothing blocks, and nothing is
// lost without being counted.
func TestASharedInboxHasManyWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 5000
		h, sock := fakeHub()
		inbox := make(router.Inbox, 2)
		open := func(in vrrp.Instance, source string) (router.Conn, *fakeSocket) {
			c, err := h.Open(in, netip.MustParseAddr(source), inbox)
			must(t, err)
			return c, sock()
		}
		in6 := multicast(51)
		in6.ID.Family = vrrp.IPv6
		a, sock4 := open(multicast(51), "10.0.0.1")
		b, sock6 := open(in6, "fe80::1")
		v6 := advert(51, 100)
		v6.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100")}
		from, group6 := netip.MustParseAddr("fe80::2"), vrrp.Group(vrrp.IPv6)
		d6 := datagram{payload: wire(v6, from, group6), src: from, dst: group6, ttl: 255, index: loopback}

		read := make(chan uint64)
		stop := make(chan struct{})
		go func() {
			var n uint64
			for {
				select {
				case <-inbox:
					n++
				case <-stop:
					read <- n
					return
				}
			}
		}()
		var writers sync.WaitGroup
		writers.Go(func() {
			for range each {
				sock4.in <- good()
			}
		})
		writers.Go(func() {
			for range each {
				sock6.in <- d6
			}
		})
		writers.Wait()
		synctest.Wait()
		must(t, a.Close())
		must(t, b.Close())
		close(stop)
		got := <-read + uint64(len(inbox)) + a.Discarded()[ReasonOverflow] + b.Discarded()[ReasonOverflow]
		if got != 2*each {
			t.Errorf("%d advertisements were read, are waiting or are counted as lost, want %d", got, 2*each)
		}
	})
}

// Close ends the delivery, of what arrives during it too.
func TestNothingIsDeliveredAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock := fakeHub()
		a, b := mustOpen(t, h, multicast(51)), mustOpen(t, h, multicast(52))
		defer b.Close()
		sock().in <- good()
		synctest.Wait()
		must(t, a.Close())
		if n := len(waiting(a)); n != 1 {
			t.Errorf("%d advertisements from before, want 1", n)
		}
		sock().in <- good()
		time.Sleep(time.Second)
		if n := len(waiting(a)); n != 0 {
			t.Errorf("%d advertisements after Close", n)
		}
	})
}
