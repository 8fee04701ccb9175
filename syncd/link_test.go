package syncd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// tester is a Link whose peer is the test.
type tester struct {
	t    *testing.T
	link *Link
	now  time.Time
	got  []string // actions
}

const (
	ourRun  = 1000
	peerRun = 2000
)

func newTester(t *testing.T) *tester {
	now := time.Unix(1_000_000, 0)
	return &tester{t: t, now: now, link: NewLink(now, LinkOptions{Self: "lb-a", Peer: "lb-b", Run: ourRun, QueueBytes: 4 * MaxPayload, Window: MaxFrame})}
}

// handle hands an event over and notes the actions.
func (x *tester) handle(ev LinkEvent) {
	for _, a := range x.link.Handle(x.now, ev) {
		x.got = append(x.got, strings.TrimPrefix(fmt.Sprintf("%T %+v", a, a), "syncd."))
	}
}

// wait lets time pass, with the ticks that are due.
func (x *tester) wait(d time.Duration) {
	end := x.now.Add(d)
	for t, armed := x.link.Deadline(); armed && !t.After(end); t, armed = x.link.Deadline() {
		x.now = t
		x.handle(Tick{})
	}
	x.now = end
}

// sent fetches everything that is to be sent.
func (x *tester) sent(id ConnID) []string {
	var got []string
	for f, ok := x.link.Next(x.now, id); ok; f, ok = x.link.Next(x.now, id) {
		switch f := f.(type) {
		case Records:
			got = append(got, fmt.Sprintf("records %d %s", f.Seq, f.Payload[:min(len(f.Payload), 20)]))
		case SnapshotBegin:
			got = append(got, fmt.Sprintf("begin %d", f.Seq))
		case SnapshotChunk:
			got = append(got, fmt.Sprintf("chunk %d %s", f.Seq, f.Payload))
		case SnapshotEnd:
			got = append(got, fmt.Sprintf("end %d of %d %s", f.Seq, f.Count, f.Digest))
		case Hello:
			got = append(got, fmt.Sprintf("hello seen %d of %d", f.Seen, f.SeenRun))
		default:
			got = append(got, strings.TrimPrefix(fmt.Sprintf("%T %+v", f, f), "syncd."))
		}
	}
	return got
}

