package main

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

func TestStatusTextOfTheWitness(t *testing.T) {
	witnessed := func(addr string, verdict vrrp.Verdict, text string) director.WitnessedStatus {
		return director.WitnessedStatus{Address: netip.MustParseAddr(addr), Verdict: verdict, Wrong: verdict.Wrong(), Text: text}
	}
	for _, tt := range []struct {
		name string
		r    director.RouterStatus
		want string
	}{
		{"all is well", director.RouterStatus{Witness: &director.WitnessStatus{Rounds: 3, Addresses: []director.WitnessedStatus{
			witnessed("10.0.0.100", "owner-ok", "lb-a has it"),
		}}}, ""},
		{"nobody has been asked", director.RouterStatus{}, ""},
		{"much is wrong", director.RouterStatus{
			Problems: []string{"adverts of lb-a do not arrive"},
			Witness: &director.WitnessStatus{Error: "network is down", Addresses: []director.WitnessedStatus{
				witnessed("10.0.0.100", "two-owners", "lb-a and lb-b have it"),
				witnessed("10.0.0.101", "owner-ok", "lb-a has it"),
				witnessed("10.0.0.102", "two-owners", "lb-a and lb-b have it"),
				witnessed("10.0.0.103", "two-owners", "lb-b and lb-c have it"),
			}},
		}, `  web: adverts of lb-a do not arrive
  web: witness: network is down
  web: witness: 10.0.0.100 and 1 more two-owners: lb-a and lb-b have it
  web: witness: 10.0.0.103 two-owners: lb-b and lb-c have it
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Name = "web"
			var b bytes.Buffer
			writeWitness(&b, tt.r)
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
