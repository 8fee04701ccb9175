package vrrpconn

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

const secret = "Sesame-Sesame-Sesame-Sesame-1234"

func signs(in vrrp.Instance, mode vrrp.HMACMode) vrrp.Instance {
	in.HMAC = &vrrp.HMAC{Keys: []vrrp.HMACKey{{ID: 1, Secret: []byte(secret)}}, ActiveKey: 1, Mode: mode}
	return in
}

// sent returns what a fakeSocket has sent so far.
func sent(s *fakeSocket) []datagram {
	var ds []datagram
	for len(s.sent) > 0 {
		ds = append(ds, <-s.sent)
	}
	return ds
}

// The copies of one advertisement have the same trailer; the next is newer, also
// after the socket was opened anew at the very same time.
func TestSentAdvertsAreSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock := fakeHub()
		in := signs(unicast(51, peer, netip.MustParseAddr("10.0.0.3")), vrrp.HMACEnforce)
		var payloads [][]byte
		for range 2 {
			c := mustOpen(t, h, in)
			for range 2 {
				must(t, c.Send(advert(51, 100)))
			}
			for _, d := range sent(sock()) {
				payloads = append(payloads, d.payload)
			}
			must(t, c.Close())
		}
		if len(payloads) != 8 {
			t.Fatalf("%d datagrams, want 2 for each of 4 advertisements", len(payloads))
		}
		for i, p := range payloads {
			if len(p) != 12+28 {
				t.Fatalf("%d bytes, want a trailer of 28", len(p))
			}
			if i == 0 {
				continue
			}
			switch order := bytes.Compare(p[16:24], payloads[i-1][16:24]); {
			case i%2 == 1 && !bytes.Equal(p[12:], payloads[i-1][12:]):
				t.Errorf("copy %d has another trailer: %x", i, p)
			case i%2 == 0 && order <= 0:
				t.Errorf("advertisement %d is not newer: %x after %x", i, p[16:24], payloads[i-1][16:24])
			}
		}
	})
}

func TestReceiveOnlySendsUnsigned(t *testing.T) {
	h, sock := fakeHub()
	c := mustOpen(t, h, signs(multicast(51), vrrp.HMACReceiveOnly))
	defer c.Close()
	must(t, c.Send(advert(51, 100)))
	if d := <-sock().sent; len(d.payload) != 12 {
		t.Errorf("%d bytes, want no trailer", len(d.payload))
	}
}

func TestReceivedAdvertsAreVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sock, log := loggedHub(slog.LevelDebug)
		in := signs(knows(multicast(51), peer), vrrp.HMACEnforce)
		var stamper vrrp.Stamper
		sign := func(src netip.Addr, p vrrp.Priority) datagram {
			d := good()
			d.src = src
			var err error
			d.payload, err = in.HMAC.Sign(wire(advert(51, p), src, group4), src, group4, stamper.Next(time.Now(), in.HMAC, time.Second))
			must(t, err)
			return d
		}
		c := mustOpen(t, h, in)
		accepted := sign(peer, 100)
		forged := sign(peer, 255)
		forged.payload = bytes.Clone(forged.payload)
		forged.payload[len(forged.payload)-1] ^= 1
		old := sign(peer, 255)
		time.Sleep(6 * time.Second)
		sock().in <- sign(other, 255) // with the key, but nobody we know
		sock().in <- good()
		sock().in <- forged
		sock().in <- old
		fresh := sign(peer, 42)
		sock().in <- fresh
		sock().in <- fresh
		sock().in <- accepted
		synctest.Wait()
		if got := waiting(c); len(got) != 1 || got[0].Advert.Priority != 42 {
			t.Errorf("received %v, want priority 42 alone", got)
		}
		want := map[string]uint64{"peer": 1, "hmac": 1, "stale": 3, "replay": 1}
		if diff := cmp.Diff(want, c.Discarded()); diff != "" {
			t.Errorf("discarded (-want +got):\n%s", diff)
		}
		// Opening anew, for a new key say, forgets nothing.
		must(t, c.Close())
		again := mustOpen(t, h, in)
		defer again.Close()
		sock().in <- fresh
		synctest.Wait()
		if diff := cmp.Diff(map[string]uint64{"replay": 1}, again.Discarded()); diff != "" {
			t.Errorf("discarded by the new Conn (-want +got):\n%s", diff)
		}
		for _, line := range log.take() {
			if strings.Contains(line, "Sesame") {
				t.Errorf("the secret is in the log: %s", line)
			}
		}
	})
}

func TestOpenNeedsTheKeyToSignWith(t *testing.T) {
	h, _ := fakeHub()
	in := signs(multicast(51), vrrp.HMACPermissive)
	in.HMAC.ActiveKey = 2
	if _, err := h.Open(in, ours, nil); err == nil || strings.Contains(err.Error(), "Sesame") {
		t.Errorf("got %v, want an error that names the key", err)
	}
	in.HMAC.Mode = vrrp.HMACReceiveOnly
	mustOpen(t, h, in).Close()
}
