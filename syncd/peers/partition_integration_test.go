//go:build integration

package peers

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
)

// peerProcess marks a process that is one director, lb-a or lb-b by its value.
const peerProcess = "HADIRECTOR_TEST_PEER"

var partitionAddrs = map[string]netip.Addr{
	"lb-a": netip.MustParseAddr("192.0.2.1"),
	"lb-b": netip.MustParseAddr("192.0.2.2"),
}

// director is the second process: it prints its events until it is told to end.
func director(t *testing.T, self string) {
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	events := make(chan Event, 64)
	o := Options{
		Self: self, Bind: partitionAddrs[self], Port: 7946, Keys: [][32]byte{{1}}, Label: "test",
		Peers: make(map[string]netip.Addr), Local: Local{Version: "1"}, Events: events,
	}
	for name, a := range partitionAddrs {
		if name != self {
			o.Peers[name] = a
		}
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for e := range events {
			fmt.Printf("event %s %s\n", e.Kind, e.Member.Name)
		}
	}()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestPartition cuts the cable between two directors for longer than memberlist
// remembers the dead, and expects that they find each other afterwards.
func TestPartition(t *testing.T) {
	if self := os.Getenv(peerProcess); self != "" {
		director(t, self)
		return
	}
	a, b := netnstest.New(t, "a"), netnstest.New(t, "b")
	netnstest.Cable(t, a, "eth0", b, "eth0")
	a.IP(t, "addr add 192.0.2.1/24 dev eth0")
	b.IP(t, "addr add 192.0.2.2/24 dev eth0")

	spawn := func(ns *netnstest.NS, self string) (event func(kind EventKind, within time.Duration)) {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestPartition$")
		cmd.Env = append(os.Environ(), peerProcess+"="+self)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		ns.Start(t, cmd)
		lines := make(chan string, 64)
		go func() {
			for s := bufio.NewScanner(out); s.Scan(); {
				lines <- s.Text()
			}
		}()
		return func(kind EventKind, within time.Duration) {
			t.Helper()
			timeout := time.After(within)
			for {
				select {
				case line := <-lines:
					if strings.HasPrefix(line, fmt.Sprintf("event %s ", kind)) {
						return
					}
				case <-timeout:
					t.Fatalf("%s: no %s within %v", self, kind, within)
				}
			}
		}
	}
	eventA, eventB := spawn(a, "lb-a"), spawn(b, "lb-b")
	eventA(Joined, 10*time.Second)
	eventB(Joined, 10*time.Second)

	a.IP(t, "link set eth0 down")
	eventA(Lost, 3*time.Second)
	eventB(Lost, 3*time.Second)
	// The length of the partition: memberlist forgets the dead after five seconds.
	<-time.After(8 * time.Second)
	a.IP(t, "link set eth0 up")
	// Attempts are at most 2.5 s apart and one that is under way ends after 3 s.
	eventA(Joined, 10*time.Second)
	eventB(Joined, 10*time.Second)
}
