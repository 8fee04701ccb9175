package healthcheck

import (
	"fmt"
	"strconv"
	"strings"
)

// Pattern is what bytes have to begin with. It is a comparable value; every bunch of
// bytes begins with the zero value.
type Pattern struct {
	// Value and Mask are equally long. Only the bits that are set in Mask count.
	Value, Mask string
}

// Matches tells whether b begins with p.
func (p Pattern) Matches(b []byte) bool {
	if len(b) < len(p.Value) {
		return false
	}
	for i := range len(p.Value) {
		if (b[i]^p.Value[i])&p.Mask[i] != 0 {
			return false
		}
	}
	return true
}

// inHex begins a text that has its bytes in hexadecimal digits.
const inHex = "hex:"

// String is the inverse of ParsePattern.
func (p Pattern) String() string {
	if strings.Count(p.Mask, "\xff") == len(p.Mask) {
		return FormatBytes(p.Value)
	}
	text := []byte(fmt.Sprintf("%s%x", inHex, p.Value))
	for i := range len(p.Mask) {
		at := len(inHex) + 2*i
		if p.Mask[i]>>4 == 0 {
			text[at] = 'X'
		}
		if p.Mask[i]&0xf == 0 {
			text[at+1] = 'X'
		}
	}
	return string(text)
}

// ParsePattern reads a pattern: text that stands for itself, or hexadecimal digits after
// "hex:", where an X stands for any digit and spaces do not count.
func ParsePattern(s string) (Pattern, error) {
	digits, ok := strings.CutPrefix(s, inHex)
	if !ok {
		return Pattern{Value: s, Mask: strings.Repeat("\xff", len(s))}, nil
	}
	value, mask, err := nibbles(digits)
	return Pattern{Value: value, Mask: mask}, err
}

// FormatBytes is the inverse of ParseBytes. It prefers the form that can be read.
func FormatBytes(s string) string {
	readable := !strings.HasPrefix(s, inHex) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '\uFFFD' || !strconv.IsPrint(r) && r != '\r' && r != '\n' && r != '\t'
	})
	if readable {
		return s
	}
	return fmt.Sprintf("%s%x", inHex, s)
}

// ParseBytes reads bytes: text that stands for itself, or hexadecimal digits after
// "hex:", where spaces do not count.
func ParseBytes(s string) (string, error) {
	digits, ok := strings.CutPrefix(s, inHex)
	if !ok {
		return s, nil
	}
	value, mask, err := nibbles(digits)
	if err == nil && strings.Count(mask, "\xff") < len(mask) {
		return "", fmt.Errorf("an X stands for any digit, and these are to be sent as they are")
	}
	return value, err
}

// nibbles reads pairs of hexadecimal digits, X for any.
func nibbles(digits string) (value, mask string, err error) {
	digits = strings.ToLower(strings.ReplaceAll(digits, " ", ""))
	for _, r := range digits {
		if !strings.ContainsRune(hexDigits, r) {
			return "", "", fmt.Errorf("%q is not a hexadecimal digit", r)
		}
	}
	if len(digits)%2 != 0 {
		return "", "", fmt.Errorf("want an even number of hexadecimal digits after %q", inHex)
	}
	v, m := make([]byte, len(digits)/2), make([]byte, len(digits)/2)
	for i := range len(digits) {
		v[i/2], m[i/2] = v[i/2]<<4, m[i/2]<<4
		if n := strings.IndexByte(hexDigits, digits[i]); n < 16 {
			v[i/2], m[i/2] = v[i/2]|byte(n), m[i/2]|0xf
		}
	}
	return string(v), string(m), nil
}

const hexDigits = "0123456789abcdefx"
