package syncd_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// pair is two directors with a wire between them that can be cut, and kernels that take
// everything in.
type pair struct {
	t     *testing.T
	now   time.Time
	sides [2]*side
	id    syncd.ConnID // of the connection
	up    bool
}

// side is one director.
type side struct {
	*syncd.Exchange
	peer   string
	link   *syncd.Link
	kernel []syncd.Conn // what the backup daemon was told, in order
}

var pairNames = [2]string{"lb-a", "lb-b"}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, now: began}
	for i := range p.sides {
		p.start(i, uint64(i+1))
	}
	return p
}

// start starts a director that knows nothing.
func (p *pair) start(i int, run uint64) {
	self, peer := pairNames[i], pairNames[1-i]
	p.sides[i] = &side{
		Exchange: syncd.NewExchange(100_000), peer: peer,
		link: syncd.NewLink(p.now, syncd.LinkOptions{Self: self, Peer: peer, Run: run}),
	}
}

func (p *pair) connect() {
	p.id, p.up = p.id+1, true
	for _, s := range p.sides {
		p.tell(s, syncd.Tell{Event: syncd.ConnUp{ID: p.id}})
	}
	p.settle()
}

// cut ends the connection. What has left one side has reached the other.
func (p *pair) cut() {
	p.up = false
	for _, s := range p.sides {
		p.tell(s, syncd.Tell{Event: syncd.ConnDown{ID: p.id}})
	}
	p.settle()
}

// captured is what a director's kernel tells.
func (p *pair) captured(i int, conns ...syncd.Conn) {
	p.tell(p.sides[i], p.sides[i].Captured(p.now, slices.Values(conns))...)
}

func (p *pair) tell(s *side, tells ...syncd.Tell) {
	for ; len(tells) > 0; tells = tells[1:] {
		for _, a := range s.link.Handle(p.now, tells[0].Event) {
			if c, closes := a.(syncd.CloseConn); closes {
				p.t.Fatalf("closed: %s %s", c.Reason, c.Text)
			}
			tells = append(tells, s.Do(p.now, s.peer, a)...)
		}
	}
}

// settle lets everything happen that takes no time.
func (p *pair) settle() {
	for busy := true; busy; {
		busy = false
		for i, s := range p.sides {
			for job, ok := s.NextInjection(p.now); ok; job, ok = s.NextInjection(p.now) {
				s.kernel = append(s.kernel, job.Conns...)
				p.tell(s, s.Injected(job)...)
				busy = true
			}
			for p.up {
				f, ok := s.link.Next(p.now, p.id)
				if !ok {
					break
				}
				got, err := syncd.ParseFrame(syncd.AppendFrame(nil, f)[4:])
				if err != nil {
					p.t.Fatal(err)
				}
				p.tell(p.sides[1-i], syncd.Tell{Event: syncd.FrameReceived{ID: p.id, Frame: got}})
				busy = true
			}
		}
	}
}

// wait lets time pass.
func (p *pair) wait(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		next := end
		for _, s := range p.sides {
			if at, ok := s.link.Deadline(); ok && at.Before(next) {
				next = at
			}
		}
		p.now = next
		for _, s := range p.sides {
			s.Expire(p.now)
			p.tell(s, syncd.Tell{Event: syncd.Tick{}})
		}
		p.settle()
	}
}

func established(client string) syncd.Conn {
	return syncd.Conn{
		Protocol: syncd.ProtocolTCP, Client: netip.MustParseAddrPort(client), Virtual: netip.MustParseAddrPort("10.0.0.100:80"),
		Real: netip.MustParseAddrPort("10.0.0.21:80"), Flags: syncd.ForwardDirect, State: 1, Timeout: 15 * time.Minute,
	}
}

func (s *side) has(c syncd.Conn) bool {
	return slices.ContainsFunc(s.kernel, func(k syncd.Conn) bool { return k.Client == c.Client && k.Real == c.Real })
}

