package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// MAC is an Ethernet address.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Virtual tells whether it is a virtual router's (RFC 9568 section 7.3).
func (m MAC) Virtual() bool {
	return m == VirtualMAC(IPv4, VRID(m[5])) || m == VirtualMAC(IPv6, VRID(m[5]))
}

// Inquiry is one round of questions to a segment: who has these addresses?
type Inquiry struct {
	// Interface is where to ask.
	Interface string
	// Links are further links of this machine on the segment, those with the virtual
	// MAC address. Addresses on them are held here, too.
	Links []string
	// Virtual are asked for over IPv4 by a probe, an ARP request from 0.0.0.0 (RFC 5227
	// section 2.1.1), which leaves no trace in anybody's table. Over IPv6 the question comes from
	// the interface's link-local address, and in the form of duplicate address detection
	// (RFC 4862 section 5.4.2) if there is none.
	Virtual []netip.Addr
	// Own are other machines' own addresses. They are asked for in the ordinary way,
	// because a machine that is just making sure that an address is its own takes a
	// probe for it for a conflict.
	Own []netip.Addr
}

// Answer is a machine that answered for an address, and how often in this round.
type Answer struct {
	MAC   MAC
	Times int
}

// Answers are what a segment said to an [Inquiry]. A machine does not answer itself:
// what this one has is in Held.
type Answers struct {
	By map[netip.Addr][]Answer
	// Held are those of Inquiry.Virtual that are on this machine's Interface or Links.
	Held []netip.Addr
}

// Verdict is what a witness makes of the answers for one virtual address: a fixed
// token that logs, events, metric labels and tests share.
type Verdict string

// The verdicts.
const (
	VerdictUnknown    Verdict = "unknown"     // not asked yet, or it cannot be told who answers
	VerdictOwnerOK    Verdict = "owner-ok"    // the Master has it, and nobody else
	VerdictNoOwner    Verdict = "no-owner"    // nobody has it
	VerdictTwoOwners  Verdict = "two-owners"  // more than one director has it
	VerdictWrongOwner Verdict = "wrong-owner" // a director has it that is not the Master
	VerdictStranger   Verdict = "stranger"    // somebody answers for it who is no director
)

// Verdicts are all verdicts.
var Verdicts = []Verdict{VerdictUnknown, VerdictOwnerOK, VerdictNoOwner, VerdictTwoOwners, VerdictWrongOwner, VerdictStranger}

// Wrong tells whether the verdict is a fault that an operator has to know of.
func (v Verdict) Wrong() bool { return v != VerdictUnknown && v != VerdictOwnerOK }

// Finding is a Verdict with those it is about.
type Finding struct {
	Verdict Verdict
	// Owners are the directors that have the address, by name. AnotherDirector is one
	// that answers with the virtual MAC address, which does not tell which it is.
	Owners []string
	// Strangers answer for the address and are no director's as far as is known.
	Strangers []MAC
	// Unseen are directors whose Ethernet address is not known, so that one of the
	// Strangers may be theirs.
	Unseen []string
}

// AnotherDirector stands in Finding.Owners for a director that cannot be named.
const AnotherDirector = "another director"

// Equal tells whether two findings are the same.
func (f Finding) Equal(g Finding) bool {
	return f.Verdict == g.Verdict && slices.Equal(f.Owners, g.Owners) &&
		slices.Equal(f.Strangers, g.Strangers) && slices.Equal(f.Unseen, g.Unseen)
}

// String is the finding in words for the operator.
func (f Finding) String() string {
	owners, strangers := strings.Join(f.Owners, " and "), joined(f.Strangers)
	maybe := ""
	if len(f.Unseen) > 0 {
		maybe = ", unless that is " + strings.Join(f.Unseen, " or ")
	}
	switch f.Verdict {
	case VerdictOwnerOK:
		return owners + " has it"
	case VerdictNoOwner:
		return "nobody answers for it"
	case VerdictTwoOwners:
		if strangers != "" {
			owners += ", and " + strangers
		}
		return owners + " have it" + maybe
	case VerdictWrongOwner:
		return owners + " has it and is not the Master"
	case VerdictStranger:
		answer, is := " answers for it", ", and is no director"
		if len(f.Strangers) > 1 {
			answer, is = " answer for it", ", and are no directors"
		}
		if owners != "" {
			answer += " beside " + owners
		}
		return strangers + answer + is + maybe
	}
	switch {
	case strangers != "":
		return strangers + " answers for it, and may be " + strings.Join(f.Unseen, " or ")
	case owners != "":
		return owners + " has it, and no Master is known"
	case len(f.Unseen) > 0:
		return "nobody answers for it, nor " + strings.Join(f.Unseen, " and ") + " on this segment"
	}
	return "not known"
}

