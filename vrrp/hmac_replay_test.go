package vrrp

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestStampIsTheTime(t *testing.T) {
	tests := []struct {
		at   time.Time
		want Stamp
	}{
		{vectorTime, 0x6800_0000_8000_0000},
		{time.Unix(0, 0), 0},
		{time.Unix(1, 999_999_999), 0x0000_0001_ffff_0000},
		{time.Unix(1<<32-1, 250_000_000), 0xffff_ffff_4000_0000},
		{time.Unix(1<<32, 250_000_000), 0x0000_0000_4000_0000}, // 2106
	}
	for _, tt := range tests {
		if got := stampAt(tt.at); got != tt.want {
			t.Errorf("%v: %#016x, want %#016x", tt.at.UTC(), got, tt.want)
		}
	}
	last, first := stampAt(time.Unix(1<<32-1, 250_000_000)), stampAt(time.Unix(1<<32, 0))
	if !first.after(last) || last.after(first) || first.sub(last) != 750*time.Millisecond || last.sub(first) != -750*time.Millisecond {
		t.Error("stamps do not go on in 2106")
	}
}

func TestStampsGrow(t *testing.T) {
	at := func(d time.Duration) time.Time { return vectorTime.Add(d) }
	tests := []struct {
		name      string
		monotonic bool
		times     []time.Time
		want      []Stamp
	}{
		{"the clock goes on", false, []time.Time{at(0), at(time.Second / 2), at(time.Second)},
			[]Stamp{0x6800_0000_8000_0000, 0x6800_0001_0000_0000, 0x6800_0001_8000_0000}},
		{"two at a time", false, []time.Time{at(0), at(0), at(time.Microsecond)},
			[]Stamp{0x6800_0000_8000_0000, 0x6800_0000_8000_0001, 0x6800_0000_8000_0002}},
		{"the clock is set back a little", false, []time.Time{at(0), at(-5 * time.Second), at(time.Second / 2)},
			[]Stamp{0x6800_0000_8000_0000, 0x6800_0000_8000_0001, 0x6800_0001_0000_0000}},
		// Receivers would call what comes after the old time stale.
		{"the clock is set back a lot", false, []time.Time{at(0), at(-6 * time.Second), at(-5 * time.Second)},
			[]Stamp{0x6800_0000_8000_0000, 0x67ff_fffa_8000_0000, 0x67ff_fffb_8000_0000}},
		{"monotonic, the clock is set back a lot", true, []time.Time{at(0), at(-time.Hour), at(-time.Hour)},
			[]Stamp{0x6800_0000_8000_0000, 0x6800_0000_8000_0001, 0x6800_0000_8000_0002}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := vectorHMAC()
			h.Monotonic = tt.monotonic
			var s Stamper
			for i, now := range tt.times {
				if got := s.Next(now, h, time.Second); got != tt.want[i] {
					t.Errorf("stamp %d is %#016x, want %#016x", i, got, tt.want[i])
				}
			}
		})
	}
	// The counter goes over into the time.
	s := Stamper{0x6800_0000_8000_ffff}
	if got := s.Next(vectorTime, vectorHMAC(), time.Second); got != 0x6800_0000_8001_0000 {
		t.Errorf("after the last counter: %#016x", got)
	}
}

// A restart of the sender goes unnoticed: its clock has moved on.
func TestAStampAfterARestartIsNewer(t *testing.T) {
	h := vectorHMAC()
	var before, after Stamper
	var last Stamp
	for range 1000 {
		last = before.Next(vectorTime, h, time.Second)
	}
	if first := after.Next(vectorTime.Add(20*time.Millisecond), h, time.Second); !first.after(last) {
		t.Errorf("%#016x after %#016x", first, last)
	}
}

func TestHMACWindow(t *testing.T) {
	tests := []struct {
		configured, interval, want time.Duration
	}{
		{0, 100 * time.Millisecond, 5 * time.Second},
		{0, time.Second, 5 * time.Second},
		{0, 2 * time.Second, 6 * time.Second},
		{0, 40950 * time.Millisecond, 122850 * time.Millisecond},
		{0, 255 * time.Second, 5 * time.Minute},
		{time.Second, 10 * time.Second, time.Second},
	}
	for _, tt := range tests {
		h := &HMAC{Window: tt.configured}
		if got := h.window(tt.interval); got != tt.want {
			t.Errorf("configured %v, interval %v: %v, want %v", tt.configured, tt.interval, got, tt.want)
		}
	}
}

// arrival is a datagram with a time that it arrives at, both relative to vectorTime.
type arrival struct {
	name  string
	at    time.Duration
	src   string
	stamp time.Duration
	want  error
}

