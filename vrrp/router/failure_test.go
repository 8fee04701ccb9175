package router

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// TestAcquireFails: the virtual router stays Master, tries again every second, and
// announces once it has the addresses.
func TestAcquireFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		a.change(func() { a.acquireErr = errKernel })
		a.set.Apply(only(web(200)))
		pass(5 * time.Second)
		s := a.snapshot("web")
		// At 3.21875 s, 4.21875 s.
		if s.State != vrrp.Master || s.AddressError != "the kernel says no" || s.Counters.AddressErrors != 2 {
			t.Errorf("%v, address error %q, %d errors", s.State, s.AddressError, s.Counters.AddressErrors)
		}
		lan.take()
		a.mu.Lock()
		a.acquireErr = nil
		a.mu.Unlock()
		pass(time.Second)
		check(t, "kernel", lan.take(), []string{
			"5.21875s a +10.0.0.100/24",
			"5.21875s a announces [10.0.0.100/24]", // for the retry
			"5.41875s a announces [10.0.0.100/24]", // of the series
		})
		if s := a.snapshot("web"); s.AddressError != "" {
			t.Errorf("address error %q remains", s.AddressError)
		}
		if n := strings.Count(a.log.String(), "operation failed"); n != 1 {
			t.Errorf("the failure was logged %d times, want once:\n%s", n, a.log.String())
		}
	})
}

// TestReleaseFails: an address that stays on a Backup is tried again.
func TestReleaseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.mu.Lock()
		a.releaseErr = errKernel
		a.mu.Unlock()
		b := newHost(t, lan, "b", "10.0.0.2/24")
		owner := web(vrrp.PriorityOwner)
		b.set.Apply(only(owner))
		pass(time.Second / 2)
		check(t, "a", a.transitions(), []string{"4s web master→backup higher-priority"})
		a.mu.Lock()
		a.releaseErr = nil
		a.mu.Unlock()
		lan.take()
		pass(time.Second / 2)
		check(t, "kernel", lan.take(), []string{"5s a -10.0.0.100/24"})
	})
}

// TestReleaseFailsWithoutALink: the address may be on a link that was renamed.
func TestReleaseFailsWithoutALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		lan.take()
		a.change(func() {
			a.releaseErr, a.failOnce = errKernel, true
			a.link.Index, a.link.Up, a.link.Why = 0, false, "link eth0 does not exist"
		})
		pass(time.Second)
		check(t, "reports", a.transitions(), []string{"4s web master→fault failed: link eth0 does not exist"})
		check(t, "kernel", lan.take(), []string{"5s a -10.0.0.100/24"})
	})
}

// TestReleaseFailsAtTheEnd: there is no later, so it is tried again at once.
func TestReleaseFailsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.mu.Lock()
		a.releaseErr, a.failOnce = errKernel, true
		a.mu.Unlock()
		a.stop()
		check(t, "kernel", lan.take(), []string{"4s a -10.0.0.100/24"})
	})
}

// TestAddressRemoved: somebody else takes the address away from a Master. It is back
// in 20 ms, and once a second from somebody who does it again and again; the log has one
// line a minute.
func TestAddressRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		remove := func() { a.change(func() { a.link.Addrs = a.link.Addrs[:1] }) }
		remove()
		pass(200 * time.Millisecond)
		check(t, "kernel", lan.take(), []string{
			"4.02s a +10.0.0.100/24",
			"4.02s a announces [10.0.0.100/24]",
		})
		for range 7 {
			remove()
			pass(300 * time.Millisecond)
		}
		check(t, "kernel", lan.take(), []string{
			"4.31875s a announces [10.0.0.100/24]",
			"5.02s a +10.0.0.100/24",
			"5.02s a announces [10.0.0.100/24]",
			"5.41875s a announces [10.0.0.100/24]", // of the series
			"6.02s a +10.0.0.100/24",
			"6.02s a announces [10.0.0.100/24]",
		})
		pass(time.Minute)
		remove()
		pass(20 * time.Millisecond)
		if n := a.snapshot("web").Counters.Restored; n != 4 {
			t.Errorf("%d addresses were put back, want 4", n)
		}
		log := a.log.String()
		if n := strings.Count(log, "virtual addresses were removed"); n != 2 {
			t.Errorf("logged %d times, want twice:\n%s", n, log)
		}
		if want := "addresses=[10.0.0.100/24] count=3\n"; !strings.HasSuffix(log, want) {
			t.Errorf("the log does not end with %q:\n%s", want, log)
		}
	})
}

