package director

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

var equalViews = cmp.AllowUnexported(views{}, downView{})

// noonViews is when real servers went down.
var noonViews = time.Unix(1795262400, 0)

// littleViews are the verdicts on five real servers.
func littleViews() views {
	up, down := healthcheck.Up, healthcheck.Down
	return views{
		list: [16]byte{1, 2, 3}, status: []healthcheck.Status{up, down, healthcheck.Unknown, down, down},
		down: []downView{
			{1, "connect refused", noonViews.Add(time.Minute)},
			{3, "", noonViews},
			{4, "connect refused", noonViews.Add(time.Hour)},
		},
	}
}

func TestViewsOnTheWire(t *testing.T) {
	b := littleViews().encode()
	want := "\x01" + "\x01\x02\x03" + strings.Repeat("\x00", 13) +
		"\x05" + "\x89\x02" + // 5: up, down, unknown, down; down
		"\x00" + // not truncated
		"\x01" + "\x0fconnect refused" +
		"\x03" + "\xc0\x8f\x86\xd8\x06" + // 3, the first at noon
		"\x01\x01\x3c" + "\x02\x00\x00" + "\x01\x01\x90\x1c" // web-1 a minute later, …
	if diff := cmp.Diff([]byte(want), b); diff != "" {
		t.Errorf("note -want +got:\n%s", diff)
	}
	got, err := parseViews(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(littleViews(), got, equalViews); diff != "" {
		t.Errorf("read -want +got:\n%s", diff)
	}
}

// However many real servers there are, a note fits, and what does not is named.
func TestViewsFit(t *testing.T) {
	all := func(n int, cause func(int) string) views {
		v := views{status: make([]healthcheck.Status, n)}
		for i := range n {
			v.status[i] = healthcheck.Down
			v.down = append(v.down, downView{i, cause(i), noonViews.Add(time.Duration(i) * time.Second)})
		}
		return v
	}
	one := func(int) string { return "timeout after 2s waiting for the status line" }
	each := func(i int) string { return fmt.Sprintf("status %d, want 200-299", i) }
	long := func(i int) string { return fmt.Sprint(i, strings.Repeat("é", 300)) }
	for _, tt := range []struct {
		name      string
		views     views
		verdicts  int
		down      int // of which more is told
		causes    int // of these, with a cause
		truncated bool
	}{
		{"none", all(0, one), 0, 0, 0, false},
		{"10 000 down, for one cause", all(10_000, one), 10_000, 10_000, 10_000, false},
		{"10 000 down, each for its own", all(10_000, each), 10_000, 10_000, 577, true},
		{"10 000 down, with long causes", all(10_000, long), 10_000, 10_000, 71, true},
		{"100 000 down", all(100_000, one), 100_000, 9118, 9118, true},
		{"more than there is room for", all(maxViews+1, one), maxViews, 7176, 7176, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.views.encode()
			got, err := parseViews(b)
			if err != nil {
				t.Fatal(err)
			}
			causes := 0
			for _, d := range got.down {
				if d.cause != "" {
					causes++
				}
			}
			if len(b) > maxNote || len(got.status) != tt.verdicts || len(got.down) != tt.down || causes != tt.causes || got.truncated != tt.truncated {
				t.Errorf("%d bytes, %d verdicts, %d are down, %d causes, truncated %v; want %d, %d, %d, %v", len(b), len(got.status), len(got.down), causes, got.truncated, tt.verdicts, tt.down, tt.causes, tt.truncated)
			}
			if !slices.Equal(tt.views.status[:tt.verdicts], got.status) {
				t.Error("other verdicts than were told")
			}
		})
	}
}

func TestParseViewsRefuses(t *testing.T) {
	head := "\x01" + strings.Repeat("\x00", 16)
	for _, tt := range []struct{ name, note, want string }{
		{"nothing", "", "version: 1 bytes are missing"},
		{"a later version", "\x02" + head[1:] + "\x00\x00\x00\x00", "version 2, want 1"},
		{"a cut digest", head[:10], "digest: 7 bytes are missing"},
		{"a bomb", head + "\x80\x80\x80\x80\x08", "verdicts: 2147483648, want at most 131072"},
		{"more than there are", head + "\x08\x55", "verdicts: 1 bytes are missing"},
		{"no verdict", head + "\x01\x03\x00\x00\x00", "verdict 3 is none"},
		{"one too many", head + "\x01\x05\x00\x00\x00", "verdict after the last one"},
		{"flags", head + "\x01\x01\x02\x00\x00", "flags 2, want 0 or 1"},
		{"a control character", head + "\x01\x02\x00\x01\x01\x1b\x00", `cause "\x1b" is no text`},
		{"an empty cause", head + "\x01\x02\x00\x01\x00\x00", `cause "" is no text`},
		{"a cause that is not there", head + "\x01\x02\x00\x00\x01\x00\x00\x01\x00", "cause: 1, want at most 0"},
		{"more down than there are", head + "\x01\x02\x00\x00\x02", "real servers that are down: 2, want at most 1"},
		{"up and down", head + "\x01\x01\x00\x00\x01\x00\x00\x00\x00", "place 0 is not down"},
		{"after the last", head + "\x01\x02\x00\x00\x01\x00\x05\x00\x00", "place 5 is not down"},
		{"twice", head + "\x02\x0a\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00", "place 0 twice"},
		{"the year 10000", head + "\x01\x02\x00\x00\x01\xff\xff\xff\xff\xff\x7f", "time: 4398046511103, want at most 253402300799"},
		{"no end", head + "\x00\x00\x00\x00\x00", "goes on after its end"},
		{"too long", strings.Repeat("\x01", maxNote+1), "61441 bytes, want at most 61440"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := parseViews([]byte(tt.note))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if diff := cmp.Diff(views{}, v, equalViews); diff != "" {
				t.Errorf("read all the same:\n%s", diff)
			}
		})
	}
}

// What is accepted can be told on, and means the same then.
func FuzzParseViews(f *testing.F) {
	f.Add(littleViews().encode())
	f.Add(views{}.encode())
	f.Add([]byte("\x01" + strings.Repeat("\x00", 16) + "\x02\x0a\x00\x00\x02\x00\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseViews(b)
		if err != nil {
			return
		}
		before := -1
		for _, d := range v.down {
			if d.place <= before || v.status[d.place] != healthcheck.Down || !printable(d.cause) || len(d.cause) > maxCause || !tellable(d.since) {
				t.Errorf("accepted %+v", d)
			}
			before = d.place
		}
		again := v.encode()
		if len(again) > maxNote {
			t.Fatalf("%d bytes", len(again))
		}
		got, err := parseViews(again)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > maxNote/2 {
			return // what is told in another way than ours may have no room
		}
		if diff := cmp.Diff(v, got, equalViews); diff != "" {
			t.Errorf("-first +again:\n%s", diff)
		}
		if !bytes.Equal(again, got.encode()) {
			t.Error("the same views have two forms")
		}
	})
}
