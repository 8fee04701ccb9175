package conf

import (
	"fmt"
	"strings"
)

// maxComparisons bounds the work for suggestions in one file.
const maxComparisons = 200_000

// suggest returns the candidate that the word was probably meant to be, or "".
func (p *parser) suggest(word string, candidates []string) string {
	if p.comparisons -= len(candidates); p.comparisons < 0 {
		return ""
	}
	return nearest(word, candidates)
}

// didYouMean is the end of a message with a suggestion, if there is one.
func didYouMean(suggestion string) string {
	if suggestion == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", suggestion)
}

// DidYouMean is the end of a message about a word that is no name, "; did you mean
// \"web\"?", or empty if no candidate is near.
func DidYouMean(word string, candidates []string) string {
	return didYouMean(nearest(word, candidates))
}

// nearest returns the candidate that the word was probably meant to be, or "". A
// word of n characters may be off by a third of them, and by one at least, but
// never by all. Of several equally near ones the first with the word's first letter
// wins, else the first.
func nearest(word string, candidates []string) string {
	best, bound := "", max(1, min(3, len(word)/3))
	folded := strings.ToLower(word)
	for _, c := range candidates {
		if strings.EqualFold(c, word) {
			return c
		}
		d := distance(folded, strings.ToLower(c), bound)
		if d > bound || d >= max(len(word), len(c)) {
			continue
		}
		if best == "" || d < bound || !sameStart(best, word) && sameStart(c, word) {
			best, bound = c, d
		}
	}
	return best
}

func sameStart(a, b string) bool {
	return a != "" && b != "" && strings.EqualFold(a[:1], b[:1])
}

// distance is the Damerau-Levenshtein distance in its form without overlapping
// transpositions: how many insertions, deletions, changes and swaps of neighbours
// lead from a to b. Above the bound it is only known to be above.
func distance(a, b string, bound int) int {
	if bound < 0 || len(a)-len(b) > bound || len(b)-len(a) > bound {
		return bound + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
