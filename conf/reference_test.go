package conf

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var statedDefault = regexp.MustCompile(`(?m)^#([a-z_]+ = )`)

// The reference states defaults in lines that begin with "#key =". Giving every one
// of them must not change a thing.
func TestReferenceStatesTheDefaults(t *testing.T) {
	bare, err := Parse([]byte(Reference()), "reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	// An example of a password cannot do without its warning.
	if len(bare.Warnings) != 1 || bare.Warnings[0].Path != "vrrp.old.password" {
		t.Errorf("warnings:\n%v", bare.Warnings)
	}
	if n := len(statedDefault.FindAllString(Reference(), -1)); n != 95 {
		t.Errorf("the reference states %d defaults, want 95: a line was lost, or this number is old", n)
	}
	full, err := Parse([]byte(statedDefault.ReplaceAllString(Reference(), "$1")), "reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bare.String(), full.String()); diff != "" {
		t.Errorf("-code +reference:\n%s", diff)
	}
}

// Every key of every table is in the reference, as a line of its own or, for the
// inline tables, as a key in one.
func TestReferenceExplainsEveryKey(t *testing.T) {
	sections := map[string]string{}
	header := regexp.MustCompile(`(?m)^\[([a-z_]+)(?:\.[a-z-]+)?(\.real_server)?\]$`)
	places := header.FindAllStringSubmatchIndex(reference, -1)
	for i, m := range places {
		end := len(reference)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		name := reference[m[2]:m[3]]
		if m[4] >= 0 {
			name = "real_server"
		}
		sections[name] += reference[m[1]:end]
	}
	for name, g := range map[string]grammar{
		"director": directorGrammar, "vrrp": virtualRouterGrammar, "virtual_server": virtualServerGrammar,
		"real_server": realServerGrammar, "check": checkGrammar, "track": trackGrammar, "ipvs": ipvsGrammar, "sync": syncGrammar, "admin": adminGrammar, "log": logGrammar,
	} {
		for _, key := range g.keys {
			if key == "real_server" {
				continue // a table of its own
			}
			pattern := regexp.MustCompile(`(?m)(^#?|[{,] )` + key + ` = `)
			if !pattern.MatchString(sections[name]) {
				t.Errorf("[%s] %s is not in the reference", name, key)
			}
		}
	}
	for _, key := range rootGrammar.keys {
		if sections[key] == "" {
			t.Errorf("[%s] is not in the reference", key)
		}
	}
}

var tomlBlock = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")

// The guide's examples are files that work as they stand.
func TestGuideExamples(t *testing.T) {
	guide, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := tomlBlock.FindAllStringSubmatch(string(guide), -1)
	if len(blocks) < 3 {
		t.Fatalf("found %d examples", len(blocks))
	}
	for _, b := range blocks {
		c, err := Parse([]byte(b[1]), "docs/configuration.md")
		if err != nil {
			t.Errorf("%v\n%s", err, b[1])
		} else if len(c.Warnings) > 0 {
			t.Errorf("%v\n%s", c.Warnings, b[1])
		}
	}
}

// The guide quotes what its bad example gives.
func TestGuideQuotesMessages(t *testing.T) {
	guide, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	bad := regexp.MustCompile("(?ms)^```text\n# a bad hadirector.toml\n(.*?)^```$").FindStringSubmatch(string(guide))
	if bad == nil {
		t.Fatal("the guide has no bad example")
	}
	_, err = Parse([]byte(bad[1]), "hadirector.toml")
	if err == nil {
		t.Fatal("the bad example is good")
	}
	quoted := "    " + strings.ReplaceAll(err.Error(), "\n", "\n    ") + "\n"
	if !strings.Contains(string(guide), quoted) {
		t.Errorf("the guide does not quote what its bad example gives:\n%v", err)
	}
}