// Connections that were there before the peer are brought to it, and so are later ones.
func TestPeerThatJoinsGetsEverything(t *testing.T) {
	p := newPair(t)
	old, young := established("192.0.2.1:40000"), established("192.0.2.2:40000")
	p.captured(0, old)
	p.wait(time.Minute)
	p.connect()
	p.captured(0, young)
	p.wait(time.Second)
	for _, c := range []syncd.Conn{old, young} {
		if !p.sides[1].has(c) {
			t.Errorf("the peer's kernel lacks %v", c)
		}
	}
	// What is left of its time, not all of it.
	if got := p.sides[1].kernel[0].Timeout; got != 14*time.Minute {
		t.Errorf("the old connection lives for %v more, want 14m", got)
	}
	if len(p.sides[0].kernel) != 0 {
		t.Errorf("it came back: %v", p.sides[0].kernel)
	}
}

// A director that has started anew gets back what it told before.
func TestDirectorThatStartsAnewGetsItsConnectionsBack(t *testing.T) {
	p := newPair(t)
	p.connect()
	c := established("192.0.2.1:40000")
	p.captured(0, c)
	p.wait(time.Second)
	p.cut()
	p.start(0, 77)
	p.wait(time.Second)
	p.connect()
	p.wait(time.Second)
	if !p.sides[0].has(c) {
		t.Error("its kernel lacks the connection")
	}
}

// A full resync does not tell a director what it has told itself: the other's is older.
func TestWhoToldAConnectionIsNotToldIt(t *testing.T) {
	p := newPair(t)
	p.connect()
	theirs, ours := established("192.0.2.1:40000"), established("192.0.2.2:40000")
	p.captured(0, theirs)
	p.captured(1, ours)
	p.wait(time.Second)
	p.sides[0].kernel = nil
	p.tell(p.sides[0], syncd.Tell{Event: syncd.WantResync{}})
	p.wait(time.Second)
	if got := p.sides[0].kernel; len(got) != 1 || got[0].Client != ours.Client {
		t.Errorf("its kernel was told %v, want the other director's connection", got)
	}
}

// What is read of the kernel's table is told as far as nobody has told it.
func TestOnlyWhatIsNewIsLearned(t *testing.T) {
	p := newPair(t)
	p.connect()
	known, silent := established("192.0.2.1:40000"), established("192.0.2.2:40000")
	p.captured(0, known)
	p.wait(time.Second)
	p.tell(p.sides[0], p.sides[0].Learned(p.now, syncd.KernelList{Conns: []syncd.Living{{Conn: known, Remaining: time.Minute}, {Conn: silent, Remaining: time.Minute}}})...)
	p.wait(time.Second)
	if got := p.sides[1].kernel; len(got) != 2 || got[1].Client != silent.Client || got[1].Timeout != time.Minute {
		t.Errorf("the peer's kernel was told %v, want the one that was not known, with what remains of its time", got)
	}
	if _, n := p.sides[0].Counts(); n.Learned != 1 {
		t.Errorf("%d learned, want 1", n.Learned)
	}
}

