package ipvs

import (
	"errors"
	"fmt"
	"strings"
)

// Mistake is one thing that is wrong with a text of rules.
type Mistake struct {
	Line, Column int // from 1; columns are characters
	Err          error
}

// Error returns "LINE:COLUMN: text".
func (m Mistake) Error() string { return fmt.Sprintf("%d:%d: %v", m.Line, m.Column, m.Err) }

// Unwrap returns the cause.
func (m Mistake) Unwrap() error { return m.Err }

// Mistakes are all the mistakes of a text of rules, in its order.
type Mistakes []Mistake

// Error returns a mistake per line.
func (ms Mistakes) Error() string {
	var lines []string
	for _, m := range ms {
		lines = append(lines, m.Error())
	}
	return strings.Join(lines, "\n")
}

// word is a word of a line and where it begins, in characters from 1.
type word struct {
	text   string
	column int
}

// splitWords splits a line at its blanks.
func splitWords(line string) []word {
	var words []word
	after := 0 // bytes up to the end of the word before
	column := 1
	for text := range strings.FieldsSeq(line) {
		start := after + strings.Index(line[after:], text)
		column += len([]rune(line[after:start]))
		words = append(words, word{text, column})
		after, column = start+len(text), column+len([]rune(text))
	}
	return words
}

// placed is an error with its column.
type placed struct {
	error
	column int
}

func (p placed) Unwrap() error { return p.error }

// at places an error.
func at(column int, err error) error { return placed{err, column} }

// columnOf returns where an error is, and the line's start for one without a place.
func columnOf(err error) int {
	var p placed
	if errors.As(err, &p) {
		return p.column
	}
	return 1
}
