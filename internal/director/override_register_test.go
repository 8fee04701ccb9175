package director

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// drawn returns registers of which two draws have much in common, ties and all.
func drawn(r *rand.Rand) Registers {
	all := make(Registers)
	for range r.IntN(6) {
		reg := Register{Version: uint64(1 + r.IntN(3)), Override: Override{
			Kind:     pick(r, OverrideDrain, OverrideDisable, OverrideWeight, OverrideNone),
			Director: pick(r, "lb-a", "lb-b"),
			By:       pick(r, "root", "admin"),
			At:       time.Unix(int64(r.IntN(2)), 0),
			Reason:   pick(r, "", "kernel update"),
		}}
		if reg.Kind == OverrideWeight {
			reg.Weight = uint32(r.IntN(2))
		}
		if reg.Kind != OverrideNone && r.IntN(2) == 0 {
			reg.Until = time.Unix(int64(10+r.IntN(2)), 0)
		}
		all[ServerID{"web", pick(r, "web-1", "web-2", "web-3")}] = reg
	}
	return all
}

// Directors that hear of each other's registers in any order, some of them twice, know the
// same in the end.
func TestMergeIsASemilattice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for range 2000 {
		a, b, c := drawn(r), drawn(r), drawn(r)
		for law, sides := range map[string][2]Registers{
			"commutative": {merge(a, b), merge(b, a)},
			"associative": {merge(merge(a, b), c), merge(a, merge(b, c))},
			"idempotent":  {merge(a, a), a},
			"absorbing":   {merge(merge(a, b), b), merge(a, b)},
			"with nil":    {merge(nil, a), merge(a, nil)},
		} {
			if !sides[0].equal(sides[1]) {
				t.Fatalf("not %s: a %v, b %v, c %v\n%s", law, a, b, c, cmp.Diff(sides[0], sides[1]))
			}
			left, err := sides[0].encode()
			right, err2 := sides[1].encode()
			if err != nil || err2 != nil || left != right {
				t.Fatalf("%s, but told as\n%s\nand\n%s (%v, %v)", law, left, right, err, err2)
			}
		}
	}
}

// Whatever is known can be told, and is the same on the other side.
func TestToldRegistersAreTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	for range 2000 {
		want := drawn(r)
		text, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseShared(text)
		if err != nil || !got.equal(want) {
			t.Fatalf("%v: -want +got\n%s", err, cmp.Diff(want, got))
		}
	}
}