// What the kernel has for longer than the table would know it is told again in time, with what
// only messages tell; a message that came after the list was asked for is the newer one.
func TestWhatIsSoonForgottenIsLearnedAgain(t *testing.T) {
	own := established("192.0.2.1:40000")
	own.Flags |= syncd.FlagInSeq
	own.Sequences, own.Timeout = syncd.Sequences{Present: true, In: syncd.Sequence{Init: 7}}, time.Minute
	plain := established("192.0.2.1:40000")
	ended := plain
	ended.State, ended.Flags = 4, plain.Flags|syncd.FlagInactive
	moved := plain
	moved.Real = netip.MustParseAddrPort("10.0.0.22:80")
	for _, tt := range []struct {
		name   string
		listed syncd.Living
		after  time.Duration // the table has the connection for a minute
		asked  time.Duration // before that
		due    time.Duration // after it
		want   string        // what the peer's kernel is told
	}{
		{"it ends before the next list", syncd.Living{Conn: plain, Remaining: 5 * time.Minute}, 45 * time.Second, 0, 20 * time.Second,
			"TCP 192.0.2.1:40000 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 5m0s dr,in-seq in {7 0 0} out {0 0 0}"},
		{"in another state", syncd.Living{Conn: ended, Remaining: 2 * time.Minute}, 45 * time.Second, 0, 20 * time.Second,
			"TCP 192.0.2.1:40000 > 10.0.0.100:80 > 10.0.0.21:80 FIN_WAIT 2m0s dr,inactive,in-seq in {7 0 0} out {0 0 0}"},
		{"another connection by now", syncd.Living{Conn: moved, Remaining: 5 * time.Minute}, 45 * time.Second, 0, 20 * time.Second,
			"TCP 192.0.2.1:40000 > 10.0.0.100:80 > 10.0.0.22:80 ESTABLISHED 5m0s dr"},
		{"the next list comes before", syncd.Living{Conn: plain, Remaining: 5 * time.Minute}, 30 * time.Second, 0, 20 * time.Second, ""},
		{"nobody knows when the next list comes", syncd.Living{Conn: plain, Remaining: 5 * time.Minute}, 45 * time.Second, 0, -time.Hour, ""},
		{"it ends in the kernel as well", syncd.Living{Conn: plain, Remaining: 15 * time.Second}, 45 * time.Second, 0, 20 * time.Second, ""},
		{"the list is older than the message", syncd.Living{Conn: plain, Remaining: 5 * time.Minute}, 45 * time.Second, 46 * time.Second, 20 * time.Second, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t)
			p.connect()
			p.captured(0, own)
			p.wait(tt.after)
			p.sides[1].kernel = nil
			list := syncd.KernelList{Conns: []syncd.Living{tt.listed}, Asked: p.now.Add(-tt.asked), Due: p.now.Add(tt.due)}
			p.tell(p.sides[0], p.sides[0].Learned(p.now, list)...)
			p.settle()
			got := ""
			for _, c := range p.sides[1].kernel {
				got += c.String()
			}
			if got != tt.want {
				t.Errorf("the peer's kernel was told\n got  %s\n want %s", got, tt.want)
			}
		})
	}
}

// What a list shows lives as long at the peer's as here, also if the list shows no whole second,
// or a template, of which a kernel is told the whole time.
func TestWhatIsLearnedEndsOnBothSides(t *testing.T) {
	p := newPair(t)
	p.connect()
	dying, template := established("192.0.2.1:40000"), established("192.0.2.0:0")
	template.Flags, template.State, template.Timeout = syncd.FlagTemplate|syncd.ForwardDirect, 1, 5*time.Minute
	p.tell(p.sides[0], p.sides[0].Learned(p.now, syncd.KernelList{Conns: []syncd.Living{{Conn: dying}, {Conn: template, Remaining: time.Minute}}})...)
	p.settle()
	for _, want := range []int{2, 2, 1, 1, 1, 0} {
		for i, s := range p.sides {
			n := 0
			for _, d := range s.Digests() {
				n += d.Conns + d.Templates
			}
			if n != want {
				t.Errorf("at %v side %d has %d, want %d", p.now.Sub(began), i, n, want)
			}
		}
		switch want {
		case 2:
			p.wait(600 * time.Millisecond)
		case 1:
			p.wait(100 * time.Second)
		}
	}
}

// A Master that is read a peer's table, because the peer or the stream was away, knows its
// own connections better, and takes what it has lost.
func TestMasterKeepsWhatItServes(t *testing.T) {
	p := newPair(t)
	p.connect()
	closing, lost := established("192.0.2.1:40000"), established("192.0.2.2:40000")
	p.captured(0, closing, lost)
	p.wait(time.Second)
	p.cut()
	p.start(0, 9) // without what its kernel had, but for one
	closing.State, closing.Timeout = 4, time.Minute
	p.sides[0].Serve(func(syncd.Conn) bool { return true })
	p.captured(0, closing)
	p.connect()
	p.wait(time.Second)
	if got := p.sides[0].kernel; len(got) != 1 || got[0].Client != lost.Client {
		t.Errorf("the Master's kernel was told %v, want what it has lost", got)
	}
	if _, n := p.sides[0].Counts(); n.Kept != 1 {
		t.Errorf("%d kept, want 1", n.Kept)
	}
	if a, b := p.sides[0].Digests(), p.sides[1].Digests(); !slices.Equal(a, b) {
		t.Errorf("tables differ: %v and %v", a, b)
	}
}

