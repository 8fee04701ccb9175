package healthcheck

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPattern(t *testing.T) {
	tests := []struct {
		text      string
		canonical string // empty: as the text
		matches   []string
		not       []string
	}{
		{text: "", matches: []string{"", "a"}},
		{text: "pong", matches: []string{"pong", "pong 1"}, not: []string{"", "pon", "a pong", "Pong"}},
		{text: "pong\r\n", matches: []string{"pong\r\n"}, not: []string{"pong\n"}},
		{text: "hex:00ff", matches: []string{"\x00\xff", "\x00\xffa"}, not: []string{"\x00", "\x01\xff", "\x00\xfe"}},
		{text: "hex:706f6e67", canonical: "pong", matches: []string{"pong"}},
		{text: "hex:6865783a", matches: []string{"hex:"}}, // it would be read as digits
		{text: "hex:XXXX 8X X3", canonical: "hex:XXXX8XX3", matches: []string{"ab\x80\x13", "\x00\x00\x8f\xf3!"}, not: []string{"ab\x80\x14", "ab\x7f\x13", "ab\x80"}},
		{text: "hex:xxAb", canonical: "hex:XXab", matches: []string{"\x00\xab"}, not: []string{"\x00\xac"}},
		{text: "hex:0X", matches: []string{"\x00", "\x0f"}, not: []string{"\x10"}},
		{text: "hex:", canonical: "", matches: []string{""}},
	}
	for _, tt := range tests {
		p, err := ParsePattern(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		canonical := tt.canonical
		if canonical == "" && tt.text != "hex:" {
			canonical = tt.text
		}
		if p.String() != canonical {
			t.Errorf("%q is told as %q, want %q", tt.text, p, canonical)
		}
		for _, b := range tt.matches {
			if !p.Matches([]byte(b)) {
				t.Errorf("%q does not match %q", tt.text, b)
			}
		}
		for _, b := range tt.not {
			if p.Matches([]byte(b)) {
				t.Errorf("%q matches %q", tt.text, b)
			}
		}
	}
}

func TestBytesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"hex:0":    `want an even number of hexadecimal digits after "hex:"`,
		"hex:0g":   `'g' is not a hexadecimal digit`,
		"hex:é0":   `'é' is not a hexadecimal digit`,
		"hex:0\n0": `'\n' is not a hexadecimal digit`,
		"hex:00X0": `an X stands for any digit, and these are to be sent as they are`,
	} {
		_, err := ParseBytes(text)
		if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// FuzzPattern: what is told of a pattern or of bytes is read as the same, and a pattern
// says of each datagram what a look at its digits says.
func FuzzPattern(f *testing.F) {
	for _, text := range []string{"", "pong", "hex:", "hex:0", "hex:XX8x 00", "hex:é", "hex:6865783a", "\x00", "\xff\ufffd"} {
		f.Add(text, []byte("pong"))
		f.Add(text, []byte{0, 0x80, 0})
	}
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		if again, err := ParseBytes(FormatBytes(text)); err != nil || again != text {
			t.Errorf("%q is told as %q and read as %q (%v)", text, FormatBytes(text), again, err)
		}
		p, err := ParsePattern(text)
		if err != nil {
			if raw, err := ParseBytes(text); err == nil {
				t.Errorf("%q is bytes %q and no pattern", text, raw)
			}
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || again != p {
			t.Errorf("%q is told as %q and read as %#v (%v), want %#v", text, p, again, err, p)
		}
		if raw, err := ParseBytes(text); err == nil && p.Matches(b) != bytes.HasPrefix(b, []byte(raw)) {
			t.Errorf("%q matches %q: %t", text, b, p.Matches(b))
		}
		wild := []byte(fmt.Sprintf("hex:%x", b)) // any digits in place of those that do not count
		for i := range min(len(p.Mask), len(b)) {
			for j, digit := range []byte{p.Mask[i] >> 4, p.Mask[i] & 0xf} {
				if digit == 0 {
					wild[len("hex:")+2*i+j] = 'X'
				}
			}
		}
		if len(b) < len(p.Mask) {
			if p.Matches(b) {
				t.Errorf("%q matches %q, which is shorter", text, b)
			}
			return
		}
		same, err := ParsePattern(string(wild[:len("hex:")+2*len(p.Mask)]))
		if err != nil || p.Matches(b) != (same == p) {
			t.Errorf("%q matches %q: %t (%v)", text, b, p.Matches(b), err)
		}
	})
}
