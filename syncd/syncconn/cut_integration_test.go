//go:build integration

package syncconn

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/syncd"
)

// directorProcess marks a process that is one director, lb-a or lb-b by its value.
const directorProcess = "HADIRECTOR_TEST_STREAM"

// director is the second process: it tells its peer of a change every 20 ms, numbered,
// and prints what it is told, until it is told to end.
func director(t *testing.T, self string) {
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	way, peer := syncd.Path{Local: a, Peer: b}, "lb-b"
	if self == "lb-b" {
		way, peer = syncd.Path{Local: b, Peer: a}, "lb-a"
	}
	s, err := New(Options{
		Self: self, Port: testPort, Keys: [][32]byte{{1}}, Peers: map[string][]syncd.Path{peer: {way}},
		Link: syncd.LinkOptions{PingEvery: 200 * time.Millisecond, DeadAfter: 700 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for n := 0; ctx.Err() == nil; n++ {
			s.TellAll(syncd.Change{Count: 1, Payload: fmt.Appendf(nil, "%d ", n)})
			time.Sleep(20 * time.Millisecond)
		}
	}()
	go func() {
		for a := range s.Actions() {
			switch a := a.Action.(type) {
			case syncd.ReadSnapshot:
				s.TellAll(syncd.SnapshotDone{Snapshot: a.Snapshot})
			case syncd.StateChanged:
				if a.Receiving {
					fmt.Printf("state %s\n", a.To)
				}
			case syncd.Deliver:
				switch f := a.Frame.(type) {
				case syncd.Records:
					fmt.Printf("records %s\n", f.Payload)
					s.TellAll(syncd.Injected{Run: a.Run, Seq: f.Seq})
				case syncd.SnapshotBegin:
					fmt.Println("snapshot")
				case syncd.SnapshotEnd:
					s.TellAll(syncd.Injected{Run: a.Run, Seq: f.Seq})
				}
			}
		}
	}()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestCut takes the link between two directors down for longer than a connection lives,
// and expects every change in order and no second snapshot.
func TestCut(t *testing.T) {
	if self := os.Getenv(directorProcess); self != "" {
		director(t, self)
		return
	}
	a, b := netnstest.New(t, "a"), netnstest.New(t, "b")
	netnstest.Cable(t, a, "eth0", b, "eth0")
	a.IP(t, "addr add 192.0.2.1/24 dev eth0")
	b.IP(t, "addr add 192.0.2.2/24 dev eth0")

	spawn := func(ns *netnstest.NS, self string) (line func() string) {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestCut$")
		cmd.Env = append(os.Environ(), directorProcess+"="+self)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		ns.Start(t, cmd)
		lines := make(chan string, 10_000)
		go func() {
			for s := bufio.NewScanner(out); s.Scan(); {
				lines <- s.Text()
			}
		}()
		return func() string {
			select {
			case l := <-lines:
				return l
			case <-time.After(streamPatience):
				t.Fatalf("%s: nothing for %v", self, streamPatience)
				return ""
			}
		}
	}
	lineA, lineB := spawn(a, "lb-a"), spawn(b, "lb-b")
	// reader checks what a director prints, up to a state.
	reader := func(who string, line func() string) (until func(state string), numbers func() int) {
		next, snapshots, count := -1, 0, 0
		take := func() string {
			l := line()
			switch {
			case l == "snapshot":
				if snapshots++; snapshots > 1 {
					t.Fatalf("%s: another snapshot", who)
				}
			case strings.HasPrefix(l, "records "):
				for _, w := range strings.Fields(l)[1:] {
					var n int
					fmt.Sscan(w, &n)
					if next >= 0 && n != next {
						t.Fatalf("%s: change %d, want %d", who, n, next)
					}
					next = n + 1
					count++
				}
			}
			return l
		}
		return func(state string) {
				for take() != "state "+state {
				}
			}, func() int {
				before := count
				for count == before {
					take()
				}
				return count
			}
	}
	untilA, moreA := reader("lb-a", lineA)
	untilB, moreB := reader("lb-b", lineB)
	untilA("in sync")
	untilB("in sync")
	moreA()
	moreB()
	a.IP(t, "link set eth0 down")
	untilA("connecting")
	untilB("connecting")
	a.IP(t, "link set eth0 up")
	untilA("in sync")
	untilB("in sync")
	moreA()
	moreB()
}
