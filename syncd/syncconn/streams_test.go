package syncconn

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

func TestTwoDirectorsTellEachOther(t *testing.T) {
	t.Parallel() // it waits most of its time
	for _, ways := range []int{1, 2} {
		p := newPair(t)
		a, b := p.start(p.options(0, ways, keyOld), "one", "two"), p.start(p.options(1, ways, keyOld))
		b.await("snapshot: one two", "receiving in sync", "sending in sync")
		a.inSync()
		a.send("from a")
		b.send("from b")
		b.TellAll(syncd.SetNote{Kind: 7, Payload: []byte("small")})
		a.await("from b", "note 7: small")
		b.await("from a")
		a.until("everything acknowledged", func() bool {
			s := a.Status()["lb-b"].Link.Send
			return s.QueuedFrames == 0 && s.AckTime > 0
		})
		a.until("every way connected", func() bool {
			n := 0
			for _, w := range a.Status()["lb-b"].Paths {
				if w.Connected {
					n++
				}
			}
			return n == ways && a.Status()["lb-b"].Link.Connections == ways
		})
		b.stop()
		a.log("err=director lb-b stops")
		a.stop()
	}
}

func TestLostConnectionGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel() // it waits most of its time
	p := newPair(t)
	a, b := p.start(p.options(0, 1, keyOld)), p.start(p.options(1, 1, keyOld))
	a.inSync()
	b.inSync()
	for i, text := range []string{"x", "y"} {
		a.SetKeys([][32]byte{keyNew}) // which ends the connection
		a.await("sending connecting")
		a.send(text)
		a.SetKeys([][32]byte{keyOld})
		b.await(text)
		a.until("in sync", func() bool { return a.Status()["lb-b"].Link.Send.State == syncd.LinkInSync })
		if c := a.Status()["lb-b"].Link.Counters; c.SnapshotsBegun != 1 {
			t.Fatalf("cut %d: %d snapshots, want that of the beginning", i+1, c.SnapshotsBegun)
		}
	}
}

func TestRotationWithoutAGap(t *testing.T) {
	t.Parallel() // it waits most of its time
	p := newPair(t)
	a, b := p.start(p.options(0, 1, keyOld)), p.start(p.options(1, 1, keyOld))
	a.inSync()
	b.inSync()
	for _, step := range []struct {
		n    *node
		keys [][32]byte
	}{{a, [][32]byte{keyNew, keyOld}}, {b, [][32]byte{keyNew, keyOld}}, {a, [][32]byte{keyNew}}, {b, [][32]byte{keyNew}}} {
		if err := step.n.SetKeys(step.keys); err != nil {
			t.Fatal(err)
		}
		a.send("after a step")
		b.await("after a step")
	}
	a.until("connected with the new key", func() bool { return a.Status()["lb-b"].Paths[0].Connected })
	if c := a.Status()["lb-b"].Link.Counters; c.SnapshotsBegun != 1 {
		t.Errorf("%d snapshots, want that of the beginning", c.SnapshotsBegun)
	}
}

func TestEachOrderOfTwoKeysConnects(t *testing.T) {
	t.Parallel() // it waits most of its time
	for _, keys := range [][2][][32]byte{
		{{keyNew, keyOld}, {keyOld}}, {{keyOld}, {keyNew, keyOld}},
		{{keyNew, keyOld}, {keyNew}}, {{keyNew}, {keyNew, keyOld}}, {{keyOld, keyNew}, {keyNew, keyOld}},
	} {
		p := newPair(t)
		a, b := p.start(p.options(0, 1, keys[0]...)), p.start(p.options(1, 1, keys[1]...))
		a.inSync()
		b.inSync()
		a.stop()
		b.stop()
	}
}

