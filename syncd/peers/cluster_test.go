package peers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestThreeDirectorsSeeEachOther(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b", "lb-c")
	var nodes []*node
	for i := range c.names {
		nodes = append(nodes, c.start(c.options(i)))
	}
	for i, n := range nodes {
		var others []string
		for j, name := range c.names {
			if j != i {
				others = append(others, name)
			}
		}
		n.until("sees the others and their configuration", func(ms map[string]Member) bool {
			for _, name := range others {
				if _, ok := n.PeerConfig(name); !ok {
					return false
				}
			}
			return alive(others...)(ms)
		})
		if len(n.Members()) != 2 {
			t.Errorf("%s knows %d peers, want 2", n.opts.Self, len(n.Members()))
		}
	}
	m := nodes[0].Members()["lb-c"]
	want := Meta{
		Version: "1.0",
		Started: time.Unix(1_000_002, 0),
		Config:  FingerprintOf("config of everybody"),
		Roles:   []Role{{"web", Backup}},
		Keys:    idsOf([][32]byte{c.key}),
	}
	if diff := cmp.Diff(want, m.Meta); diff != "" {
		t.Errorf("lb-a sees of lb-c -want +got\n%s", diff)
	}
	if m.Addr != c.addr(2) || m.Since.IsZero() || m.LastSeen.IsZero() || m.Why != "" {
		t.Errorf("lb-a sees lb-c as %+v", m)
	}

	// What changes at one reaches all.
	l := nodes[0].opts.Local
	l.Roles = []Role{{"web", Master}, {"mail", Backup}}
	l.Config = "another configuration"
	nodes[0].Update(l)
	for _, n := range nodes[1:] {
		n.until("sees the new role and the new configuration", func(ms map[string]Member) bool {
			text, _ := n.PeerConfig("lb-a")
			return ms["lb-a"].Meta.Masters == 1 && text == "another configuration"
		})
		if diff := cmp.Diff(l.Roles, n.Members()["lb-a"].Meta.Roles); diff != "" {
			t.Errorf("roles of lb-a -want +got\n%s", diff)
		}
	}
}

func TestTheNewestUpdateWins(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.until("joined", alive("lb-b"))
	for i := range 1000 {
		a.Update(Local{Version: fmt.Sprint(i)})
	}
	b.until("sees the last update", func(ms map[string]Member) bool { return ms["lb-a"].Meta.Version == "999" })
}

// An update that gossip loses is brought by the answer to the next probe, and not with
// the next exchange of state half a minute later.
func TestLostUpdate(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	b.until("joined", alive("lb-a"))
	lost := time.Now()
	a.delegate.set(Local{Version: "2", Roles: []Role{{"web", Master}}}, false) // and not published
	b.until("sees the update", func(ms map[string]Member) bool { return ms["lb-a"].Meta.Masters == 1 })
	if took := time.Since(lost); took > 5*time.Second {
		t.Errorf("took %v, want less than a second", took)
	}
}

func TestNothingToTellYet(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	o := c.options(0)
	o.Local = Local{}
	a, b := c.start(o), c.start(c.options(1))
	b.log("peer cannot be reached")
	a.Update(Local{Version: "2", Config: "text"})
	if e := b.event(Joined, "lb-a"); e.Member.Meta.Version != "2" || e.Member.Meta.Config != FingerprintOf("text") {
		t.Errorf("lb-a joined as %+v", e.Member.Meta)
	}
	c.start(Options{Self: "lb-c", Bind: c.addr(2), Port: 7946, Keys: [][32]byte{c.key}, Label: "x"}).end(false)
}

func TestCrashAndReturn(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.event(Joined, "lb-b")
	b.event(Joined, "lb-a")

	crashed := time.Now()
	b.end(true)
	lost := a.event(Lost, "lb-b")
	if took := lost.At.Sub(crashed); took > 2*time.Second {
		t.Errorf("the crash was seen after %v, want at most 2s", took)
	}
	if m := a.Members()["lb-b"]; m.Alive || !m.Since.Equal(lost.At) || m.Meta.Version != "1.0" {
		t.Errorf("after the crash lb-a knows %+v", m)
	}
	if text, ok := a.PeerConfig("lb-b"); !ok || text != "config of everybody" {
		t.Errorf("after the crash the last configuration is %q, %t", text, ok)
	}
	line := a.log("peer cannot be reached")
	if want := fmt.Sprintf("peer cannot be reached peer=lb-b addr=%s err=connection refused: no director runs there", c.addr(1)); line != want {
		t.Errorf("logged %q, want %q", line, want)
	}

	// It comes back as a new process, with another version and an empty memory.
	o := c.options(1)
	o.Local.Version = "1.1"
	back := time.Now()
	c.start(o)
	joined := a.event(Joined, "lb-b")
	if took := joined.At.Sub(back); took > 3*time.Second {
		t.Errorf("the return was seen after %v, want at most 3s", took)
	}
	a.until("sees the new version", func(ms map[string]Member) bool { return ms["lb-b"].Meta.Version == "1.1" })
}

