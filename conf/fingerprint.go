package conf

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// Fingerprint identifies what a configuration says, whatever its comments, the order
// of its keys and tables, and what it leaves to defaults: the first half of the
// SHA-256 of the effective text, sorted by name. Directors compare theirs.
func (c *Config) Fingerprint() [16]byte { return FingerprintOf(c.Canonical()) }

// FingerprintOf is the fingerprint of a configuration by its canonical text.
func FingerprintOf(canonical string) [16]byte {
	sum := sha256.Sum256([]byte(canonical))
	return [16]byte(sum[:16])
}

// Canonical returns the effective text with its tables in the order of their names:
// what Fingerprint is made of, and what directors tell each other so that DiffKeys can
// name the differences.
func (c *Config) Canonical() string { return c.sorted().String() }

// sorted returns a copy with every list of tables in the order of their names. The
// order of virtual addresses stays: it is the order in the advertisement.
func (c *Config) sorted() *Config {
	s := *c
	s.Directors = sortedBy(c.Directors, func(d Director) string { return d.Name })
	s.VirtualRouters = sortedBy(c.VirtualRouters, func(vr VirtualRouter) string { return vr.Name })
	for i := range s.VirtualRouters {
		vr := &s.VirtualRouters[i]
		vr.Track = sortedBy(vr.Track, func(t Tracking) string { return t.Track })
	}
	s.VirtualServers = sortedBy(c.VirtualServers, func(vs VirtualServer) string { return vs.Name })
	for i := range s.VirtualServers {
		vs := &s.VirtualServers[i]
		vs.RealServers = sortedBy(vs.RealServers, func(rs RealServer) string { return rs.Name })
	}
	s.Checks = sortedBy(c.Checks, func(s healthcheck.Spec) string { return s.Name })
	s.Tracks = sortedBy(c.Tracks, func(t Track) string { return t.Name })
	return &s
}

func sortedBy[T any](list []T, name func(T) string) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return list
}

// MaxDiffKeys is the largest number of keys that DiffKeys returns.
const MaxDiffKeys = 10

// DiffKeys names the first keys, sorted, in which two effective texts differ, at most
// MaxDiffKeys of them: "virtual_server.web.scheduler", or "virtual_server.shop" if one
// of them does not have that table at all. A text that cannot be read differs in
// everything, and then the result is "(all)".
func DiffKeys(a, b string) []string {
	if a == b {
		return nil
	}
	a, b = withoutCommon(a, b)
	var am, bm map[string]any
	_, errA := decode(a, &am)
	_, errB := decode(b, &bm)
	if errA != nil || errB != nil {
		return []string{"(all)"}
	}
	return diffKeys(nil, "", am, bm)
}

func diffKeys(found []string, path string, a, b map[string]any) []string {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if len(found) >= MaxDiffKeys {
			break
		}
		av, inA := a[name]
		bv, inB := b[name]
		full := strings.TrimPrefix(path+"."+bareOrQuoted(name), ".")
		at, aTable := av.(map[string]any)
		bt, bTable := bv.(map[string]any)
		switch {
		case inA && inB && aTable && bTable:
			found = diffKeys(found, full, at, bt)
		case inA != inB || !reflect.DeepEqual(av, bv):
			found = append(found, full)
		}
	}
	return found
}
