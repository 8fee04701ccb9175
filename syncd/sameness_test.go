package syncd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/syncd"
)

// comparer compares netip's values, which have fields of their own.
var comparer = cmp.Options{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}

func server(addr string) syncd.VirtualServer {
	return syncd.VirtualServer{Protocol: syncd.ProtocolTCP, Addr: netip.MustParseAddrPort(addr)}
}

var someDigests = []syncd.ServerDigest{
	{VirtualServer: server("10.0.0.100:80"), Digest: syncd.Digest{Conns: 41233, Templates: 7, Sum: 1 << 63}},
	{VirtualServer: server("[2001:db8::100]:443"), Digest: syncd.Digest{Conns: 1, Sum: 5}},
	{VirtualServer: syncd.VirtualServer{FWMark: 10}, Digest: syncd.Digest{Templates: 3, Sum: 6}},
	{VirtualServer: syncd.VirtualServer{FWMark: 10, IPv6: true}, Digest: syncd.Digest{Conns: 3, Sum: 6}},
}

// digestNotes packs digests into notes.
func digestNotes(all []syncd.ServerDigest) (pages [syncd.DigestPages][]byte) {
	b := syncd.NewDigestBook()
	b.Set(all)
	for i, page := range b.Notes() {
		pages[i] = page
	}
	return pages
}

func parsed(t *testing.T, pages [syncd.DigestPages][]byte) map[syncd.VirtualServer]syncd.Digest {
	t.Helper()
	all := make(map[syncd.VirtualServer]syncd.Digest)
	for _, p := range pages {
		ds, _, err := syncd.ParseDigestNote(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			all[d.VirtualServer] = d.Digest
		}
	}
	return all
}

func TestDigestNotes(t *testing.T) {
	want := make(map[syncd.VirtualServer]syncd.Digest)
	for _, d := range someDigests {
		want[d.VirtualServer] = d.Digest
	}
	if d := cmp.Diff(want, parsed(t, digestNotes(someDigests)), comparer); d != "" {
		t.Errorf("(-packed +read)\n%s", d)
	}
	one := digestNotes(someDigests[:1])
	for i, p := range digestNotes(nil) {
		if len(p) != 2 {
			t.Errorf("empty page %d has %d bytes", i, len(p))
		}
		if len(one[i]) > 2 {
			const literal = "01 00 04 06 00 00 00 00 0a 00 00 64 00 50 00 00 a1 11 00 00 00 07 80 00 00 00 00 00 00 00"
			if got := fmt.Sprintf("% x", one[i]); got != literal {
				t.Errorf("packed as\n%s, want\n%s", got, literal)
			}
		}
	}
}

// What does not fit is not there, and the note says that there is more.
func TestDigestNotesAreBounded(t *testing.T) {
	var all []syncd.ServerDigest
	for i := range 60_000 {
		v := server(fmt.Sprintf("10.0.%d.%d:80", i/250, i%250))
		all = append(all, syncd.ServerDigest{VirtualServer: v, Digest: syncd.Digest{Conns: 1}})
	}
	said := 0
	pages := digestNotes(all)
	for _, p := range pages {
		if _, more, err := syncd.ParseDigestNote(p); err != nil || len(p) > syncd.MaxPayload {
			t.Fatalf("page of %d bytes: %v", len(p), err)
		} else if more {
			said++
		}
	}
	if n := len(parsed(t, pages)); n >= len(all) || said == 0 {
		t.Errorf("%d of %d fit, and %d pages say that there is more", n, len(all), said)
	}
}

func FuzzParseDigestNote(f *testing.F) {
	for _, p := range digestNotes(someDigests) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _, err := syncd.ParseDigestNote(b)
		if err != nil {
			return
		}
		for _, d := range all {
			if d.FWMark == 0 && !d.Addr.Addr().IsValid() {
				t.Errorf("%+v names no virtual server", d)
			}
		}
		// What was read is packed again into pages that say the same.
		for i, p := range digestNotes(all) {
			again, _, err := syncd.ParseDigestNote(p)
			if err != nil {
				t.Fatalf("page %d: %v", i, err)
			}
			pages := digestNotes(again)
			if !bytes.Equal(pages[i], p) {
				t.Errorf("page %d differs when it is packed again", i)
			}
		}
	})
}

// told tells a director what a peer has.
func told(t *testing.T, s *syncd.Sameness, now time.Time, all ...syncd.ServerDigest) {
	t.Helper()
	for i, p := range digestNotes(all) {
		if taken, err := s.Note(now, uint8(syncd.NoteDigests+i), p); !taken || err != nil {
			t.Fatalf("page %d: %v, %v", i, taken, err)
		}
	}
}

