package syncconn

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// One that sends its handshake byte for byte gets no more time than others.
func TestHandshakeThatDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Self: "lb-b", Port: testPort, Keys: [][32]byte{keyOld}, Peers: map[string][]syncd.Path{
			"lb-a": {{Local: netip.MustParseAddr("192.0.2.2"), Peer: netip.MustParseAddr("192.0.2.1")}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		p := s.peers["lb-a"]
		go p.run(ctx)

		ours, theirs := net.Pipe()
		dripped := make(chan struct{})
		go func() {
			defer close(dripped)
			// A record of 512 bytes that begins like a ClientHello.
			for _, b := range append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, make([]byte, 500)...) {
				if _, err := theirs.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(300 * time.Millisecond)
			}
		}()
		began := time.Now()
		s.greet(ctx, ours, &caller{p: p})
		if took := time.Since(began); took != handshakeTimeout {
			t.Errorf("it was given %v, want %v", took, handshakeTimeout)
		}
		if _, err := theirs.Write([]byte{0}); err == nil {
			t.Error("the connection is still open")
		}
		if n := s.Refused()["handshake"]; n != 1 {
			t.Errorf("%d refusals, want 1", n)
		}
		<-dripped
		cancel()
		<-p.done
	})
}