// TestAddressesGoWithTheLink: a link that is deleted loses its addresses first; nobody
// tries to add them to what is no longer there.
func TestAddressesGoWithTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.change(func() { a.link.Addrs = a.link.Addrs[:1] })
		pass(5 * time.Millisecond)
		a.change(func() { a.link.Index, a.link.Up, a.link.Why = 0, false, "link eth0 does not exist" })
		pass(time.Second)
		check(t, "reports", a.transitions(), []string{"4.005s web master→fault failed: link eth0 does not exist"})
		check(t, "kernel", lan.take(), nil)
	})
}

// TestOldReport: a report of the interface from before our acquisition takes no address
// away.
func TestOldReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		a.set.Apply(only(web(200)))
		pass(3 * time.Second)
		a.mu.Lock()
		a.silent = true // no reports from here on
		a.mu.Unlock()
		pass(300 * time.Millisecond) // Master at 3.21875 s
		a.mu.Lock()
		a.silent = false
		now := a.link
		a.link.Addrs = a.link.Addrs[:1]
		a.tell()
		a.mu.Unlock()
		pass(100 * time.Millisecond)
		a.change(func() { a.link = now })
		pass(2 * time.Second)
		if n := a.snapshot("web").Counters.Restored; n != 0 {
			t.Errorf("%d addresses were put back, none was lost", n)
		}
	})
}

// TestLateReport: a virtual router looks again a second after it has made its link. If the
// kernel's word of the addresses has not come by then, nobody has taken them away.
func TestLateReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		in := web(200)
		in.VMAC, in.AdvertInterval = &vrrp.VMAC{Link: "vrrp.51"}, 250*time.Millisecond
		a.set.Apply(only(in))
		pass(500 * time.Millisecond)
		a.mu.Lock()
		a.silent = true // no reports from here on
		a.mu.Unlock()
		pass(time.Second)
		check(t, "reports", a.transitions(), []string{"0s web stopped→backup startup", "804.6875ms web backup→master master-down"})
		a.change(func() { a.silent = false })
		pass(2 * time.Second)
		if n := a.snapshot("web").Counters.Restored; n != 0 {
			t.Errorf("%d addresses were put back, none was lost:\n%s", n, a.log.String())
		}
	})
}

// TestSendFails: the virtual router goes on, the error is counted for each advert
// and logged once.
func TestSendFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		lan.mu.Lock()
		a.opened[0].sendErr = errKernel
		lan.mu.Unlock()
		pass(10 * time.Second)
		if s := a.snapshot("web"); s.State != vrrp.Master || s.Counters.SendErrors != 10 {
			t.Errorf("%v with %d send errors, want master with 10", s.State, s.Counters.SendErrors)
		}
		check(t, "failures", a.snapshot("web").Failures, []string{errKernel.Error()})
		if n := strings.Count(a.log.String(), "operation failed"); n != 1 {
			t.Errorf("the failure was logged %d times, want once", n)
		}
		lan.mu.Lock()
		a.opened[0].sendErr = nil
		lan.mu.Unlock()
		pass(time.Second)
		if n := strings.Count(a.log.String(), "operation works again"); n != 1 {
			t.Errorf("the recovery was logged %d times, want once", n)
		}
		check(t, "failures", a.snapshot("web").Failures, nil)

		// A Backup does not send.
		lan.mu.Lock()
		a.opened[0].sendErr = errKernel
		lan.mu.Unlock()
		pass(time.Second)
		b := newHost(t, lan, "b", "10.0.0.2/24")
		b.set.Apply(only(web(vrrp.PriorityOwner)))
		pass(time.Second)
		if s := a.snapshot("web"); s.State != vrrp.Backup || len(s.Failures) > 0 {
			t.Errorf("%v with failures %v, want backup with none", s.State, s.Failures)
		}
	})
}

