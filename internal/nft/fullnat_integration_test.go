//go:build integration || ipvs

package nft

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/ipvs"
)

func translation(service ipvs.ServiceKey, server, source string) ipvs.Translation {
	t := ipvs.Translation{Service: service, Server: netip.MustParseAddrPort(server)}
	if source != "" {
		t.Source = netip.MustParseAddr(source)
	}
	return t
}

func service(p ipvs.Protocol, addr string) ipvs.ServiceKey {
	return ipvs.AddrKey(p, netip.MustParseAddrPort(addr))
}

// One of each kind.
var someTranslations = []ipvs.Translation{
	translation(service(ipvs.TCP, "10.0.0.100:80"), "10.1.0.21:8080", ""),
	translation(service(ipvs.UDP, "10.0.0.100:53"), "10.1.0.21:53", ""),
	translation(service(ipvs.TCP, "10.0.0.101:80"), "10.1.0.21:80", "10.1.0.11"),
	translation(service(ipvs.TCP, "10.0.0.102:0"), "10.1.0.22:0", ""),
	translation(ipvs.FWMarkKey(10, false), "10.1.0.23:0", ""),
	translation(ipvs.FWMarkKey(11, false), "10.1.0.24:443", "10.1.0.11"),
	translation(service(ipvs.TCP, "[2001:db8::100]:80"), "[2001:db8:1::21]:80", ""),
	translation(service(ipvs.SCTP, "[2001:db8::100]:0"), "[2001:db8:1::21]:0", "2001:db8:1::11"),
}

// natTables is what nft lists of the two tables.
func natTables(t *testing.T, self *netnstest.NS) string {
	t.Helper()
	var text string
	all := self.Run(t, "nft", "-n", "list", "ruleset")
	for _, table := range []string{"table ip hadirector_fullnat {", "table ip6 hadirector_fullnat {"} {
		for one := range strings.SplitAfterSeq(all, "\n}\n") {
			if strings.HasPrefix(one, table) {
				text += one
			}
		}
	}
	return text
}

// listed is what nft is to list for someTranslations.
func listed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/fullnat.nft")
	must(t, err)
	return string(text)
}

func TestFullNATIsWrittenAndPutBack(t *testing.T) {
	self := netnstest.Self()
	f := NewFullNAT()
	t.Cleanup(func() { self.Run(t, "nft", "flush", "ruleset") })
	all := listed(t)
	six := all[strings.Index(all, "table ip6"):]
	changed := slices.Clone(someTranslations)
	changed[0].Source, changed[2].Source = changed[2].Source, netip.Addr{}
	for _, tt := range []struct {
		name            string
		before          string // nft's arguments
		want            []ipvs.Translation
		wrote, repaired bool
		tables          string
	}{
		{"nothing to begin with", "", nil, false, false, ""},
		{"the first", "", someTranslations, true, false, all},
		{"the same", "", someTranslations, false, false, all},
		{"after a flush of everything", "flush ruleset", someTranslations, true, true, all},
		{"after a flush of a set", "flush set ip hadirector_fullnat services", someTranslations, true, true, all},
		{"after a flush of a chain", "flush chain ip6 hadirector_fullnat input", someTranslations, true, true, all},
		{"after a flush of one table", "flush table ip6 hadirector_fullnat", someTranslations, true, true, all},
		{"after the deletion of an entry", "delete element ip hadirector_fullnat marks { 10.1.0.23 . 0xa }", someTranslations, true, true, all},
		{"after the deletion of one table", "delete table ip hadirector_fullnat", someTranslations, true, true, all},
		{"with an entry of somebody else's", "add element ip hadirector_fullnat marks { 10.1.0.99 . 0xa }", someTranslations, true, true, all},
		{"after a change elsewhere", "add table inet elsewhere", someTranslations, false, false, all},
		{"other sources", "", changed, true, false, strings.NewReplacer(
			"10.1.0.21 . 10.0.0.100 . 80 . 6,", "10.1.0.21 . 10.0.0.101 . 80 . 6,",
			"10.1.0.21 . 10.0.0.101 . 80 . 6 :", "10.1.0.21 . 10.0.0.100 . 80 . 6 :").Replace(all)},
		{"one family", "", someTranslations[6:], true, false, six},
		{"none", "", nil, true, false, ""},
		{"none again", "", nil, false, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.before != "" {
				self.Run(t, "nft", strings.Fields(tt.before)...)
			}
			wrote, repaired, err := f.Ensure(tt.want)
			if err != nil || wrote != tt.wrote || repaired != tt.repaired {
				t.Errorf("wrote %t, repaired %t, %v, want %t and %t", wrote, repaired, err, tt.wrote, tt.repaired)
			}
			if diff := cmp.Diff(sorted(tt.tables), sorted(natTables(t, self))); diff != "" {
				t.Errorf("-want +nft:\n%s", diff)
			}
		})
	}
}

// sorted puts the entries of each set in order: nft lists them in that of the kernel's hash.
func sorted(text string) string {
	return regexp.MustCompile(`(?s)elements = \{.*?\}`).ReplaceAllStringFunc(text, func(list string) string {
		list = strings.Trim(strings.TrimPrefix(list, "elements ="), " {}")
		var entries []string
		for e := range strings.SplitSeq(list, ",") {
			entries = append(entries, strings.TrimSpace(e))
		}
		slices.Sort(entries)
		return "elements = { " + strings.Join(entries, ", ") + " }"
	})
}

// What a run that was killed has left is the next one's, which changes only what differs:
// connections that begin meanwhile are translated.
func TestFullNATOfAnEarlierRunIsTakenOver(t *testing.T) {
	self := netnstest.Self()
	t.Cleanup(func() { self.Run(t, "nft", "flush", "ruleset") })
	for _, tt := range []struct {
		name  string
		want  []ipvs.Translation
		wrote bool
	}{
		{"the first run", someTranslations, true},
		{"the same", someTranslations, false},
		{"fewer", someTranslations[:2], true},
		{"none", nil, true},
		{"none again", nil, false},
	} {
		wrote, repaired, err := NewFullNAT().Ensure(tt.want)
		if err != nil || wrote != tt.wrote || repaired {
			t.Errorf("%s: wrote %t, repaired %t, %v, want %t and no repair", tt.name, wrote, repaired, err, tt.wrote)
		}
	}
	if got := tables(t); got != "" {
		t.Errorf("tables are left: %q", got)
	}
}
