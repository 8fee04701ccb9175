package journal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)

func TestRecordJSON(t *testing.T) {
	for _, tt := range []struct {
		name   string
		record Record
		line   string
	}{
		{"all fields", Record{
			Seq: 7, At: noon, Kind: VRRPTransition, Object: "web", From: "backup", To: "master",
			Reason: "master-down", Text: "a < b & c", Attrs: map[string]string{"peer": "10.0.0.2", "a": "b"},
		}, `{"seq":7,"at":"2026-11-21T12:00:00.123456789Z","kind":"vrrp-transition","object":"web","from":"backup","to":"master",` +
			`"reason":"master-down","text":"a < b & c","attrs":{"a":"b","peer":"10.0.0.2"}}` + "\n"},
		{"another director's", Record{
			Seq: 8, At: noon, Kind: VRRPTransition, Object: "web", To: "backup",
			Director: "lb-b", DirectorAt: noon.Add(-time.Second), DirectorRun: 1795262400000000, DirectorSeq: 3,
		}, `{"seq":8,"at":"2026-11-21T12:00:00.123456789Z","kind":"vrrp-transition","object":"web","to":"backup",` +
			`"director":"lb-b","director_at":"2026-11-21T11:59:59.123456789Z","director_run":1795262400000000,"director_seq":3}` + "\n"},
		{"the least", Record{Seq: 1, At: time.Unix(0, 0).UTC(), Kind: DaemonStart},
			`{"seq":1,"at":"1970-01-01T00:00:00Z","kind":"daemon-start"}` + "\n"},
		{"line breaks", Record{Seq: 1, At: time.Unix(0, 0).UTC(), Kind: ReloadFailed, Reason: "a\nb\u2028c"},
			`{"seq":1,"at":"1970-01-01T00:00:00Z","kind":"reload-failed","reason":"a\nb\u2028c"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.record.AppendTo(nil)); got != tt.line {
				t.Errorf("encoded\n%s, want\n%s", got, tt.line)
			}
			got, err := ParseRecord([]byte(tt.line))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.record, got); diff != "" {
				t.Errorf("decoded -want +got\n%s", diff)
			}
		})
	}
}

func TestParseRecordRefuses(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"nothing", "", "record: unexpected end of JSON input"},
		{"cut short", `{"seq":1,"at":"2026-11-21T12:`, "record: unexpected end of JSON input"},
		{"zeros of a power loss", "\x00\x00\x00", "record: invalid character"},
		{"null", "null", "record without number"},
		{"no number", `{"at":"2026-11-21T12:00:00Z","kind":"x"}`, "record without number"},
		{"no kind", `{"seq":1,"at":"2026-11-21T12:00:00Z"}`, "record without kind"},
		{"no time", `{"seq":1,"kind":"x"}`, "record with the time 0001-01-01"},
		{"another director's time", `{"seq":1,"kind":"x","at":"2026-11-21T12:00:00Z","director_at":"1969-12-31T23:59:59Z"}`, "record with the time 1969-12-31"},
		{"year that UTC makes 10000", `{"seq":1,"kind":"x","at":"9999-12-31T23:59:59-01:00"}`, "record with the time 10000-01-01"},
		{"negative number", `{"seq":-1,"kind":"x","at":"2026-11-21T12:00:00Z"}`, "record: json: cannot unmarshal"},
		{"too long", `{"seq":1,"kind":"` + strings.Repeat("x", 2<<20) + `"}`, "record of 2097171 bytes, want at most 2097152"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseRecord([]byte(tt.line))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %s…", err, tt.want)
			}
		})
	}
	later, err := ParseRecord([]byte(`{"seq":1,"at":"2026-11-21T12:00:00Z","kind":"x","cause":7}`))
	if err != nil || later.Kind != "x" {
		t.Errorf("a record with a field of a later version: %+v, %v", later, err)
	}
}