// TestDiscards: what the virtual router does not take is counted with what its
// socket did not take, changes nothing, and is logged at most once a minute.
func TestDiscards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.opened[0].discarded = map[string]uint64{"checksum": 2, "version": 1}
		advert := vrrp.Advert{Version: vrrp.Version2, VRID: 51, Priority: 254, Interval: time.Second}
		for range 5 {
			a.opened[0].inbox <- Received{ID: web(0).ID, From: netip.MustParseAddr("10.0.0.9"), Advert: advert}
		}
		pass(0)
		s := a.snapshot("web")
		if s.State != vrrp.Master || s.Counters.Discarded["version"] != 6 || s.Counters.Discarded["checksum"] != 2 {
			t.Errorf("%v, discarded %v", s.State, s.Counters.Discarded)
		}
		if n := strings.Count(a.log.String(), "advertisement discarded"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
	})
}

// TestMismatch: other addresses are no reason to discard, but are shown.
func TestMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		b := newHost(t, lan, "b", "10.0.0.2/24")
		other := web(200)
		other.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.77/24")}
		a.set.Apply(only(other))
		b.set.Apply(only(web(100)))
		pass(5 * time.Second)
		s := b.snapshot("web")
		if want := "10.0.0.1 advertises other virtual addresses: [10.0.0.77]"; s.State != vrrp.Backup || s.Mismatch != want {
			t.Errorf("%v, mismatch %q, want backup, %q", s.State, s.Mismatch, want)
		}
		a.set.Apply(only(web(200)))
		pass(time.Second)
		if s := b.snapshot("web"); s.Mismatch != "" {
			t.Errorf("mismatch %q remains", s.Mismatch)
		}
	})
}

// TestReportsAreKept: a reader that takes nothing holds nothing up, and later gets
// every transition in order.
func TestReportsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		for range cap(a.reports) {
			a.reports <- vrrp.Report{Instance: "filler", At: lan.begin}
		}
		a.set.Apply(only(web(200)))
		pass(4 * time.Second)
		if s := a.snapshot("web"); s.State != vrrp.Master {
			t.Errorf("state %v, want master", s.State)
		}
		for range cap(a.reports) {
			<-a.reports
		}
		synctest.Wait()
		check(t, "reports", a.transitions(), []string{
			"0s web stopped→backup startup",
			"3.21875s web backup→master master-down",
		})
	})
}

// TestStopWithoutReader: a Master that stops while nobody reads its reports has
// released its addresses at once, and ends within a second.
func TestStopWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		for range cap(a.reports) {
			a.reports <- vrrp.Report{}
		}
		lan.take()
		begin := time.Now()
		a.stop()
		if d := time.Since(begin); d > time.Second {
			t.Errorf("stopping took %v", d)
		}
		check(t, "kernel", lan.take(), []string{"4s a -10.0.0.100/24"})
	})
}

// TestStall: after the loop stood still, the advertisements that waited go before
// the timer that has expired meanwhile. Left to a select it would be chance, so it
// has to go well many times.
func TestStall(t *testing.T) {
	for range 10 {
		synctest.Test(t, testStall)
	}
}

func testStall(t *testing.T) {
	lan := newLAN()
	b := newHost(t, lan, "b", "10.0.0.2/24")
	b.set.Apply(only(web(100)))
	pass(time.Second)
	b.mu.Lock()
	b.onOpen = func(c *fakeConn) {
		time.Sleep(5 * time.Second)
		for range 5 {
			c.inbox <- Received{ID: web(0).ID, From: netip.MustParseAddr("10.0.0.1"), Advert: vrrp.Advert{
				Version: vrrp.Version3, VRID: 51, Priority: 200, Interval: time.Second,
			}}
		}
	}
	b.mu.Unlock()
	in := web(100)
	in.Checksum = vrrp.ChecksumPlain // needs another socket
	b.set.Apply(only(in))
	pass(6 * time.Second)
	check(t, "reports", b.transitions(), []string{"0s web stopped→backup startup"})
}
