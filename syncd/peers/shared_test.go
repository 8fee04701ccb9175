package peers

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSharedBytes(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		want       shared
		err        string
	}{
		{"a text", "01" + "046c622d61" + "5b615d0a", shared{"lb-a", "[a]\n"}, ""},
		{"none", "01" + "046c622d61", shared{"lb-a", ""}, ""},
		{"empty", "", shared{}, "message is empty"},
		{"another version", "02" + "046c622d61", shared{}, "message version 2, want 1"},
		{"only a version", "01", shared{}, "message ends too early"},
		{"name cut short", "01" + "046c62", shared{}, "message ends too early"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire, err := hex.DecodeString(tt.wire)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseShared(wire)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want || !bytes.Equal(got.appendTo(nil), wire) {
				t.Fatalf("%+v, %v, again %x; want %+v", got, err, got.appendTo(nil), tt.want)
			}
		})
	}
	if _, err := parseShared(shared{"a", strings.Repeat("x", MaxShared+1)}.appendTo(nil)); err == nil {
		t.Error("a text longer than MaxShared is accepted")
	}
}

func FuzzParseShared(f *testing.F) {
	f.Add(shared{"lb-a", "text\n"}.appendTo(nil))
	f.Add([]byte{1, 5, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseShared(b)
		if err == nil && !bytes.Equal(s.appendTo(nil), b) {
			t.Fatalf("%x became %x", b, s.appendTo(nil))
		}
	})
}

// A text is sent at once to who has another one, again after a growing pause as long as
// that is so, and not while the peer's own news may be on its way.
func TestBookSendsWhatIsShared(t *testing.T) {
	b := newTestBook()
	due := func(now float64, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, b.dueToSend(at(now))); diff != "" {
			t.Errorf("at %v -want +got\n%s", now, diff)
		}
	}
	theirs := func(now float64, text string) {
		meta := Meta{Version: "1"}
		if text != "" {
			meta.Shared = FingerprintOf(text)
		}
		b.heard(at(now), "b", meta, true)
	}
	b.ours = FingerprintOf("1")
	due(1) // nobody is there
	theirs(1, "")
	due(9) // its program shares nothing
	theirs(10, "0")
	due(10.1)
	due(10.2, "b")
	due(15) // it is under way
	b.sent(at(15), "b")
	due(16.9)
	if next, armed := b.sendDeadline(); !armed || !next.Equal(at(17)) {
		t.Errorf("next at %v, armed %t, want 17 s", next.Sub(at(0)), armed)
	}
	due(17, "b")
	b.sent(at(17), "b")
	due(20.9)
	due(21, "b")
	b.ours = FingerprintOf("2")
	due(21) // one is under way
	b.sent(at(22), "b")
	due(22, "b")
	b.sent(at(22), "b")
	theirs(23, "2")
	due(100)
	if _, armed := b.sendDeadline(); armed {
		t.Error("armed though both have the same")
	}
	theirs(101, "3")
	b.gone(at(101), "b")
	due(110)
	theirs(110, "3") // it is back, and may have forgotten all
	due(110.2, "b")
	if b.shares(at(111), shared{"b", "3"}); b.view().shared["b"] != "3" {
		t.Errorf("what b has sent: %q", b.view().shared["b"])
	}
	checkKinds(t, "the same again", b.shares(at(112), shared{"b", "3"}))
	checkKinds(t, "a stranger's", b.shares(at(112), shared{"x", "3"}))
}

// What one director says reaches the others, whoever was away meanwhile, and a program that
// shares nothing is left alone.
func TestSharedTextReachesAll(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b", "lb-c")
	start := func(n int, text string) *node {
		o := c.options(n)
		o.Local.Shared = text
		return c.start(o)
	}
	a, b, old := start(0, "1"), start(1, "0"), start(2, "")
	has := func(n *node, name, text string) {
		t.Helper()
		n.until(n.opts.Self+" has "+text+" of "+name, func(map[string]Member) bool { return n.PeerShared(name) == text })
	}
	has(a, "lb-b", "0")
	has(b, "lb-a", "1")
	say := func(n *node, text string) {
		l := n.delegate.out.Load().local
		l.Shared = text
		n.Update(l)
	}
	said := time.Now()
	long := strings.Repeat("long ", 1<<20)
	say(a, long)
	has(b, "lb-a", long)
	if took := time.Since(said); took > 10*time.Second {
		t.Errorf("took %v, want well below a second", took)
	}
	say(b, long)
	a.until("both have the same", func(ms map[string]Member) bool { return ms["lb-b"].Meta.Shared == FingerprintOf(long) })

	b.end(true)
	a.event(Lost, "lb-b")
	say(a, "3")
	b = start(1, long)
	has(b, "lb-a", "3")
	has(a, "lb-b", long)
	old.until("sees all", alive("lb-a", "lb-b"))
	if old.PeerShared("lb-a") != "" || a.PeerShared("lb-c") != "" || a.Members()["lb-c"].Meta.Shared != (Fingerprint{}) {
		t.Error("something was shared with a program that shares nothing")
	}
}