func TestReplay(t *testing.T) {
	const a, b = "198.51.100.10", "198.51.100.11"
	tests := []struct {
		name      string
		monotonic bool
		arrivals  []arrival
	}{
		{"within the window", false, []arrival{
			{"exactly now", 0, a, 0, nil},
			{"the same again", 0, a, 0, ErrReplay},
			{"again, later", time.Second, a, 0, ErrReplay},
			{"older than the last", time.Second, a, -time.Second, ErrReplay},
			{"newer", time.Second, a, time.Second, nil},
			{"another sender's are counted apart", time.Second, b, 0, nil},
			{"and it too is heard once", time.Second, b, 0, ErrReplay},
		}},
		{"the window's edges", false, []arrival{
			{"behind by too much", 0, a, -5001 * time.Millisecond, ErrStale},
			{"ahead by too much", 0, a, 5001 * time.Millisecond, ErrStale},
			{"behind by what is allowed", 0, a, -5 * time.Second, nil},
			{"ahead by what is allowed", 0, a, 5 * time.Second, nil},
			{"the first is behind now", 0, a, 4 * time.Second, ErrReplay},
		}},
		// Its clock was 4 s fast and is put right: what it says is older than what it
		// said, until time has caught up or the window has passed.
		{"a sender's clock is put right", false, []arrival{
			{"fast", 0, a, 4 * time.Second, nil},
			{"right", time.Second, a, time.Second, ErrReplay},
			{"caught up", 5 * time.Second, a, 5 * time.Second, nil},
		}},
		{"our clock is put right", false, []arrival{
			{"both are an hour fast", time.Hour, a, time.Hour, nil},
			{"both are right", 0, a, 0, nil},
			{"again", 0, a, 0, ErrReplay},
		}},
		{"a recording of another day", false, []arrival{
			{"a new receiver", 24 * time.Hour, a, 0, ErrStale},
		}},
		{"monotonic", true, []arrival{
			{"any time", 0, a, 24 * time.Hour, nil},
			{"older", 0, a, 0, ErrReplay},
			{"older, much later", 48 * time.Hour, a, 23 * time.Hour, ErrReplay},
			{"newer", 0, a, 25 * time.Hour, nil},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := vectorHMAC()
			h.Monotonic = tt.monotonic
			var v Verifier
			for _, r := range tt.arrivals {
				hdr := Header{Src: addr(r.src), Dst: Group(IPv4), TTL: 255}
				b := signed(t, h, vectorTime.Add(r.stamp), r.src, 200)
				if _, err := v.Parse(vectorTime.Add(r.at), b, hdr, h); !errors.Is(err, r.want) {
					t.Errorf("%s: %v, want %v", r.name, err, r.want)
				}
			}
		})
	}
}

// What is not authenticated moves nothing: a stamp from the future with a wrong HMAC
// does not lock the sender out.
func TestForgedStampsMoveNothing(t *testing.T) {
	h := vectorHMAC()
	hdr := vectors[0].h
	forged := signed(t, h, vectorTime.Add(4*time.Second), "198.51.100.10", 255)
	forged[len(forged)-1] ^= 1
	var v Verifier
	if _, err := v.Parse(vectorTime, forged, hdr, h); !errors.Is(err, ErrHMAC) {
		t.Fatal(err)
	}
	hdr.Known = addrs("198.51.100.11")
	if _, err := v.Parse(vectorTime, signed(t, h, vectorTime.Add(4*time.Second), "198.51.100.10", 255), hdr, h); !errors.Is(err, ErrPeer) {
		t.Fatal(err)
	}
	if _, err := v.Parse(vectorTime, unhex(t, vector4), vectors[0].h, h); err != nil {
		t.Error(err)
	}
}

// Somebody with the key but many addresses does not fill the memory, and whoever is
// heard often is not forgotten.
func TestSendersRememberedAreBounded(t *testing.T) {
	h := vectorHMAC()
	h.Monotonic = true
	var v Verifier
	say := func(now time.Time, src netip.Addr, s Stamp) error {
		_, err := v.Parse(now, stamped(t, h, s, src.String(), 100), Header{Src: src, Dst: Group(IPv4), TTL: 255}, h)
		return err
	}
	regular := addr("198.51.100.10")
	now := vectorTime
	for i := range 200 {
		now = now.Add(time.Second)
		if err := say(now, regular, Stamp(1000+i)); err != nil {
			t.Fatal(err)
		}
		if err := say(now.Add(time.Millisecond), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.heard); n != maxHeard {
		t.Errorf("%d are remembered, want %d", n, maxHeard)
	}
	if err := say(now, regular, 1); !errors.Is(err, ErrReplay) {
		t.Errorf("a replay of the regular sender's: %v, want %v", err, ErrReplay)
	}
}