func joined(macs []MAC) string {
	list := make([]string, len(macs))
	for i, m := range macs {
		list[i] = m.String()
	}
	return strings.Join(list, " and ")
}

// Sighting is what one round saw of one virtual address, and what is known besides.
type Sighting struct {
	// Self is this director's name, and Held says that it has the address.
	Self string
	Held bool
	// Answers are who else answers for the address.
	Answers []Answer
	// Master is the director that is Master by VRRP, Self included; empty: none is
	// known.
	Master string
	// Directors are the other directors with their Ethernet addresses on the segment.
	// One without any is a director of which that is not known.
	Directors map[string][]MAC
	// Virtual is the virtual router's MAC address ([VirtualMAC]). Whoever answers with
	// it is a director.
	Virtual MAC
	// Doubled says that the segment delivers answers twice, so that two answers with
	// the virtual MAC address are not two directors.
	Doubled bool
}

// Classify says what the sighting means.
func (s Sighting) Classify() Finding {
	var f Finding
	if s.Held {
		f.Owners = append(f.Owners, s.Self)
	}
	own := func(names ...string) {
		for _, name := range names {
			if name == AnotherDirector || !slices.Contains(f.Owners, name) {
				f.Owners = append(f.Owners, name)
			}
		}
	}
	for _, a := range s.Answers {
		if a.MAC == s.Virtual {
			own(s.virtualOwners(a.Times)...)
		} else if name, ok := s.director(a.MAC); ok {
			own(name)
		} else {
			f.Strangers = append(f.Strangers, a.MAC)
		}
	}
	for name, macs := range s.Directors {
		if len(macs) == 0 && !slices.Contains(f.Owners, name) {
			f.Unseen = append(f.Unseen, name)
		}
	}
	slices.Sort(f.Owners)
	slices.Sort(f.Unseen)
	slices.SortFunc(f.Strangers, func(a, b MAC) int { return slices.Compare(a[:], b[:]) })
	f.Verdict = s.verdict(f)
	if len(f.Strangers) == 0 && f.Verdict != VerdictUnknown || len(f.Strangers) > len(f.Unseen) {
		f.Unseen = nil // it does not matter who they are
	}
	return f
}

// verdict judges a finding that has its names. Where a director's Ethernet address is
// not known, it accuses nobody who may be that director.
func (s Sighting) verdict(f Finding) Verdict {
	masterUnseen := slices.Contains(f.Unseen, s.Master)
	switch {
	case len(f.Owners) > 1:
		return VerdictTwoOwners
	case len(f.Strangers) == 1 && len(f.Owners) == 0 && len(f.Unseen) > 0 && (masterUnseen || s.Master == ""):
		return VerdictUnknown // it may well be the Master
	case len(f.Strangers) > 0:
		return VerdictStranger
	case len(f.Owners) == 0 && masterUnseen:
		return VerdictUnknown // the Master is not on this segment, or not to be seen
	case len(f.Owners) == 0:
		return VerdictNoOwner
	case s.Master == "":
		return VerdictUnknown
	case f.Owners[0] == s.Master:
		return VerdictOwnerOK
	}
	return VerdictWrongOwner
}

// director finds the director with an Ethernet address.
func (s Sighting) director(m MAC) (string, bool) {
	var found []string
	for name, macs := range s.Directors {
		if slices.Contains(macs, m) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return "", false
	}
	return slices.Min(found), true
}

// virtualOwners are those who answered with the virtual MAC address: the Master as far
// as is known, and one more if there were two answers.
func (s Sighting) virtualOwners(times int) []string {
	var names, others []string
	for name := range s.Directors {
		if name == s.Master {
			names = append(names, name)
		} else {
			others = append(others, name)
		}
	}
	count := 1
	if times > 1 && !s.Doubled {
		count = 2
	}
	switch missing := count - len(names); {
	case missing == len(others):
		names = append(names, others...)
	default:
		for range missing {
			names = append(names, AnotherDirector)
		}
	}
	return names
}