func TestLeave(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.event(Joined, "lb-b")
	b.event(Joined, "lb-a")
	start := time.Now()
	b.end(false)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("leaving took %v, want at most 2s", took)
	}
	a.event(Left, "lb-b")
	// And it may come back.
	c.start(c.options(1))
	a.event(Joined, "lb-b")
}

func TestAnotherKeyNeverJoins(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a := c.start(c.options(0))
	o := c.options(1)
	o.Keys = [][32]byte{{9}}
	b := c.start(o)
	for i, n := range []*node{a, b} {
		other := c.names[1-i]
		for !strings.HasSuffix(n.log("peer cannot be reached"), "err=it has another cluster key") {
		}
		if m := n.Members()[other]; m.Alive || m.Why != "it has another cluster key" {
			t.Errorf("%s knows %+v", n.opts.Self, m)
		}
	}
}

func TestAnotherLabelNeverJoins(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a := c.start(c.options(0))
	o := c.options(1)
	o.Label = "other"
	c.start(o)
	for !strings.Contains(a.log("peer cannot be reached"), "err=it hung up") {
	}
	if a.Members()["lb-b"].Alive {
		t.Error("joined")
	}
}

func TestUnknownNameIsRefused(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a := c.start(c.options(0))
	o := c.options(1)
	o.Self = "mallory"
	m := c.start(o)
	m.until("mallory sees lb-a, who has answered", alive("lb-a"))
	line := a.log("director that is not configured refused")
	if want := fmt.Sprintf("director that is not configured refused peer=mallory addr=%s", c.addr(1)); line != want {
		t.Errorf("logged %q, want %q", line, want)
	}
	if len(a.Members()) != 1 || a.Members()["lb-b"].Alive {
		t.Errorf("lb-a knows %+v", a.Members())
	}
}

func TestStrangersAreDroppedAndToldOnce(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.until("joined", alive("lb-b"))

	target := netip.AddrPortFrom(c.addr(0), 7946)
	udp, err := net.DialUDP("udp", &net.UDPAddr{IP: c.addr(7).AsSlice()}, net.UDPAddrFromAddrPort(target))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for range 100 {
		if _, err := udp.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.addr(8).AsSlice()}}
	tcp, err := d.DialContext(t.Context(), "tcp", target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcp.SetReadDeadline(time.Now().Add(patience))
	if n, err := tcp.Read(make([]byte, 1)); err == nil {
		t.Errorf("the stranger's connection was answered with %d bytes", n)
	}

	// What comes after the strangers proves that no second line about them did.
	b.end(true)
	a.event(Lost, "lb-b")
	counts := make(map[string]int)
	for len(a.logs) > 0 {
		counts[<-a.logs]++
	}
	for _, n := range []int{7, 8} {
		line := fmt.Sprintf("director that is not configured refused peer= addr=%s", c.addr(n))
		if counts[line] != 1 {
			t.Errorf("%d lines %q, want 1", counts[line], line)
		}
	}
}

func TestListeningIsTriedAgain(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	taken, err := net.Listen("tcp", netip.AddrPortFrom(c.addr(0), 7946).String())
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.log("cannot listen for peers yet")
	taken.Close()
	a.log("listening for peers now")
	a.until("joined", alive("lb-b"))
	b.until("joined", alive("lb-a"))
}

func TestAnAddressThatIsNotThere(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	o := c.options(0)
	o.Bind = netip.MustParseAddr("192.0.2.1") // RFC 5737: nobody's
	a := c.start(o)
	line := a.log("cannot listen for peers yet")
	if !strings.Contains(line, "cannot assign requested address") {
		t.Errorf("logged %q", line)
	}
	a.Update(Local{Version: "2"}) // does not block
	a.end(false)
}

func TestRunReturnsNil(t *testing.T) {
	c := newCluster(t, "lb-a")
	p, err := New(c.options(0))
	if err != nil {
		t.Fatal(err)
	}
	if members := p.Members(); len(members) != 0 {
		t.Errorf("a director without peers has %v", members)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
}