// A full resync also tells what is over: it was not told when it ended.
func TestFullResyncEndsWhatIsOver(t *testing.T) {
	p := newPair(t)
	p.connect()
	over, lasts, own, served := established("192.0.2.1:40000"), established("192.0.2.2:40000"), established("192.0.2.3:40000"), established("192.0.2.4:40000")
	p.captured(0, over, lasts, served)
	p.captured(1, own)
	p.wait(time.Second)
	over.State, over.Timeout = 7, 10*time.Second
	served.State, served.Timeout = 7, 10*time.Second
	p.sides[0].Captured(p.now, slices.Values([]syncd.Conn{over, served})) // and nobody is told
	p.sides[1].Serve(func(c syncd.Conn) bool { return c.Client == served.Client })
	p.wait(time.Minute)
	p.tell(p.sides[1], syncd.Tell{Event: syncd.WantResync{}})
	p.wait(time.Second)
	for _, c := range []syncd.Conn{lasts, own, served} {
		if !p.sides[1].Knows(p.now, c) {
			t.Errorf("it has forgotten %v", c)
		}
	}
	if p.sides[1].Knows(p.now, over) {
		t.Errorf("it still has %v", over)
	}
}

// A change that was on its way when this director became Master does not make the connection
// the peer's: the peer would never be read it.
func TestMasterRemainsTheTeller(t *testing.T) {
	p := newPair(t)
	p.connect()
	c := established("192.0.2.1:40000")
	p.sides[1].Serve(func(syncd.Conn) bool { return true })
	p.captured(1, c)
	late := p.sides[0].Captured(p.now, slices.Values([]syncd.Conn{c}))
	p.settle()
	p.tell(p.sides[0], late...)
	p.wait(time.Second)
	for _, s := range p.sides {
		s.kernel = nil
		p.tell(s, syncd.Tell{Event: syncd.WantResync{}})
		p.wait(time.Second)
	}
	if !p.sides[0].has(c) {
		t.Error("the peer was not read it")
	}
	if a, b := p.sides[0].Digests(), p.sides[1].Digests(); !slices.Equal(a, b) || len(a) == 0 {
		t.Errorf("tables differ: %v and %v", a, b)
	}
}

// A kernel daemon that is started again has missed things: it is told all that peers have
// told, and nothing that the kernel itself has.
func TestReinjection(t *testing.T) {
	p := newPair(t)
	p.connect()
	told, own := established("192.0.2.1:40000"), established("192.0.2.2:40000")
	p.captured(0, told)
	p.captured(1, own)
	p.wait(10 * time.Second)
	b := p.sides[1]
	b.kernel = nil
	b.Reinject()
	if !b.Reinjecting() {
		t.Error("nothing is to come")
	}
	p.settle()
	if len(b.kernel) != 1 || b.kernel[0].Client != told.Client || b.kernel[0].Timeout.Round(time.Second) != 15*time.Minute-10*time.Second {
		t.Errorf("the kernel was told %v, want what the peer has told with what remains of its time", b.kernel)
	}
	b.kernel = nil
	b.Serve(func(syncd.Conn) bool { return true })
	b.Reinject()
	p.settle()
	if b.Reinjecting() || len(b.kernel) != 0 {
		t.Errorf("a Master's kernel was told %v", b.kernel)
	}
}