func TestClean(t *testing.T) {
	attrs := map[string]string{"k": "v"}
	mixed := Record{At: noon.In(time.FixedZone("", 3600)), Kind: "x", Reason: "a\xffb", Attrs: attrs}.clean(time.Time{})
	attrs["k"] = "changed by the caller"
	want := Record{At: noon.Truncate(time.Microsecond), Kind: "x", Reason: "a\uFFFDb", Attrs: map[string]string{"k": "v"}}
	if diff := cmp.Diff(want, mixed); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	empty := Record{}.clean(noon)
	if diff := cmp.Diff(Record{At: noon.Truncate(time.Microsecond), Kind: "unknown"}, empty); diff != "" {
		t.Errorf("the zero record -want +got\n%s", diff)
	}
	if ancient := (Record{At: time.Unix(-1, 0)}).clean(noon); !ancient.At.Equal(noon.Truncate(time.Microsecond)) {
		t.Errorf("a time that cannot be written became %v", ancient.At)
	}

	foreign := Record{At: noon, Kind: "x", Director: "lb\xff", DirectorAt: time.Unix(-1, 0), DirectorRun: 1}.clean(noon)
	if diff := cmp.Diff(Record{At: noon.Truncate(time.Microsecond), Kind: "x", Director: "lb\uFFFD", DirectorRun: 1}, foreign); diff != "" {
		t.Errorf("another director's -want +got\n%s", diff)
	}

	// The largest record of all can be read again.
	huge := strings.Repeat("\x01", 8<<10)
	large := Record{Seq: 1<<64 - 1, At: noon, Kind: Kind(huge), Object: huge, From: huge, To: huge, Reason: huge, Text: huge, Director: huge, DirectorAt: noon, DirectorRun: 1<<64 - 1, DirectorSeq: 1<<64 - 1, Attrs: make(map[string]string)}
	for i := range 100 {
		large.Attrs[fmt.Sprintf("%04d", i)+huge] = huge
	}
	large = large.clean(noon)
	again, err := ParseRecord(large.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(large, again) {
		t.Error("the largest record changed on its way")
	}
}

func TestLine(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)
	for _, tt := range []struct {
		record Record
		want   string
	}{
		{Record{Kind: DaemonStart, Attrs: map[string]string{"version": "1.0"}},
			"Mar  4 05:06:07.089  director        daemon start"},
		{Record{Kind: VRRPTransition, Object: "web", From: "backup", To: "master", Reason: "master-down"},
			"Mar  4 05:06:07.089  web             vrrp transition, backup -> master: master-down"},
		{Record{Kind: VRRPTransition, Object: "web", To: "backup", Reason: "startup"},
			"Mar  4 05:06:07.089  web             vrrp transition, backup: startup"},
		{Record{Kind: RealServerLeft, Object: "web/web-1", From: "up", To: "down", Text: "10.0.0.21:80 left: connection refused"},
			"Mar  4 05:06:07.089  web/web-1       10.0.0.21:80 left: connection refused"},
		{Record{Kind: VRRPTransition, Object: "web", Text: "Master, was Backup: no advertisement from lb-a", Director: "lb-b", DirectorAt: at.Add(-300 * time.Millisecond)},
			"Mar  4 05:06:07.089  web             on lb-b: Master, was Backup: no advertisement from lb-a"},
		{Record{Kind: VRRPTransition, Object: "web", Text: "Master, was Backup: no advertisement from lb-a", Director: "lb-b", DirectorAt: at.Add(time.Minute)},
			"Mar  4 05:06:07.089  web             on lb-b at Mar  4 05:07:07.089: Master, was Backup: no advertisement from lb-a"},
		{Record{Kind: PeerLost, Object: "lb-b", Reason: "no answer"},
			"Mar  4 05:06:07.089  lb-b            peer lost: no answer"},
		{Record{Kind: QuorumLost, Object: "web", From: "2", To: "1"},
			"Mar  4 05:06:07.089  web             quorum lost, 2 -> 1"},
		{Record{Kind: IPVSRepair, Object: "web/web-1", Text: "put back"},
			"Mar  4 05:06:07.089  web/web-1       put back"},
		{Record{Kind: IPVSFailure, Object: "a-virtual-server-with-a-long-name", Reason: "netlink:\n\x1b[31mred\u202e"},
			"Mar  4 05:06:07.089  a-virtual-server-with-a-long-name  ipvs failure: netlink:  [31mred\uFFFD"},
	} {
		tt.record.At = at
		if got := tt.record.Line(time.UTC); got != tt.want {
			t.Errorf("%+v\n got %q\nwant %q", tt.record, got, tt.want)
		}
	}
	cet := time.FixedZone("CET", 3600)
	if got := (Record{At: at, Kind: DaemonStop}).Line(cet); !strings.HasPrefix(got, "Mar  4 06:06:07.089") {
		t.Errorf("in CET %q", got)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"seq":7,"at":"2026-11-21T12:00:00.123456789Z","kind":"vrrp-transition","object":"web","attrs":{"a":"b"}}`))
	f.Add([]byte(`{"seq":1,"at":"9999-12-31T23:59:59-01:00","kind":"x"}`))
	f.Add([]byte(`{"seq":1,"at":"1970-01-01T00:00:00+01:00","kind":"\ud800","attrs":{}}`))
	f.Add([]byte(`{"seq":1,"at":"2026-11-21T12:00:00Z","kind":"x","director":"lb-b","director_at":"2026-11-21T13:00:00+01:00","director_run":1,"director_seq":2}`))
	f.Add([]byte(`{"SEQ":1,"seq":2}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRecord(line)
		if err != nil {
			return
		}
		b := r.AppendTo(nil)
		if bytes.IndexByte(b, '\n') != len(b)-1 {
			t.Fatalf("not one line: %q", b)
		}
		if len(b) > maxLine {
			return // the input was near the limit and shorter
		}
		again, err := ParseRecord(b)
		if err != nil {
			t.Fatalf("what was accepted is refused after the round trip: %v", err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("after the round trip\n%s", diff)
		}
		if s := r.Line(time.UTC); strings.ContainsAny(s, "\n\r\x1b") {
			t.Fatalf("the line obeys: %q", s)
		}
	})
}
