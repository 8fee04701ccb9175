package doctor

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReportIsReadable(t *testing.T) {
	r := Report{Roles: []Role{Director, RealServer}, Director: "lb-a", Findings: []Finding{
		{Severity: Fine, What: "the interface eth0 is up"},
		{Severity: Warning, What: "something is questionable", Why: "It may be better."},
		{Severity: Wrong, What: "something with a rather long name that does not fit the line is broken", Why: "Clients are not served.",
			Commands: []string{"ip addr add 10.0.0.100/32 dev lo", "ip route replace default via 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff dev eth0 advmss 1420"}},
		{Severity: Unknown, What: "the nftables rules could not be looked at", Why: "Permission denied.", Advice: "Run the doctor as root."},
	}}
	const want = `WRONG: something with a rather long name that does not fit the line is broken.
  Clients are not served.
      ip addr add 10.0.0.100/32 dev lo
      ip route replace default via 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff dev eth0 advmss 1420

WARNING: something is questionable.
  It may be better.

UNKNOWN: the nftables rules could not be looked at.
  Permission denied.
  To do: Run the doctor as root.

`
	const fine = "ok: the interface eth0 is up\n\n"
	const last = "director lb-a and real server: 4 checked: 1 fine, 1 wrong, 1 to be thought over,\n1 not looked at.\n"
	for verbose, want := range map[bool]string{false: want + last, true: want + fine + last} {
		var b strings.Builder
		if err := r.Write(&b, verbose); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("verbose %v (-want +got):\n%s", verbose, diff)
		}
	}
	b, err := json.Marshal(r.Findings[2])
	if err != nil {
		t.Fatal(err)
	}
	const object = `{"severity":"wrong","what":"something with a rather long name that does not fit the line is broken","why":"Clients are not served.",` +
		`"commands":["ip addr add 10.0.0.100/32 dev lo","ip route replace default via 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff dev eth0 advmss 1420"]}`
	if string(b) != object {
		t.Errorf("JSON: %s, want %s", b, object)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/hadirector/hadirector.toml": "/etc/hadirector/hadirector.toml", "my file": "'my file'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