func TestWrongKeyIsSaidOnBothSidesOnce(t *testing.T) {
	t.Parallel() // it waits most of its time
	p := newPair(t)
	a, b := p.start(p.options(0, 1, keyOld)), p.start(p.options(1, 1, keyNew))
	a.log("err=it has another cluster key")
	b.log("err=it has another cluster key")
	b.until("three attempts", func() bool { return b.Refused()["key"] >= 3 })
	for _, n := range []*node{a, b} {
		for len(n.logs) > 0 {
			if line := <-n.logs; strings.HasSuffix(line, "another cluster key") {
				t.Errorf("%s says it again: %s", n.o.Self, line)
			}
		}
		if st := n.Status()[n.peer]; st.Link.PeerRun != 0 || st.Paths[0].Err != "it has another cluster key" {
			t.Errorf("%s: %+v", n.o.Self, st)
		}
	}
}

func TestWrongNameIsRefused(t *testing.T) {
	t.Parallel() // it waits most of its time
	p := newPair(t)
	o := p.options(1, 1, keyOld)
	o.Self = "lb-c"
	a, c := p.start(p.options(0, 1, keyOld)), p.start(o)
	// Who notices first tells the other.
	for _, n := range []*node{a, c} {
		n.log(`err=at the address of director lb-b is one that calls itself "lb-c"`, `err=director lb-a takes director lb-c for "lb-b"`)
	}
	if st := a.Status()["lb-b"]; st.Link.PeerRun != 0 || st.Paths[0].Connected {
		t.Errorf("let in: %+v", st)
	}
}

func TestStrangersAreRefusedBeforeTheHandshake(t *testing.T) {
	p := newPair(t)
	b := p.start(p.options(1, 1, keyOld))
	c := call(t, p.addr(99), p.addr(2))
	c.SetReadDeadline(time.Now().Add(streamPatience))
	if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a stranger's connection gives %v", err)
	}
	b.until("counted", func() bool { return b.Refused()["address"] == 1 })
}

// From the peer's own address, but without the key.
func TestHostileConnections(t *testing.T) {
	p := newPair(t)
	b := p.start(p.options(1, 1, keyOld))
	goroutines := runtime.NumGoroutine()
	for _, tt := range []struct {
		name  string
		bytes []byte
	}{
		{"garbage", bytes.Repeat([]byte{0xff}, 4096)},
		{"4 GB announced in plain text", []byte{0xff, 0xff, 0xff, 0xff, 2}},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := b.Refused()["handshake"]
			c := call(t, p.addr(1), p.addr(2))
			c.Write(tt.bytes)
			b.until("refused", func() bool { return b.Refused()["handshake"] > before })
		})
	}
	t.Run("TLS with another key", func(t *testing.T) {
		id, err := newIdentity(keyNew)
		if err != nil {
			t.Fatal(err)
		}
		config := id.config()
		config.VerifyConnection = nil // it takes anybody
		c := tls.Client(call(t, p.addr(1), p.addr(2)), config)
		c.Handshake()
		b.until("refused", func() bool { return b.Refused()["key"] > 0 })
	})
	t.Run("TLS without a certificate, and TLS 1.2", func(t *testing.T) {
		for _, config := range []*tls.Config{{InsecureSkipVerify: true}, {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}} {
			before := b.Refused()["handshake"]
			c := tls.Client(call(t, p.addr(1), p.addr(2)), config)
			c.Handshake()
			b.until("refused", func() bool { return b.Refused()["handshake"] > before })
		}
	})
	t.Run("many that say nothing", func(t *testing.T) {
		for range 3 * maxUnknown {
			call(t, p.addr(1), p.addr(2))
		}
		b.until("bounded", func() bool { return b.Refused()["too-many"] >= 2*maxUnknown })
		if n := runtime.NumGoroutine() - goroutines; n > 3*maxUnknown+10 {
			t.Errorf("%d more goroutines", n)
		}
	})
	if st := b.Status()["lb-a"]; st.Link.PeerRun != 0 || st.Link.Connections != 0 {
		t.Errorf("state changed: %+v", st)
	}
}

