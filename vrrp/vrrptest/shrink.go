package vrrptest

import (
	"slices"
	"strings"
)

// Shrink leaves out commands of a script as long as fails still says that it fails, and
// returns what is left.
func Shrink(script string, fails func(script string) bool) string {
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for size := len(lines) / 2; size > 0; {
		smaller := false
		for i := len(lines) - size; i >= 0; i -= size {
			candidate := slices.Delete(slices.Clone(lines), i, i+size)
			if fails(strings.Join(candidate, "\n")) {
				lines, smaller = candidate, true
				i = min(i, len(lines))
			}
		}
		if !smaller {
			size /= 2
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
