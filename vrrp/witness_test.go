package vrrp_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

var (
	macA    = vrrp.MAC{2, 0, 0, 0, 0, 0xa}
	macB    = vrrp.MAC{2, 0, 0, 0, 0, 0xb}
	macC    = vrrp.MAC{2, 0, 0, 0, 0, 0xc}
	macRS   = vrrp.MAC{2, 0, 0, 0, 0, 0x21}
	macRS2  = vrrp.MAC{2, 0, 0, 0, 0, 0x22}
	macVRRP = vrrp.MAC{0, 0, 0x5e, 0, 1, 51}
)

// macs are several directors' Ethernet addresses.
type macs = map[string][]vrrp.MAC

// once are answers that came once each.
func once(from ...vrrp.MAC) []vrrp.Answer {
	var list []vrrp.Answer
	for _, m := range from {
		list = append(list, vrrp.Answer{MAC: m, Times: 1})
	}
	return list
}

func TestClassify(t *testing.T) {
	twice := []vrrp.Answer{{MAC: macVRRP, Times: 2}}
	known, unseen, three := macs{"lb-a": {macA}}, macs{"lb-a": nil}, macs{"lb-a": {macA}, "lb-c": {macC}}
	four := macs{"lb-a": {macA}, "lb-c": {macC}, "lb-d": {}}
	for _, tt := range []struct {
		name string
		s    vrrp.Sighting // Self is lb-b
		want vrrp.Finding
		text string
	}{
		// A Backup looks.
		{"the Master has it", vrrp.Sighting{Master: "lb-a", Directors: known, Answers: once(macA)},
			vrrp.Finding{Verdict: vrrp.VerdictOwnerOK, Owners: []string{"lb-a"}}, "lb-a has it"},
		{"the Master answers over its second interface", vrrp.Sighting{Master: "lb-a", Directors: macs{"lb-a": {macA, macB}}, Answers: once(macB)},
			vrrp.Finding{Verdict: vrrp.VerdictOwnerOK, Owners: []string{"lb-a"}}, "lb-a has it"},
		{"nobody has it", vrrp.Sighting{Master: "lb-a", Directors: known},
			vrrp.Finding{Verdict: vrrp.VerdictNoOwner}, "nobody answers for it"},
		{"nobody has it and nobody is Master", vrrp.Sighting{Directors: unseen},
			vrrp.Finding{Verdict: vrrp.VerdictNoOwner}, "nobody answers for it"},
		{"another director has it", vrrp.Sighting{Master: "lb-a", Directors: three, Answers: once(macC)},
			vrrp.Finding{Verdict: vrrp.VerdictWrongOwner, Owners: []string{"lb-c"}}, "lb-c has it and is not the Master"},
		{"this director has it and is Backup", vrrp.Sighting{Held: true, Master: "lb-a", Directors: known},
			vrrp.Finding{Verdict: vrrp.VerdictWrongOwner, Owners: []string{"lb-b"}}, "lb-b has it and is not the Master"},
		{"this director and the Master have it", vrrp.Sighting{Held: true, Master: "lb-a", Directors: known, Answers: once(macA)},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"lb-a", "lb-b"}}, "lb-a and lb-b have it"},
		{"two others have it", vrrp.Sighting{Master: "lb-a", Directors: three, Answers: once(macC, macA)},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"lb-a", "lb-c"}}, "lb-a and lb-c have it"},
		{"two owners and a stranger", vrrp.Sighting{Master: "lb-a", Directors: three, Answers: once(macC, macRS, macA)},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"lb-a", "lb-c"}, Strangers: []vrrp.MAC{macRS}},
			"lb-a and lb-c, and 02:00:00:00:00:21 have it"},
		{"a stranger beside the owner", vrrp.Sighting{Master: "lb-a", Directors: known, Answers: once(macRS, macA)},
			vrrp.Finding{Verdict: vrrp.VerdictStranger, Owners: []string{"lb-a"}, Strangers: []vrrp.MAC{macRS}},
			"02:00:00:00:00:21 answers for it beside lb-a, and is no director"},
		{"strangers alone", vrrp.Sighting{Master: "lb-a", Directors: known, Answers: once(macRS2, macRS)},
			vrrp.Finding{Verdict: vrrp.VerdictStranger, Strangers: []vrrp.MAC{macRS, macRS2}},
			"02:00:00:00:00:21 and 02:00:00:00:00:22 answer for it, and are no directors"},
		{"an owner and nobody is Master", vrrp.Sighting{Directors: known, Answers: once(macA)},
			vrrp.Finding{Verdict: vrrp.VerdictUnknown, Owners: []string{"lb-a"}}, "lb-a has it, and no Master is known"},

		// The Master looks for others.
		{"the Master alone", vrrp.Sighting{Held: true, Master: "lb-b", Directors: known},
			vrrp.Finding{Verdict: vrrp.VerdictOwnerOK, Owners: []string{"lb-b"}}, "lb-b has it"},
		{"the Master and another", vrrp.Sighting{Held: true, Master: "lb-b", Directors: known, Answers: once(macA)},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"lb-a", "lb-b"}}, "lb-a and lb-b have it"},
		{"the Master and a stranger", vrrp.Sighting{Held: true, Master: "lb-b", Directors: known, Answers: once(macRS)},
			vrrp.Finding{Verdict: vrrp.VerdictStranger, Owners: []string{"lb-b"}, Strangers: []vrrp.MAC{macRS}},
			"02:00:00:00:00:21 answers for it beside lb-b, and is no director"},
		{"the Master lost it", vrrp.Sighting{Master: "lb-b", Directors: known},
			vrrp.Finding{Verdict: vrrp.VerdictNoOwner}, "nobody answers for it"},
		{"the Master lost it to another", vrrp.Sighting{Master: "lb-b", Directors: known, Answers: once(macA)},
			vrrp.Finding{Verdict: vrrp.VerdictWrongOwner, Owners: []string{"lb-a"}}, "lb-a has it and is not the Master"},

		// A director whose Ethernet address is not known is accused of nothing.
		{"one answer that may be the Master's", vrrp.Sighting{Master: "lb-a", Directors: unseen, Answers: once(macA)},
			vrrp.Finding{Verdict: vrrp.VerdictUnknown, Strangers: []vrrp.MAC{macA}, Unseen: []string{"lb-a"}},
			"02:00:00:00:00:0a answers for it, and may be lb-a"},
		{"two answers of which one may be the Master's", vrrp.Sighting{Master: "lb-a", Directors: unseen, Answers: once(macA, macRS)},
			vrrp.Finding{Verdict: vrrp.VerdictStranger, Strangers: []vrrp.MAC{macA, macRS}},
			"02:00:00:00:00:0a and 02:00:00:00:00:21 answer for it, and are no directors"},
		{"no answer, and the Master is not on the segment", vrrp.Sighting{Master: "lb-a", Directors: unseen},
			vrrp.Finding{Verdict: vrrp.VerdictUnknown, Unseen: []string{"lb-a"}},
			"nobody answers for it, nor lb-a on this segment"},
		{"an answer to the Master that may be a director's", vrrp.Sighting{Held: true, Master: "lb-b", Directors: unseen, Answers: once(macA)},
			vrrp.Finding{Verdict: vrrp.VerdictStranger, Owners: []string{"lb-b"}, Strangers: []vrrp.MAC{macA}, Unseen: []string{"lb-a"}},
			"02:00:00:00:00:0a answers for it beside lb-b, and is no director, unless that is lb-a"},

		// The virtual MAC address does not tell whose it is.
		{"the Master's link of its own", vrrp.Sighting{Master: "lb-a", Directors: three, Answers: once(macVRRP)},
			vrrp.Finding{Verdict: vrrp.VerdictOwnerOK, Owners: []string{"lb-a"}}, "lb-a has it"},
		{"both of the Master's links answer", vrrp.Sighting{Master: "lb-a", Directors: known, Answers: once(macVRRP, macA)},
			vrrp.Finding{Verdict: vrrp.VerdictOwnerOK, Owners: []string{"lb-a"}}, "lb-a has it"},
		{"two links answer", vrrp.Sighting{Master: "lb-a", Directors: three, Answers: twice},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"lb-a", "lb-c"}}, "lb-a and lb-c have it"},
		{"two links answer where answers are doubled", vrrp.Sighting{Master: "lb-a", Directors: three, Answers: twice, Doubled: true},
			vrrp.Finding{Verdict: vrrp.VerdictOwnerOK, Owners: []string{"lb-a"}}, "lb-a has it"},
		{"two of several links answer", vrrp.Sighting{Directors: four, Answers: twice},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"another director", "another director"}},
			"another director and another director have it"},
		{"a link answers the Master", vrrp.Sighting{Held: true, Master: "lb-b", Directors: known, Answers: once(macVRRP)},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"lb-a", "lb-b"}}, "lb-a and lb-b have it"},
		{"one of several links answers the Master", vrrp.Sighting{Held: true, Master: "lb-b", Directors: three, Answers: once(macVRRP)},
			vrrp.Finding{Verdict: vrrp.VerdictTwoOwners, Owners: []string{"another director", "lb-b"}}, "another director and lb-b have it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.Self, tt.s.Virtual = "lb-b", vrrp.VirtualMAC(vrrp.IPv4, 51)
			got := tt.s.Classify()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if !got.Equal(tt.want) {
				t.Error("Equal says otherwise")
			}
			if got.String() != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
		})
	}
}

// A finding that has not been made says so.
func TestNotKnown(t *testing.T) {
	if got := (vrrp.Finding{Verdict: vrrp.VerdictUnknown}).String(); got != "not known" {
		t.Errorf("%q", got)
	}
}
