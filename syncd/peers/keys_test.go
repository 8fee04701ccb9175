package peers

import (
	"testing"
	"time"
)

func TestPrimaryKey(t *testing.T) {
	old, next := [32]byte{1}, [32]byte{2}
	accepts := func(keys ...[32]byte) Member { return Member{Meta: Meta{Keys: idsOf(keys)}} }
	for _, tt := range []struct {
		name  string
		keys  [][32]byte
		peers []Member
		want  [32]byte
	}{
		{"one key", [][32]byte{old}, []Member{accepts(next)}, old},
		{"the peer has the old one", [][32]byte{next, old}, []Member{accepts(old)}, old},
		{"the peer has both", [][32]byte{next, old}, []Member{accepts(next, old)}, next},
		{"the peer has the new one", [][32]byte{next, old}, []Member{accepts(next)}, next},
		{"one of two peers has the new one", [][32]byte{next, old}, []Member{accepts(next), accepts(old)}, old},
		{"the peer was not heard", [][32]byte{next, old}, []Member{{}}, old},
	} {
		t.Run(tt.name, func(t *testing.T) {
			members := make(map[string]Member)
			for i, m := range tt.peers {
				members[string(rune('a'+i))] = m
			}
			if got := primary(tt.keys, members); got != tt.want {
				t.Errorf("key %x is used, want %x", got[:1], tt.want[:1])
			}
		})
	}
}

// A rolling change of the key, at each step of which both hear each other.
func TestKeysAreReplacedWithoutAGap(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	old, next := c.key, [32]byte{9}
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.until("joined", alive("lb-b"))
	b.until("joined", alive("lb-a"))
	began := a.Members()["lb-b"].Since
	n := 0
	for _, step := range []struct {
		of, other *node
		keys      [][32]byte
	}{{a, b, [][32]byte{next, old}}, {b, a, [][32]byte{next, old}}, {b, a, [][32]byte{next}}, {a, b, [][32]byte{next}}} {
		if err := step.of.SetKeys(step.keys); err != nil {
			t.Fatal(err)
		}
		// What each tells after the step arrives at the other.
		n++
		text := time.Duration(n).String()
		for _, pair := range [][2]*node{{step.of, step.other}, {step.other, step.of}} {
			l := pair[0].opts.Local
			l.Version = text
			pair[0].Update(l)
			pair[1].until("told after step "+text, func(ms map[string]Member) bool { return ms[pair[0].opts.Self].Meta.Version == text })
		}
	}
	// Longer than it takes to give up one that cannot be heard.
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		select {
		case e := <-a.events:
			if e.Kind == Lost {
				t.Fatalf("lost: %+v", e)
			}
		case e := <-b.events:
			if e.Kind == Lost {
				t.Fatalf("lost: %+v", e)
			}
		case <-time.After(time.Until(end)):
		}
	}
	if m := a.Members()["lb-b"]; !m.Alive || !m.Since.Equal(began) {
		t.Errorf("lb-b was given up meanwhile: %+v", m)
	}
	if err := a.SetKeys(nil); err == nil || err.Error() != "0 keys, want 1 to 2" {
		t.Errorf("no keys: %v", err)
	}
}
