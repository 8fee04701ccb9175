package conf

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wholeDiffKeys reads both texts in full.
func wholeDiffKeys(t *testing.T, a, b string) []string {
	t.Helper()
	var am, bm map[string]any
	if _, err := decode(a, &am); err != nil {
		t.Fatal(err)
	}
	if _, err := decode(b, &bm); err != nil {
		t.Fatal(err)
	}
	return diffKeys(nil, "", am, bm)
}

// The tables that two texts have in common make no difference to what they differ in.
func TestDiffKeysOfRandomTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	names := []string{"web", `"a.b"`, `"[x]"`, "shop"}
	text := func() string {
		var b strings.Builder
		if r.IntN(2) == 0 {
			fmt.Fprintf(&b, "top = %d\n", r.IntN(2))
		}
		for _, kind := range []string{"director", "virtual_server"} {
			for _, name := range names {
				if r.IntN(3) == 0 {
					continue
				}
				fmt.Fprintf(&b, "[%s.%s]\nx = %d\ny = \"[z]\"\n\n", kind, name, r.IntN(2))
				if kind == "virtual_server" && r.IntN(3) > 0 {
					fmt.Fprintf(&b, "[%s.%s.real_server]\nrs-1 = { address = %q, weight = %d }\n", kind, name, "10.0.0.1", r.IntN(2))
				}
			}
		}
		if r.IntN(2) == 0 {
			fmt.Fprintf(&b, "[sync]\nid = %d\n", r.IntN(2))
		}
		return b.String()
	}
	for range 3000 {
		a, b := text(), text()
		if diff := cmp.Diff(wholeDiffKeys(t, a, b), DiffKeys(a, b)); diff != "" {
			t.Fatalf("(-whole +without what is common):\n%s\n%s\n---\n%s", diff, a, b)
		}
	}
}
