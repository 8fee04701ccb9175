package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// words are those of a route or a rule that are still to be read.
type words struct {
	rest []string
	seen []string // keywords that were read
}

func newWords(s string) *words { return &words{rest: strings.Fields(s)} }

func (w *words) done() bool { return len(w.rest) == 0 }

// peek is the next word, or nothing at the end.
func (w *words) peek() string {
	if w.done() {
		return ""
	}
	return w.rest[0]
}

func (w *words) next() string {
	word := w.peek()
	if word != "" {
		w.rest = w.rest[1:]
	}
	return word
}

// once fails when a keyword was there before.
func (w *words) once(keyword string) error {
	if slices.Contains(w.seen, keyword) {
		return errors.New("given twice")
	}
	w.seen = append(w.seen, keyword)
	return nil
}

// value is the word that has to follow a keyword.
func (w *words) value(what string) (string, error) {
	if w.done() {
		return "", fmt.Errorf("no %s follows", what)
	}
	return w.next(), nil
}

func (w *words) addr(families *familyOf) (netip.Addr, error) {
	s, err := w.value("address")
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || a.Is4In6():
		return netip.Addr{}, fmt.Errorf("%q is no address", s)
	case a.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%q: an interface is named by dev", s)
	case a.IsUnspecified():
		return netip.Addr{}, fmt.Errorf("%q is no machine's address", s)
	}
	families.see(s, a)
	return a, nil
}

// network is a selector of a rule; the prefix is invalid for all.
func (w *words) network(families *familyOf) (netip.Prefix, error) {
	s, err := w.value("prefix")
	if err != nil || s == "all" || s == "any" || s == "default" {
		return netip.Prefix{}, err
	}
	p, err := parseNetwork(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: %w", s, err)
	}
	families.see(s, p.Addr())
	if p.Bits() == 0 {
		return netip.Prefix{}, nil
	}
	return p, nil
}

// ifname is a name that the kernel would give a link (dev_valid_name).
func (w *words) ifname() (string, error) {
	s, err := w.value("interface")
	if err == nil && (len(s) > 15 || s == "." || s == ".." || strings.ContainsAny(s, "/:")) {
		err = fmt.Errorf("%q is no name of an interface", s)
	}
	return s, err
}

func (w *words) oneOf(choices ...string) (string, error) {
	s, err := w.value("word")
	if err == nil && !slices.Contains(choices, s) {
		err = fmt.Errorf("%q is none of %s", s, strings.Join(choices, ", "))
	}
	return s, err
}

func (w *words) table() (uint32, error) {
	switch w.peek() {
	case "default":
		w.next()
		return tableDefault, nil
	case "main":
		w.next()
		return tableMain, nil
	case "local":
		w.next()
		return tableLocal, nil
	}
	return w.number(1, 1<<32-1)
}

func (w *words) number(lowest, highest uint32) (uint32, error) {
	s, err := w.value("number")
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(s)
	if err != nil {
		return 0, err
	}
	if n < lowest || n > highest {
		return 0, fmt.Errorf("%s is not from %d to %d", s, lowest, highest)
	}
	return n, nil
}

// mark is a mark and its mask, 0 if that has all bits and the mark is not 0.
func (w *words) mark() (mark, mask uint32, err error) {
	s, err := w.value("mark")
	if err != nil {
		return 0, 0, err
	}
	m, rest, masked := strings.Cut(s, "/")
	if mark, err = parseNumber(m); err != nil {
		return 0, 0, err
	}
	mask = 1<<32 - 1
	if masked {
		if mask, err = parseNumber(rest); err != nil {
			return 0, 0, err
		}
	}
	switch {
	case mask == 0:
		return 0, 0, fmt.Errorf("%q: a mask of 0 matches every mark", s)
	case mark&^mask != 0:
		return 0, 0, fmt.Errorf("%q: the mark has bits that the mask leaves out", s)
	case mask == 1<<32-1 && mark != 0:
		mask = 0
	}
	return mark, mask, nil
}

// parseNumber reads a number as ip(8) does, decimal or hexadecimal.
func parseNumber(s string) (uint32, error) {
	base, digits := 10, s
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		base, digits = 16, hex
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no number from 0 to 4294967295", s)
	}
	return uint32(n), nil
}

// parseNetwork reads a prefix, or an address for that address alone.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("neither a prefix nor an address")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("the network is %v", p.Masked())
	}
	return p, nil
}

// familyOf is the family of all the addresses that were seen.
type familyOf struct {
	is  Family
	err error
}

func (f *familyOf) see(word string, a netip.Addr) {
	is := FamilyOf(a)
	if f.is != 0 && f.is != is && f.err == nil {
		f.err = fmt.Errorf("%q is of another family than the address before", word)
	}
	f.is = is
}