// insider is one that has the key and breaks the rules.
func insider(t *testing.T, p *pair) *tls.Conn {
	t.Helper()
	id, err := newIdentity(keyOld)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(call(t, p.addr(1), p.addr(2)), id.config())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInsiderThatAnnounces4GB(t *testing.T) {
	for _, hello := range []bool{false, true} {
		p := newPair(t)
		b := p.start(p.options(1, 1, keyOld))
		c := insider(t, p)
		if hello {
			c.Write(syncd.AppendFrame(nil, syncd.Hello{Major: 1, From: "lb-a", To: "lb-b", Run: 1, Window: 1 << 20}))
			b.await("receiving resyncing")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.Write(binary.BigEndian.AppendUint32(nil, 0xffffffff))
		want := "err=it sends what is no frame: frame of 4294967295 bytes announced, want 1 to 1024"
		if hello {
			want = "err=it sends what is no frame: frame of 4294967295 bytes announced, want 1 to 65536"
		}
		b.log(want)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%d bytes were allocated", grown)
		}
		b.stop()
	}
}

func TestPeerThatIsKilledIsNotTakenForAStranger(t *testing.T) {
	p := newPair(t)
	b := p.start(p.options(1, 1, keyOld))
	c := insider(t, p)
	c.Write(syncd.AppendFrame(nil, syncd.Hello{Major: 1, From: "lb-a", To: "lb-b", Run: 1, Window: 1 << 20}))
	b.await("receiving resyncing")
	c.NetConn().Close()
	b.log("err=it ended the connection without a word: it was killed, or has heard nothing for long")
}

func TestHalfOpenConnectionIsReplaced(t *testing.T) {
	p := newPair(t)
	b := p.start(p.options(1, 1, keyOld))
	hello := syncd.AppendFrame(nil, syncd.Hello{Major: 1, From: "lb-a", To: "lb-b", Run: 1, Window: 1 << 20})
	first := insider(t, p)
	first.Write(hello)
	b.await("receiving resyncing")
	second := insider(t, p)
	second.Write(hello)
	first.SetReadDeadline(time.Now().Add(streamPatience))
	if _, err := io.Copy(io.Discard, first); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the first connection is still there: %v", err)
	}
	b.until("one connection", func() bool { return b.Status()["lb-a"].Link.Connections == 1 })
}

// recorder keeps what is written.
type recorder struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.sent.Write(b)
	return r.Conn.Write(b)
}

func TestReplayAndFlippedBits(t *testing.T) {
	p := newPair(t)
	b := p.start(p.options(1, 1, keyOld))
	id, err := newIdentity(keyOld)
	if err != nil {
		t.Fatal(err)
	}
	record := &recorder{Conn: call(t, p.addr(1), p.addr(2))}
	c := tls.Client(record, id.config())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Write(syncd.AppendFrame(nil, syncd.Hello{Major: 1, From: "lb-a", To: "lb-b", Run: 1, Window: 1 << 20}))
	b.await("receiving resyncing")
	begin := syncd.AppendFrame(nil, syncd.SnapshotBegin{Place: syncd.Place{Seq: 1}})
	begin = syncd.AppendFrame(begin, syncd.SnapshotEnd{Place: syncd.Place{Seq: 2}})
	c.Write(begin)
	b.await("receiving in sync")
	before := b.Status()["lb-a"].Link.Counters

	// Everything that went over the wire, once more.
	refused := b.Refused()["handshake"]
	again := call(t, p.addr(1), p.addr(2))
	again.Write(record.sent.Bytes())
	b.until("the replay is refused", func() bool { return b.Refused()["handshake"] > refused })
	if after := b.Status()["lb-a"].Link; after.Connections != 1 || after.Counters.ReceivedFrames != before.ReceivedFrames {
		t.Errorf("the replay changed something: %+v", after)
	}

	// The last record with one bit flipped, on the connection itself.
	record.sent.Reset()
	c.Write(syncd.AppendFrame(nil, syncd.Records{Place: syncd.Place{Seq: 3}, Count: 1, Payload: []byte("genuine")}))
	b.await("genuine")
	flipped := bytes.Clone(record.sent.Bytes())
	flipped[len(flipped)-1] ^= 1
	record.Conn.Write(flipped)
	b.log("err=it sends what TLS refuses: local error: tls: bad record MAC")
	if n := b.Status()["lb-a"].Link.Counters.ReceivedFrames; n != before.ReceivedFrames+1 {
		t.Errorf("%d frames, want %d", n, before.ReceivedFrames+1)
	}
}