func (x *tester) expect(what string, got []string, want ...string) {
	x.t.Helper()
	if !slices.Equal(got, want) {
		x.t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

func (x *tester) expectActions(what string, want ...string) {
	x.t.Helper()
	x.expect(what, x.got, want...)
	x.got = nil
}

func (x *tester) receive(id ConnID, f Frame) { x.handle(FrameReceived{id, f}) }

func peerHello(seenRun, seen uint64) Hello {
	return Hello{Major: StreamMajor, From: "lb-b", To: "lb-a", Run: peerRun, SeenRun: seenRun, Seen: seen, Window: MaxFrame}
}

func (x *tester) change(text string) { x.handle(Change{1, []byte(text)}) }

// inSync brings both directions in sync over connection 1, without records. Our numbers
// go on with 3, the peer's as well.
func (x *tester) inSync() {
	x.t.Helper()
	x.handle(ConnUp{1})
	x.receive(1, peerHello(0, 0))
	x.handle(SnapshotDone{1, []byte("digest")})
	x.expect("first frames", x.sent(1), "hello seen 0 of 0", "begin 1", "end 2 of 0 digest")
	x.receive(1, Ack{2, 0})
	x.receive(1, SnapshotBegin{Place{1, 0}})
	x.receive(1, SnapshotEnd{Place: Place{2, 0}})
	x.handle(Injected{peerRun, 2})
	x.expect("acknowledgement", x.sent(1), "Ack {Seq:2 Echo:0s}")
	x.got = nil
	if st := x.link.Status(x.now); st.Send.State != LinkInSync || st.Receive.State != LinkInSync {
		x.t.Fatalf("not in sync: %+v", st)
	}
}

func TestFirstConnectionBeginsWithSnapshots(t *testing.T) {
	x := newTester(t)
	x.change("before")
	x.handle(ConnUp{1})
	x.expect("nothing but a hello goes to one that has said nothing", x.sent(1), "hello seen 0 of 0")
	x.expectActions("until then")
	x.receive(1, peerHello(0, 0))
	x.expectActions("after its hello",
		"ReadSnapshot {Run:2000 Snapshot:1 Max:16384}",
		"StateChanged {Receiving:false From:connecting To:resyncing}",
		"StateChanged {Receiving:true From:connecting To:resyncing}")
	x.handle(SnapshotPart{1, 1, []byte("one")})
	x.change("live")
	x.handle(SnapshotPart{1, 1, []byte("two")})
	x.handle(SnapshotPart{7, 1, []byte("of another snapshot")})
	x.handle(SnapshotDone{1, []byte("digest")})
	x.expect("live changes keep their place", x.sent(1), "begin 1", "chunk 2 one", "records 3 live", "chunk 4 two", "end 5 of 2 digest")
	x.got = nil
	x.receive(1, Ack{4, 0})
	x.expectActions("before the end has arrived")
	x.receive(1, Ack{5, 0})
	x.expectActions("after it", "StateChanged {Receiving:false From:resyncing To:in sync}")
}

func TestReceivingSideIsInSyncWhenTheSnapshotIsInjected(t *testing.T) {
	x := newTester(t)
	x.handle(ConnUp{1})
	x.receive(1, peerHello(0, 0))
	x.got = nil
	x.receive(1, Records{Place{1, 0}, 1, []byte("early")})
	x.expectActions("records before a snapshot")
	x.receive(1, SnapshotBegin{Place{2, 0}})
	x.receive(1, SnapshotChunk{Place{3, 0}, 1, []byte("one")})
	x.receive(1, SnapshotEnd{Place: Place{4, 0}, Count: 1})
	x.expectActions("the snapshot",
		"Deliver {Run:2000 Frame:{Place:{Seq:2 Stamp:0s}}}",
		"Deliver {Run:2000 Frame:{Place:{Seq:3 Stamp:0s} Count:1 Payload:[111 110 101]}}",
		"Deliver {Run:2000 Frame:{Place:{Seq:4 Stamp:0s} Count:1 Digest:[]}}")
	x.handle(Injected{peerRun, 3})
	x.handle(Injected{1, 4}) // of another run
	x.expectActions("before all of it is injected")
	x.handle(Injected{peerRun, 4})
	x.expectActions("after", "StateChanged {Receiving:true From:resyncing To:in sync}")
}

func TestNewConnectionGoesOnWhereTheLastWasCut(t *testing.T) {
	x := newTester(t)
	x.inSync()
	for _, text := range []string{"a", "b", "c"} {
		x.change(text)
		x.sent(1)
	}
	x.handle(ConnDown{1})
	x.change("d")
	x.handle(ConnUp{2})
	x.receive(2, peerHello(ourRun, 4))
	x.expect("again from what the peer has seen", x.sent(2), "hello seen 2 of 2000", "Ack {Seq:2 Echo:0s}", "records 5 c", "records 6 d")
	x.got = nil
	x.receive(2, Ack{6, 0})
	x.expectActions("caught up", "StateChanged {Receiving:false From:resyncing To:in sync}")
	if c := x.link.Status(x.now).Counters; c.ResentFrames != 1 || c.SnapshotsBegun != 1 {
		t.Errorf("%d frames again, %d snapshots; want 1, 1", c.ResentFrames, c.SnapshotsBegun)
	}
}

func TestWhatDoesNotFitEndsInAResync(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(x *tester)
	}{
		{"the peer has started anew", func(x *tester) {
			h := peerHello(0, 0)
			h.Run++
			x.receive(2, h)
		}},
		{"the peer knows another run of ours", func(x *tester) { x.receive(2, peerHello(ourRun-1, 2)) }},
		{"the peer has seen what was never sent", func(x *tester) { x.receive(2, peerHello(ourRun, 99)) }},
		{"the peer has not seen what it acknowledged", func(x *tester) { x.receive(2, peerHello(ourRun, 1)) }},
		{"the peer asks", func(x *tester) { x.receive(2, peerHello(ourRun, 2)); x.receive(2, Resync{1}) }},
		{"changes were lost", func(x *tester) { x.receive(2, peerHello(ourRun, 2)); x.handle(ChangesLost{}) }},
		{"too much was queued while nobody was there", func(x *tester) {
			for range 5 {
				x.handle(Change{1, make([]byte, MaxPayload)})
			}
			x.receive(2, peerHello(ourRun, 2))
		}},
		{"too much is queued because the peer is slow", func(x *tester) {
			x.receive(2, peerHello(ourRun, 2))
			for range 5 {
				x.handle(Change{1, make([]byte, MaxPayload)})
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTester(t)
			x.inSync()
			x.handle(ConnDown{1})
			x.handle(ConnUp{2})
			x.got = nil
			tt.do(x)
			if !slices.ContainsFunc(x.got, func(a string) bool { return strings.HasSuffix(a, " Snapshot:2 Max:16384}") }) {
				t.Errorf("actions %q", x.got)
			}
			if st := x.link.Status(x.now); st.Send.State != LinkResyncing || st.Send.QueuedBytes != 0 || st.Send.QueuedFrames != 1 {
				t.Errorf("sending: %+v", st.Send)
			}
		})
	}
}

func TestAGapAsksForAResync(t *testing.T) {
	x := newTester(t)
	x.inSync()
	x.receive(1, Records{Place{3, 0}, 1, []byte("c")})
	x.receive(1, Records{Place{3, 0}, 1, []byte("c")})
	x.receive(1, Records{Place{5, 0}, 4, []byte("e")})
	x.receive(1, Records{Place{6, 0}, 2, []byte("f")})
	x.expectActions("only what is in order is delivered",
		"Deliver {Run:2000 Frame:{Place:{Seq:3 Stamp:0s} Count:1 Payload:[99]}}",
		"StateChanged {Receiving:true From:in sync To:resyncing}")
	x.expect("asked once", x.sent(1), "Resync {ID:1}")
	x.wait(9 * time.Second)
	x.receive(1, Ping{}) // it lives
	x.expectActions("dead meanwhile", "CloseConn {ID:1 Reason:silent Text:nothing was heard for 3.5s Tell:false}",
		"StateChanged {Receiving:false From:in sync To:connecting}", "StateChanged {Receiving:true From:resyncing To:connecting}")
	x.handle(ConnDown{1})
	x.handle(ConnUp{2})
	x.receive(2, peerHello(ourRun, 2))
	x.expect("a new connection asks as well", x.sent(2), "hello seen 0 of 0", "Ack {Seq:2 Echo:0s}", "Resync {ID:1}")
	x.got = nil
	x.receive(2, SnapshotBegin{Place{9, 0}})
	x.receive(2, SnapshotEnd{Place: Place{10, 0}, Count: 5})
	x.expectActions("a snapshot that lacks something is none", "Deliver {Run:2000 Frame:{Place:{Seq:9 Stamp:0s}}}")
	x.expect("asked again", x.sent(2), "Resync {ID:2}")
	d := x.link.Status(x.now).Counters.Dropped
	if d[dropDuplicate] != 1 || d[dropGap] != 5 || d[dropAwaiting] != 2 {
		t.Errorf("dropped %v", d)
	}
}

func TestAnAskThatIsNotHeardIsRepeated(t *testing.T) {
	x := newTester(t)
	x.inSync()
	x.handle(WantResync{})
	x.expect("asked", x.sent(1), "Resync {ID:1}")
	for range 10 {
		x.wait(time.Second)
		x.receive(1, Ping{})
	}
	if got := x.sent(1); !slices.Contains(got, "Resync {ID:2}") {
		t.Errorf("sent after 10 s: %q", got)
	}
}

func TestRefusedHellos(t *testing.T) {
	with := func(change func(*Hello)) Frame {
		h := peerHello(0, 0)
		change(&h)
		return h
	}
	for _, tt := range []struct {
		name  string
		frame Frame
		want  string
	}{
		{"another version", with(func(h *Hello) { h.Major = 2 }),
			"CloseConn {ID:1 Reason:version Text:director lb-b speaks version 2 of the stream, director lb-a version 1 Tell:true}"},
		{"another name", with(func(h *Hello) { h.From = "lb-c" }),
			`CloseConn {ID:1 Reason:name Text:at the address of director lb-b is one that calls itself "lb-c" Tell:true}`},
		{"for another", with(func(h *Hello) { h.To = "lb-c" }),
			`CloseConn {ID:1 Reason:name Text:director lb-b takes director lb-a for "lb-c" Tell:true}`},
		{"our own", with(func(h *Hello) { h.Run = ourRun }),
			"CloseConn {ID:1 Reason:name Text:it is this director itself Tell:true}"},
		{"none", Ack{1, 0}, "CloseConn {ID:1 Reason:protocol Text:its first frame is of type 6, not a hello Tell:true}"},
		{"goodbye", Bye{"stopping"}, "CloseConn {ID:1 Reason:peer-closed Text:stopping Tell:false}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTester(t)
			x.handle(ConnUp{1})
			x.receive(1, tt.frame)
			x.expectActions("refused", tt.want)
			x.receive(1, peerHello(0, 0))
			x.expectActions("and nothing more is taken from it")
			x.expect("or sent to it", x.sent(1))
		})
	}
	t.Run("nothing at all", func(t *testing.T) {
		x := newTester(t)
		x.handle(ConnUp{1})
		x.wait(2999 * time.Millisecond)
		x.expectActions("before its time is over")
		x.wait(time.Millisecond)
		x.expectActions("after", "CloseConn {ID:1 Reason:silent Text:it has said nothing for 3s Tell:false}")
	})
	t.Run("twice", func(t *testing.T) {
		x := newTester(t)
		x.inSync()
		x.receive(1, peerHello(0, 0))
		x.expectActions("refused", "CloseConn {ID:1 Reason:protocol Text:it said hello twice Tell:true}",
			"StateChanged {Receiving:false From:in sync To:connecting}", "StateChanged {Receiving:true From:in sync To:connecting}")
	})
}

func TestLagIsTheSendersOwnTime(t *testing.T) {
	x := newTester(t)
	x.inSync()
	x.wait(time.Second)
	x.change("a")
	x.sent(1)
	x.wait(40 * time.Millisecond)
	if st := x.link.Status(x.now).Send; st.Lag != 40*time.Millisecond || st.QueuedRecords != 1 {
		t.Errorf("before the acknowledgement: lag %v, %d records queued", st.Lag, st.QueuedRecords)
	}
	x.receive(1, Ack{3, time.Second}) // the stamp comes back
	if st := x.link.Status(x.now).Send; st.Lag != 0 || st.AckTime != 40*time.Millisecond || st.QueuedRecords != 0 {
		t.Errorf("after it: lag %v, acknowledged in %v, %d records queued", st.Lag, st.AckTime, st.QueuedRecords)
	}
	x.receive(1, Ack{99, 0})
	if !strings.HasPrefix(x.got[0], "CloseConn {ID:1 Reason:protocol Text:it acknowledges what was never sent") {
		t.Errorf("an acknowledgement of nothing: %q", x.got)
	}
}

func TestAcknowledgementsAreBatchedUnderLoad(t *testing.T) {
	x := newTester(t)
	x.inSync()
	x.wait(10 * time.Millisecond)
	record := func(seq uint64) {
		x.receive(1, Records{Place{seq, time.Duration(seq)}, 1, []byte("r")})
		x.handle(Injected{peerRun, seq})
	}
	record(3)
	x.expect("at once when there was none lately", x.sent(1), "Ack {Seq:3 Echo:3ns}")
	record(4)
	record(5)
	x.expect("then a little apart", x.sent(1))
	x.wait(5 * time.Millisecond)
	x.expect("in one", x.sent(1), "Ack {Seq:5 Echo:5ns}")
	x.receive(1, Records{Place{6, 6}, 1, []byte("r")})
	x.wait(time.Second / 2)
	x.expect("and never before it is injected", x.sent(1))
}

func TestAPeerThatIsNotHeardOrAcknowledgesNothing(t *testing.T) {
	x := newTester(t)
	x.inSync()
	x.wait(time.Second)
	x.expect("a ping when nothing else was said", x.sent(1), "Ping {Stamp:1s}")
	x.wait(20 * time.Millisecond)
	x.receive(1, Pong{time.Second})
	if rtt := x.link.Status(x.now).Send.RTT; rtt != 20*time.Millisecond {
		t.Errorf("round trip of %v, want 20ms", rtt)
	}
	x.receive(1, Ping{7})
	x.expect("its ping is answered", x.sent(1), "Pong {Echo:7ns}")

	x.change("a")
	x.sent(1)
	for range 29 {
		x.wait(time.Second)
		x.receive(1, Pong{})
		x.sent(1)
	}
	x.expectActions("before 30 s")
	x.wait(time.Second)
	x.expectActions("after", "CloseConn {ID:1 Reason:stalled Text:it has acknowledged nothing for 30s Tell:true}",
		"StateChanged {Receiving:false From:in sync To:connecting}", "StateChanged {Receiving:true From:in sync To:connecting}")
}

func TestNoMoreIsSentThanThePeerTakes(t *testing.T) {
	x := newTester(t)
	x.inSync()
	for range 3 {
		x.handle(Change{1, make([]byte, MaxPayload)})
	}
	if got := x.sent(1); len(got) != 1 {
		t.Errorf("%d frames of 60 KiB were sent to a peer that takes 64 KiB", len(got))
	}
	x.receive(1, Ack{3, 0})
	if got := x.sent(1); len(got) != 1 {
		t.Errorf("%d frames after its acknowledgement, want 1", len(got))
	}
}

func TestAPeerThatSendsMoreThanWeTake(t *testing.T) {
	x := newTester(t)
	x.inSync()
	for seq := uint64(3); len(x.got) == 0 || strings.HasPrefix(x.got[len(x.got)-1], "Deliver"); seq++ {
		x.receive(1, Records{Place{seq, 0}, 1, make([]byte, MaxPayload)})
		if held := x.link.Status(x.now).Receive.PendingBytes; held > 3*MaxFrame {
			t.Fatalf("%d bytes are held", held)
		}
	}
	if got := x.got[3]; got != "CloseConn {ID:1 Reason:protocol Text:it sends more than the 65536 bytes that this director takes in Tell:true}" {
		t.Errorf("got %q", got)
	}
}

func TestNotesOfOneKindReplaceEachOther(t *testing.T) {
	x := newTester(t)
	x.inSync()
	x.handle(SetNote{1, []byte("old")})
	x.handle(SetNote{2, []byte("b")})
	x.handle(SetNote{1, []byte("new")})
	x.expect("the newest of each kind", x.sent(1), "Note {Kind:2 Version:2 Payload:[98]}", "Note {Kind:1 Version:3 Payload:[110 101 119]}")
	x.handle(ConnUp{2})
	x.receive(2, peerHello(ourRun, 2))
	x.got = nil
	if got := x.sent(2); len(got) != 4 {
		t.Errorf("a new connection is told %q", got)
	}
	x.receive(1, Note{9, 5, []byte("x")})
	x.receive(2, Note{9, 5, []byte("x")})
	x.receive(2, Note{9, 4, []byte("w")})
	x.expectActions("each note once", "DeliverNote {Kind:9 Payload:[120]}")
	x.receive(1, UnknownFrame{77})
	x.expectActions("a frame of a later version")
	if n := x.link.Status(x.now).Counters.UnknownFrames; n != 1 {
		t.Errorf("%d unknown frames counted, want 1", n)
	}
}

func TestChangesThatWaitTravelTogether(t *testing.T) {
	x := newTester(t)
	x.inSync()
	for _, text := range []string{"a", "b", "c"} {
		x.change(text)
	}
	x.expect("in one frame", x.sent(1), "records 3 abc")
	x.change("d")
	x.handle(Change{1, make([]byte, MaxPayload+1)})
	x.handle(Change{0, nil})
	x.expect("but for what is on its way", x.sent(1), "records 4 d")
	if n := x.link.Status(x.now).Counters.Dropped[dropTooLong]; n != 2 {
		t.Errorf("%d dropped, want 2", n)
	}
}

func TestANewRunOfThePeerReplacesItsConnections(t *testing.T) {
	x := newTester(t)
	x.inSync()
	x.handle(ConnUp{2})
	h := peerHello(0, 0)
	h.Run++
	x.receive(2, h)
	if x.got[0] != "CloseConn {ID:1 Reason:replaced Text:director lb-b has started anew Tell:false}" {
		t.Errorf("got %q", x.got)
	}
	x.got = nil
	x.receive(1, SnapshotBegin{Place{3, 0}})
	x.handle(Injected{peerRun, 2})
	x.expectActions("nothing of the old run counts")
}
