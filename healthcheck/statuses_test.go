package healthcheck_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func TestParseStatuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"200", "200"},
		{"200-299", "200-299"},
		{"200-299,301", "200-299,301"},
		{" 301 , 200-299", "200-299,301"},
		{"200,201,202", "200-202"},
		{"200-250,240-299,100-199", "100-299"},
		{"100-599", "100-599"},
		{"100,599", "100,599"},
		{"163,164,227,228", "163-164,227-228"},
		{"", `"" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
		{"200,", `"" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
		{"99", `"99" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
		{"600", `"600" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
		{"+20", `"+20" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
		{"200-", `"200-" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
		{"299-200", `"299-200" is an empty range: write "200-299"`},
		{strings.Repeat("2", 100), `"` + strings.Repeat("2", 60) + `..." is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
	} {
		s, err := healthcheck.ParseStatuses(tt.text)
		got := s.String()
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

// FuzzStatuses: what is accepted has a text that says the same, and holds the statuses
// that are written in it.
func FuzzStatuses(f *testing.F) {
	for _, text := range []string{"200", "200-299,301", "100-599", "299-200", " 204 ,\t404", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := healthcheck.ParseStatuses(text)
		if err != nil {
			if s != (healthcheck.Statuses{}) || len(err.Error()) > 500 {
				t.Errorf("refused with %v and the error %q", s, err)
			}
			return
		}
		again, err := healthcheck.ParseStatuses(s.String())
		if err != nil || again != s {
			t.Errorf("%q is %q, which is %q, error %v", text, s.String(), again.String(), err)
		}
		for status := range 1000 {
			in := false
			for part := range strings.SplitSeq(s.String(), ",") {
				var least, most int
				if n, _ := fmt.Sscanf(part, "%d-%d", &least, &most); n == 1 {
					most = least
				}
				in = in || least <= status && status <= most
			}
			if s.Has(status) != in {
				t.Errorf("%q has %d: %t, want %t", text, status, s.Has(status), in)
			}
		}
	})
}
