package probe

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// talkCauses are the causes that tests see of checks that speak a protocol of their own,
// without those that all checks have in common.
func talkCauses(t *testing.T) []string {
	var causes []string
	for _, tt := range talkTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range udpTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range dnsTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range dnsTCPTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range smtpTests {
		causes = append(causes, tt.want)
	}
	_, secured := startTLSTests(t)
	for _, tt := range secured {
		if !strings.Contains(tt.want, "certificate") && !strings.HasPrefix(tt.want, "TLS handshake") { // as those of https
			causes = append(causes, tt.want)
		}
	}
	for _, tt := range others {
		causes = append(causes, "timeout after 2s waiting for the answer, got "+tt.what, "want an answer, got "+tt.what)
	}
	return slices.DeleteFunc(causes, func(c string) bool {
		step, common := strings.CutPrefix(c, "timeout after 2s ")
		if !common {
			_, step, common = strings.Cut(c, " by peer while ")
		}
		if common && !strings.Contains(step, ", ") && !slices.Contains(talkSteps, step) {
			t.Errorf("the step of %q is not one of %q", c, talkSteps)
		}
		return c == "" || common && !strings.Contains(step, ", ")
	})
}

var talkSteps = []string{string(connecting), string(sending), string(awaitingAnswer),
	string(awaitingBanner), string(awaitingEHLO), string(awaitingSTARTTLS), string(awaitingQUIT), string(handshaking)}

func TestDocumentedCausesOfAnswers(t *testing.T) {
	var records []string
	for name := range dns.StringToType {
		records = append(records, name)
	}
	slices.Sort(records)
	text, err := os.ReadFile("../../docs/healthchecks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range talkSteps {
		if !strings.Contains(strings.ReplaceAll(string(text), "\n", " "), "`"+step+"`") {
			t.Errorf("step %q is not documented", step)
		}
	}
	words := strings.NewReplacer("RECORD", "("+strings.Join(records, "|")+")", "TEXT\"", `[^"]*"(\.\.\.)?`, "TEXT", `.*`,
		"TIMEOUT", "2s", "NUMBER", `\d+`, "VERB", "[A-Z]+", "NAME", `[A-Za-z0-9, ]+`)
	checkCausesTable(t, "cause in an answer", talkCauses(t), words)
}

// The tables of keys say what the configuration's parser fills in.
func TestDocumentedDefaultsOfTalk(t *testing.T) {
	for kind, text := range map[string]string{"tcp": "", "dns": "", "smtp": "", "udp": "payload = \"x\"\n"} {
		effective := effectiveCheck(t, "type = \""+kind+"\"\n"+text)
		if kind == "udp" {
			effective["reply_min"] = "0" // with a reply there is no wait
			effective["reply_max"] = effectiveCheck(t, "type = \"udp\"\nreply_min = 0\n"+text)["reply_max"]
			delete(effective, "payload")
		}
		got := map[string]string{}
		for _, row := range tableRows(t, "key of `"+kind+"`") {
			if def := strings.Trim(row[1], " `"); def != "" {
				got[strings.Trim(row[0], " `")] = def
			}
		}
		if diff := cmp.Diff(effective, got); diff != "" {
			t.Errorf("documented defaults of %s (-parsed +documented):\n%s", kind, diff)
		}
	}
}

// effectiveCheck returns the keys of a check that are not those of all, as the effective
// configuration has them.
func effectiveCheck(t *testing.T, text string) map[string]string {
	t.Helper()
	cfg, err := conf.Parse([]byte(`
		[virtual_server.web]
		address = "192.0.2.100:80"
		protocol = "tcp"
		check = "c"
		[virtual_server.web.real_server]
		web-1 = { address = "192.0.2.1:80" }
		[director.a]
		address = "192.0.2.11"
		[check.c]
		`+text), "test.toml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg.Checks[0], healthcheck.Target{Addr: cfg.VirtualServers[0].RealServers[0].Address}); err != nil {
		t.Errorf("the defaults make no check: %v", err)
	}
	_, lines, _ := strings.Cut(cfg.String(), "[check.c]\n")
	lines, _, _ = strings.Cut(lines, "\n\n")
	_, lines, _ = strings.Cut(lines, "initial = ") // the last of those
	_, lines, _ = strings.Cut(lines, "\n")
	keys := map[string]string{}
	for line := range strings.SplitSeq(lines, "\n") {
		if key, value, ok := strings.Cut(line, " = "); ok && key != "via" {
			keys[key] = strings.Trim(value, `"[]`)
		}
	}
	return keys
}

// What the parser accepts, the library knows.
func TestDNSNames(t *testing.T) {
	for _, record := range []string{"A", "AAAA", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NS", "PTR", "RRSIG", "SOA", "SRV", "SVCB", "TXT"} {
		effectiveCheck(t, "type = \"dns\"\nrecord = \""+record+"\"\n")
	}
	effectiveCheck(t, "type = \"dns\"\nrcode = [\"NOERROR\", \"FORMERR\", \"SERVFAIL\", \"NXDOMAIN\", \"NOTIMP\", \"REFUSED\", \"NOTAUTH\"]\n")
	effectiveCheck(t, "type = \"dns\"\nname = \"*._tcp.0/25.Example.org\"\n")
}
