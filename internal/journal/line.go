package journal

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Line renders the record for people: time, object and a sentence, in 80 columns unless
// its words need more. Characters that a terminal would obey are left out, because
// words come from peers, real servers and error texts. An event of another director has its
// name before the sentence and, if it was told late, or their clocks differ, its time there.
func (r Record) Line(loc *time.Location) string {
	object := r.Object
	if object == "" {
		object = "director"
	}
	sentence := r.sentence()
	if r.Director != "" {
		on := "on " + r.Director
		if late := r.At.Sub(r.DirectorAt).Abs(); late >= toldLate && !r.DirectorAt.IsZero() {
			on += " at " + r.DirectorAt.In(loc).Format(stamp)
		}
		sentence = on + ": " + sentence
	}
	return printable(fmt.Sprintf("%s  %-14s  %s", r.At.In(loc).Format(stamp), object, sentence))
}

const (
	stamp = "Jan _2 15:04:05.000"
	// toldLate is how long after an event of another director it is told at the latest, if
	// nothing is wrong.
	toldLate = time.Second
)

// sentence is the record's own or, without one, what its fields say.
func (r Record) sentence() string {
	if r.Text != "" {
		return r.Text
	}
	s := strings.ReplaceAll(string(r.Kind), "-", " ")
	switch {
	case r.From != "" && r.To != "":
		s += ", " + r.From + " -> " + r.To
	case r.To != "":
		s += ", " + r.To
	}
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	return s
}

// printable makes one harmless line of a text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}
