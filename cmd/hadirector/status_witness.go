package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/hadirector/hadirector/internal/director"
)

// writeWitness writes what is wrong between the directors, and with whom the virtual
// addresses are. When all is well it says nothing.
func writeWitness(b *bytes.Buffer, r director.RouterStatus) {
	for _, p := range r.Problems {
		fmt.Fprintf(b, "  %s: %s\n", r.Name, p)
	}
	if r.Witness == nil {
		return
	}
	if r.Witness.Error != "" {
		fmt.Fprintf(b, "  %s: witness: %s\n", r.Name, r.Witness.Error)
	}
	// Addresses of which the same is said are one line.
	var said []string
	for _, a := range r.Witness.Addresses {
		if !a.Wrong || slices.Contains(said, a.Text) {
			continue
		}
		said = append(said, a.Text)
		others := 0
		for _, o := range r.Witness.Addresses {
			if o.Wrong && o.Text == a.Text && o.Address != a.Address {
				others++
			}
		}
		more := ""
		if others > 0 {
			more = fmt.Sprintf(" and %d more", others)
		}
		fmt.Fprintf(b, "  %s: witness: %s%s %s: %s\n", r.Name, a.Address, more, string(a.Verdict), a.Text)
	}
}