func TestSameness(t *testing.T) {
	s := syncd.NewSameness()
	web, other := someDigests[0], someDigests[1]
	s.Mine(began, []syncd.ServerDigest{web, other})
	if c := s.Compare(began); c.Known || c.Same() {
		t.Errorf("before the peer has told anything: %+v", c)
	}
	told(t, s, began, web, other)
	want := syncd.Comparison{Known: true, Here: web.Digest.Add(other.Digest), There: web.Digest.Add(other.Digest)}
	if d := cmp.Diff(want, s.Compare(began), comparer); d != "" || !s.Compare(began).Same() {
		t.Errorf("(-want +got)\n%s", d)
	}

	// One more here: on its way at first, then missing there.
	more := web
	more.Conns++
	more.Sum += 9
	at := began.Add(time.Minute)
	s.Mine(at, []syncd.ServerDigest{more})
	if c := s.Compare(at); c.Changing != 1 || c.Differs != nil || c.Same() {
		t.Errorf("at first: %+v", c)
	}
	at = at.Add(3 * time.Second)
	diff := []syncd.ServerDifference{{VirtualServer: web.VirtualServer, Here: more.Digest, There: web.Digest}}
	if d := cmp.Diff(diff, s.Compare(at).Differs, comparer); d != "" {
		t.Errorf("after three seconds (-want +got)\n%s", d)
	}
	told(t, s, at, more, other)
	if c := s.Compare(at); !c.Same() {
		t.Errorf("once it is there: %+v", c)
	}

	// A virtual server that has no connection left, on one side only.
	s.Mine(at, []syncd.ServerDigest{{VirtualServer: other.VirtualServer}})
	at = at.Add(3 * time.Second)
	diff = []syncd.ServerDifference{{VirtualServer: other.VirtualServer, There: other.Digest}}
	if d := cmp.Diff(diff, s.Compare(at).Differs, comparer); d != "" {
		t.Errorf("the last connection is gone here (-want +got)\n%s", d)
	}
	told(t, s, at, more)
	if c := s.Compare(at); !c.Same() {
		t.Errorf("and there: %+v", c)
	}
}

// Two directors that tell each other only what changes know at any time what both have.
func TestSamenessFollowsTheTables(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	now := began
	tables := [2]*syncd.Table{syncd.NewTable(200), syncd.NewTable(200)}
	books := [2]*syncd.DigestBook{syncd.NewDigestBook(), syncd.NewDigestBook()}
	sames := [2]*syncd.Sameness{syncd.NewSameness(), syncd.NewSameness()}
	sent, agreed := 0, 0
	for range 2000 {
		now = now.Add(time.Duration(rng.IntN(4000)) * time.Millisecond)
		for range rng.IntN(4) {
			c := established(fmt.Sprintf("192.0.2.1:%d", 1024+rng.IntN(20)))
			c.Virtual = netip.AddrPortFrom(c.Virtual.Addr(), uint16(1+rng.IntN(8)))
			c.Timeout = time.Duration(1+rng.IntN(30)) * time.Second
			tables[rng.IntN(2)].Observe(now, c, 0)
			if rng.IntN(3) > 0 {
				tables[0].Observe(now, c, 0)
				tables[1].Observe(now, c, 0)
			}
		}
		for i, table := range tables {
			table.Expire(now)
			changed := table.Changed()
			sames[i].Mine(now, changed)
			books[i].Set(changed)
			for n, page := range books[i].Notes() {
				sent++
				if _, err := sames[1-i].Note(now, uint8(syncd.NoteDigests+n), page); err != nil {
					t.Fatal(err)
				}
			}
		}
		var sums [2]syncd.Digest
		differ := make(map[syncd.VirtualServer]bool)
		for i, table := range tables {
			for v, d := range table.Digests() {
				sums[i] = sums[i].Add(d)
				differ[v] = d != tables[1-i].Digest(v)
			}
		}
		n := 0
		for _, d := range differ {
			if d {
				n++
			}
		}
		if n == 0 {
			agreed++
		}
		for i, s := range sames {
			c := s.Compare(now)
			if c.Here != sums[i] || c.There != sums[1-i] || c.Changing+len(c.Differs) != n || c.Same() != (n == 0) {
				t.Fatalf("%+v, want %v and %v, and %d that differ", c, sums[i], sums[1-i], n)
			}
		}
		if len(tables[0].Changed())+len(tables[1].Changed()) > 0 {
			t.Fatal("changed by being asked")
		}
	}
	if agreed < 20 || agreed > 1500 || sent > 2000*10 {
		t.Errorf("%d notes, and they agreed %d times", sent, agreed)
	}
}

func TestOtherNotesAreNotDigests(t *testing.T) {
	for _, kind := range []uint8{0, 1, 15, 32, 255} {
		if taken, err := syncd.NewSameness().Note(began, kind, []byte{1}); taken || err != nil {
			t.Errorf("kind %d: %v, %v", kind, taken, err)
		}
	}
}