func TestTheLastWriterWins(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	id := ServerID{"web", "web-1"}
	write := func(known Registers, director string, kind OverrideKind, at time.Time) Registers {
		return merge(known, Registers{id: {Version: known.next(at), Override: Override{Kind: kind, Director: director, At: at}}})
	}
	drained := write(nil, "lb-a", OverrideDrain, now)
	for _, tt := range []struct {
		name string
		a, b Registers
		want OverrideKind
	}{
		{"enabled where it was known", drained, write(drained, "lb-b", OverrideNone, now.Add(time.Second)), OverrideNone},
		{"enabled by a clock that is an hour late", drained, write(drained, "lb-b", OverrideNone, now.Add(-time.Hour)), OverrideNone},
		{"drained again by a clock that is late", write(drained, "lb-b", OverrideNone, now.Add(time.Hour)),
			write(write(drained, "lb-b", OverrideNone, now.Add(time.Hour)), "lb-a", OverrideDrain, now), OverrideDrain},
		{"both apart, the later one", write(drained, "lb-a", OverrideDisable, now.Add(time.Second)), write(drained, "lb-b", OverrideNone, now.Add(2*time.Second)), OverrideNone},
		{"both apart, more changes but earlier ones", write(write(drained, "lb-a", OverrideDisable, now.Add(time.Second)), "lb-a", OverrideDrain, now.Add(2*time.Second)),
			write(drained, "lb-b", OverrideNone, now.Add(3*time.Second)), OverrideNone},
		{"both apart at the same moment", write(drained, "lb-a", OverrideNone, now.Add(time.Second)), write(drained, "lb-b", OverrideDisable, now.Add(time.Second)), OverrideDisable},
	} {
		if got := merge(tt.a, tt.b)[id].Kind; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestWhatEndedIsForgottenAfterAMonth(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	all := Registers{
		{"web", "in-force"}:     {1, Override{Kind: OverrideDrain, At: now.Add(-10 * keepEnded)}},
		{"web", "ended"}:        {1, Override{Kind: OverrideNone, At: now.Add(-keepEnded)}},
		{"web", "ended-before"}: {1, Override{Kind: OverrideNone, At: now.Add(-keepEnded - 1)}},
		{"web", "over"}:         {1, Override{Kind: OverrideDrain, Until: now.Add(-keepEnded)}},
		{"web", "over-before"}:  {1, Override{Kind: OverrideDrain, Until: now.Add(-keepEnded - 1)}},
	}
	want := []ServerID{{"web", "ended"}, {"web", "in-force"}, {"web", "over"}}
	if diff := cmp.Diff(want, all.prune(now).sorted()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(all) != 5 {
		t.Error("what was published has been written to")
	}
}

func TestWhatAPeerTellsIsNotBelieved(t *testing.T) {
	line := func(change string, with string) string {
		text := `{"virtual_server":"web","real_server":"web-1","version":1,"kind":"drain","weight":0,"by":"root","director":"lb-a","at":"2026-01-02T03:04:05Z"}` + "\n"
		return sharedHead + strings.Replace(text, change, with, 1)
	}
	if got, err := parseShared(line("", "")); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	many := []byte(sharedHead)
	for i := range MaxOverrides + 1 {
		many = fmt.Appendf(many, `{"virtual_server":"web","real_server":"%d","version":1,"kind":"drain","director":"lb-a"}`+"\n", i)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "overrides in an unknown form"},
		{"a later form", "hadirector overrides 2\n", "overrides in an unknown form"},
		{"a million", string(many), "more than 20000 overrides"},
		{"very long", sharedHead + string(make([]byte, maxShared)), "overrides of more than 8388608 bytes"},
		{"cut off", line("}\n", "}"), "overrides end too early"},
		{"no JSON", sharedHead + "drain it\n", `override of ""/"": invalid character 'd' looking for beginning of value`},
		{"no version", line(`"version":1`, `"version":0`), `override of "web"/"web-1": without a version or a director`},
		{"no director", line(`"lb-a"`, `""`), `override of "web"/"web-1": without a version or a director`},
		{"a version beyond all clocks", line(`"version":1`, `"version":9007199254740993`), `override of "web"/"web-1": version 9007199254740993 is from no clock`},
		{"a name with an escape", line(`"web-1"`, `"web-1\u001b[2J"`), `override of "web"/"web-1\x1b[2J": no name that a configuration could have`},
		{"a name with a slash", line(`"web-1"`, `"web/1"`), `override of "web"/"web/1": no name that a configuration could have`},
		{"a user with an escape", line(`"root"`, `"\u001b[2J"`), `override of "web"/"web-1": the user's name is too long or cannot be printed`},
		{"a director with an escape", line(`"lb-a"`, `"\u001b[2J"`), `override of "web"/"web-1": the director's name is too long or cannot be printed`},
		{"a time beyond all calendars", line("2026-01-02T03:04:05Z", "9999-12-31T23:59:59-23:59"), `override of "web"/"web-1": a time that is in no calendar`},
		{"another kind", line("drain", "explode"), `override of "web"/"web-1": unknown change "explode": want drain, disable, weight or enable`},
		{"a weight", line(`"weight":0`, `"weight":2147483648`), `override of "web"/"web-1": weight 2147483648: the kernel's greatest is 2147483647`},
	} {
		if got, err := parseShared(tt.text); err == nil || err.Error() != tt.want || got != nil {
			t.Errorf("%s: got %d, %v\nwant %s", tt.name, len(got), err, tt.want)
		}
	}
}

func FuzzParseShared(f *testing.F) {
	text, _ := Registers{
		{"web", "web-1"}: {1, Override{Kind: OverrideDrain, By: "root", Director: "lb-a", At: time.Unix(1, 0), Until: time.Unix(2, 0), Reason: "<&>"}},
		{"web", "web-2"}: {1 << 40, Override{Kind: OverrideNone, By: "root", Director: "lb-b"}},
	}.encode()
	f.Add(text)
	f.Add(sharedHead)
	f.Add(sharedHead + `{"virtual_server":"a","real_server":"b","version":1,"kind":"weight","weight":1,"director":"c","at":"9999-12-31T23:59:59-23:59"}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseShared(text)
		if err != nil {
			return
		}
		for id, r := range all {
			if !placeName(id.VirtualServer) || !placeName(id.RealServer) || r.Version == 0 || r.Director == "" || !printable(r.By+r.Director+r.Reason) {
				t.Errorf("accepted %s: %+v", id, r)
			}
		}
		again, err := all.encode()
		if err != nil {
			t.Fatalf("what was accepted cannot be told: %v", err)
		}
		if same, err := parseShared(again); err != nil || !same.equal(all) {
			t.Fatalf("after the round trip: %v\n%s", err, cmp.Diff(all, same))
		}
	})
}
