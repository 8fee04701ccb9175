package vrrpconn

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
)

// lines collects the log without its times.
type lines struct{ buf bytes.Buffer }

func (l *lines) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(&l.buf, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// take returns the lines so far and forgets them.
func (l *lines) take() []string {
	text := strings.TrimSuffix(l.buf.String(), "\n")
	l.buf.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// loggedHub is a fakeHub with a log to look at, of which the lines have been
// written when synctest.Wait has returned.
func loggedHub(level slog.Level) (*Hub, func() *fakeSocket, *lines) {
	l := &lines{}
	h, sock := fakeHub()
	h.logger = l.logger(level)
	return h, sock, l
}

// One director speaks unicast, the other multicast: both become Master.
func TestDiscardsAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock, log := loggedHub(slog.LevelInfo)
		c := mustOpen(t, h, multicast(51))
		defer c.Close()
		stray := good()
		stray.dst = ours
		stray.payload = wire(advert(51, 100), peer, ours)
		broken := good()
		broken.payload = broken.payload[:1]
		say := func(what string, d datagram, want ...string) {
			t.Helper()
			sock().in <- d
			synctest.Wait()
			if diff := cmp.Diff(want, log.take()); diff != "" {
				t.Errorf("%s: log (-want +got):\n%s", what, diff)
			}
		}
		const prefix = `level=WARN msg="datagram discarded" interface=lo family=ipv4 `
		say("first", stray, prefix+`reason=destination count=1 err="wrong kind of destination: 10.0.0.1" peer=10.0.0.2 vrid=51`)
		for range 58 {
			time.Sleep(time.Second)
			say("within the minute", stray)
		}
		say("another reason", broken, prefix+`reason=short count=1 err="shorter than the fixed fields: 1 bytes" peer=10.0.0.2`)
		foreign := stray
		foreign.src = other
		foreign.payload = wire(advert(51, 100), other, ours)
		say("another sender", foreign, prefix+`reason=destination count=1 err="wrong kind of destination: 10.0.0.1" peer=10.0.0.9 vrid=51`)
		time.Sleep(2 * time.Second)
		// The 58 and this one.
		say("after a minute", stray, prefix+`reason=destination count=59 err="wrong kind of destination: 10.0.0.1" peer=10.0.0.2 vrid=51`)
		say("accepted", good())
	})
}

// Another cluster on the segment is normal.
func TestAnotherClusterIsSaidAtDebugAlone(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo:  nil,
		slog.LevelDebug: {`level=DEBUG msg="advertisement of another virtual router" interface=lo family=ipv4 vrid=51 peer=10.0.0.2`},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, sock, log := loggedHub(level)
			c := mustOpen(t, h, multicast(52))
			defer c.Close()
			sock().in <- good()
			synctest.Wait()
			if diff := cmp.Diff(want, log.take()); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
			if got := c.Discarded()["vrid"]; got != 1 {
				t.Errorf("counted %d, want 1", got)
			}
		})
	}
}

func TestSocketErrorsAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock, log := loggedHub(slog.LevelInfo)
		c := mustOpen(t, h, multicast(51))
		defer c.Close()
		for range 10 { // within a minute, with the pauses
			sock().in <- errors.New("no memory")
			sock().in <- unix.ENETDOWN // said by the link watcher
		}
		synctest.Wait()
		want := []string{`level=WARN msg="cannot receive" interface=lo family=ipv4 reason=other count=1 err="no memory"`}
		if diff := cmp.Diff(want, log.take()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestALostAdvertisementIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock, log := loggedHub(slog.LevelInfo)
		c := mustOpen(t, h, multicast(51))
		defer c.Close()
		for range 20 { // 16 find room
			sock().in <- good()
		}
		synctest.Wait()
		want := []string{`level=WARN msg="datagram discarded" interface=lo family=ipv4 reason=overflow count=1 err="the virtual router does not keep up" peer=10.0.0.2 vrid=51`}
		if diff := cmp.Diff(want, log.take()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// Somebody invents a sender for each of ten thousand packets: 64 are told apart,
// the others are one line a minute.
func TestInventedSendersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		cs := newComplaints(log.logger(slog.LevelInfo))
		flood := func() {
			for i := range 10_000 {
				from := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
				cs.add(discardedMsg, complaint{51, "checksum", from}, vrrp.ErrChecksum)
			}
		}
		flood()
		got := log.take()
		if len(got) != 65 {
			t.Errorf("%d lines, want 64 and one for all others", len(got))
		}
		if want := `level=WARN msg="datagram discarded" reason=checksum count=1 err="wrong checksum"`; got[len(got)-1] != want {
			t.Errorf("last line %q, want %q", got[len(got)-1], want)
		}
		flood()
		if got := log.take(); got != nil {
			t.Errorf("%d lines in the same minute, want none", len(got))
		}
		if n := len(cs.told["checksum"]); n != 65 {
			t.Errorf("%d remembered, want 65", n)
		}
		// They hide nothing else.
		cs.add(discardedMsg, complaint{51, "ttl", peer}, vrrp.ErrTTL)
		want := []string{`level=WARN msg="datagram discarded" reason=ttl count=1 err="TTL is too low" peer=10.0.0.2 vrid=51`}
		if diff := cmp.Diff(want, log.take()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		time.Sleep(time.Hour)
		cs.add(discardedMsg, complaint{51, "checksum", other}, vrrp.ErrChecksum)
		want = []string{`level=WARN msg="datagram discarded" reason=checksum count=1 err="wrong checksum" peer=10.0.0.9 vrid=51`}
		if diff := cmp.Diff(want, log.take()); diff != "" || len(cs.told["checksum"]) != 1 {
			t.Errorf("after an hour of silence %d are remembered, want this one alone; log (-want +got):\n%s", len(cs.told["checksum"]), diff)
		}
	})
}

// Another cluster has our VRID and advertises ten times a second: it is said once an
// hour, each of its directors.
func TestAStrangerIsSaidOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock, log := loggedHub(slog.LevelInfo)
		in := multicast(51)
		in.Senders = []vrrp.Sender{{Name: "lb-b", Addresses: []netip.Addr{peer}}}
		c := mustOpen(t, h, in)
		defer c.Close()
		stranger := good()
		stranger.src = other
		stranger.payload = wire(advert(51, 255), other, group4)
		second := good()
		second.src = netip.MustParseAddr("10.0.0.8")
		second.payload = wire(advert(51, 255), second.src, group4)
		say := func(what string, d datagram, want ...string) {
			t.Helper()
			sock().in <- d
			synctest.Wait()
			if diff := cmp.Diff(want, log.take()); diff != "" {
				t.Errorf("%s: log (-want +got):\n%s", what, diff)
			}
		}
		const prefix = `level=WARN msg="datagram discarded" interface=lo family=ipv4 reason=peer `
		say("first", stranger, prefix+`count=1 err="sender is no known director: 10.0.0.9" peer=10.0.0.9 vrid=51`)
		for range 3599 {
			time.Sleep(time.Second)
			say("within the hour", stranger)
		}
		say("another", second, prefix+`count=1 err="sender is no known director: 10.0.0.8" peer=10.0.0.8 vrid=51`)
		time.Sleep(time.Second)
		say("after an hour", stranger, prefix+`count=3600 err="sender is no known director: 10.0.0.9" peer=10.0.0.9 vrid=51`)
		if n := len(waiting(c)); n != 0 {
			t.Errorf("%d advertisements were delivered", n)
		}
		if diff := cmp.Diff(map[string]uint64{"peer": 3602}, c.Discarded()); diff != "" {
			t.Errorf("discarded (-want +got):\n%s", diff)
		}
	})
}