// What the kernel lacks is told again, when a second list lacks it too: it may have been on its
// way when the first one was read. That it told a connection itself once counts only for what
// this director serves.
func TestCompareWithTheKernel(t *testing.T) {
	p := newPair(t)
	p.connect()
	there, gone := established("192.0.2.1:40000"), established("192.0.2.2:40000")
	own, served := established("192.0.2.3:40000"), established("192.0.2.4:40000")
	p.captured(0, there, gone)
	p.captured(1, own, served)
	p.wait(time.Second)
	b := p.sides[1]
	b.Serve(func(c syncd.Conn) bool { return c.Client == served.Client })
	b.kernel = nil
	list := []syncd.Living{{Conn: there, Remaining: time.Minute}}
	for i, want := range []int{0, 2, 0} {
		if n := b.Compare(p.now, list); n != want {
			t.Errorf("list %d: %d missing, want %d", i, n, want)
		}
	}
	p.settle()
	var told []netip.AddrPort
	for _, c := range b.kernel {
		told = append(told, c.Client)
	}
	slices.SortFunc(told, netip.AddrPort.Compare)
	if want := []netip.AddrPort{gone.Client, own.Client}; !slices.Equal(told, want) {
		t.Errorf("the kernel was told %v, want %v", told, want)
	}
	if _, n := b.Counts(); n.Missing != 2 {
		t.Errorf("%d missing, want 2", n.Missing)
	}
}

// What cannot be read does no harm to what is before it, and is acknowledged: to send it
// again would not help.
func TestMalformedRecordsAreCounted(t *testing.T) {
	x := syncd.NewExchange(10)
	payload, err := syncd.AppendConn(nil, established("192.0.2.1:40000"))
	if err != nil {
		t.Fatal(err)
	}
	x.Do(began, "lb-b", syncd.Deliver{Run: 7, Frame: syncd.Records{Place: syncd.Place{Seq: 3}, Count: 2, Payload: append(payload, 1, 2, 3)}})
	job, ok := x.NextInjection(began)
	if _, n := x.Counts(); !ok || len(job.Conns) != 1 || n.Malformed != 1 || n.Delivered != 1 {
		t.Errorf("%+v, %+v", job, n)
	}
	if got, want := x.Injected(job), []syncd.Tell{{Peer: "lb-b", Event: syncd.Injected{Run: 7, Seq: 3}}}; !slices.Equal(got, want) {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// Whatever the wire does: once it has held for a while both tables are the same.
func TestExchangesAgree(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(11, seed))
		p := newPair(t)
		for range 300 {
			switch n := rng.IntN(20); {
			case n == 0 && p.up:
				p.cut()
			case n <= 2 && !p.up:
				p.connect()
			case n == 3:
				p.wait(time.Duration(rng.IntN(2000)) * time.Millisecond)
			case n == 4 && !p.up && rng.IntN(3) == 0:
				p.start(rng.IntN(2), rng.Uint64()|1)
			default:
				i := rng.IntN(2) // each director has clients of its own
				p.captured(i, established(fmt.Sprintf("192.0.%d.%d:%d", i, rng.IntN(250), 1024+rng.IntN(4))))
				p.settle()
			}
		}
		if !p.up {
			p.connect()
		}
		p.wait(time.Minute)
		a, b := p.sides[0].Digests(), p.sides[1].Digests()
		if !slices.Equal(a, b) || len(a) == 0 {
			t.Errorf("seed %d: tables differ: %v and %v", seed, a, b)
		}
	}
}

func FuzzSnapshotChunk(f *testing.F) {
	x := syncd.NewExchange(10)
	x.Captured(began, slices.Values([]syncd.Conn{established("192.0.2.1:40000")}))
	for _, tell := range x.Do(began, "lb-b", syncd.ReadSnapshot{Run: 1, Snapshot: 1, Max: 1000}) {
		f.Add(tell.Event.(syncd.SnapshotPart).Payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		x := syncd.NewExchange(1000)
		x.Do(began, "lb-b", syncd.Deliver{Run: 7, Frame: syncd.SnapshotChunk{Place: syncd.Place{Seq: 3}, Payload: payload}})
		job, ok := x.NextInjection(began)
		if !ok {
			t.Fatal("nothing to acknowledge it by")
		}
		for _, c := range job.Conns {
			if _, err := syncd.AppendConn(nil, c); err != nil {
				t.Errorf("%+v was read and cannot be written: %v", c, err)
			}
		}
	})
}
