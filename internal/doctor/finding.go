package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Severity is how much a finding matters.
type Severity string

// The severities.
const (
	// Wrong: clients are not served, or will not be after the next failover.
	Wrong Severity = "wrong"
	// Warning: it works, or may work, and is better otherwise.
	Warning Severity = "warning"
	// Unknown: it could not be looked at.
	Unknown Severity = "unknown"
	Fine    Severity = "fine"
)

// Finding is one thing that was looked at.
type Finding struct {
	Severity Severity `json:"severity"`
	// What is wrong, or what is fine: a clause with the objects in it.
	What string `json:"what"`
	// Why it matters, in one sentence. None of what is fine.
	Why string `json:"why,omitempty"`
	// Commands mend it, in this order, typed as they are.
	Commands []string `json:"commands,omitempty"`
	// Advice says what to do where no command can be known.
	Advice string `json:"advice,omitempty"`
}

// Report is all that was looked at.
type Report struct {
	Roles    []Role    `json:"roles"`
	Director string    `json:"director,omitempty"` // which one this machine is
	Findings []Finding `json:"findings"`
}

// Count is the number of findings of a severity.
func (r Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// width is that of the screen in a machine room.
const width = 80

// Write prints the report for an operator: what is wrong first, one paragraph each, and in
// the last line how much there was to look at. What is fine is listed only if it is asked
// for. A command is never broken: it is there to be copied.
func (r Report) Write(w io.Writer, listFine bool) error {
	var b strings.Builder
	for _, s := range []Severity{Wrong, Warning, Unknown} {
		for _, f := range r.Findings {
			if f.Severity == s {
				f.write(&b)
			}
		}
	}
	if listFine {
		for _, f := range r.Findings {
			if f.Severity == Fine {
				wrap(&b, "ok: "+f.What, "    ")
			}
		}
		if r.Count(Fine) > 0 {
			b.WriteByte('\n')
		}
	}
	wrap(&b, r.summary(), "")
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Finding) write(b *strings.Builder) {
	const indent = "  "
	wrap(b, strings.ToUpper(string(f.Severity))+": "+f.What+".", indent)
	if f.Why != "" {
		wrap(b, indent+f.Why, indent)
	}
	if f.Advice != "" {
		wrap(b, indent+"To do: "+f.Advice, indent)
	}
	for _, c := range f.Commands {
		fmt.Fprintf(b, "      %s\n", c)
	}
	b.WriteByte('\n')
}

// summary is the last line.
func (r Report) summary() string {
	var who []string
	for _, role := range r.Roles {
		if role == Director && r.Director != "" {
			who = append(who, "director "+r.Director)
		} else {
			who = append(who, role.words())
		}
	}
	parts := []string{fmt.Sprintf("%d fine", r.Count(Fine))}
	for _, s := range []Severity{Wrong, Warning, Unknown} {
		if n := r.Count(s); n > 0 {
			word := map[Severity]string{Wrong: "wrong", Warning: "to be thought over", Unknown: "not looked at"}[s]
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	text := fmt.Sprintf("%d checked: %s.", len(r.Findings), strings.Join(parts, ", "))
	if len(who) > 0 {
		text = strings.Join(who, " and ") + ": " + text
	}
	return text
}

// wrap writes a text as lines that fit the screen; those behind the first are indented.
func wrap(b *strings.Builder, text, indent string) {
	lead := text[:len(text)-len(strings.TrimLeft(text, " "))]
	line := lead
	for _, word := range strings.Fields(text) {
		switch {
		case line == lead || line == indent:
			line += word
		case len(line)+1+len(word) > width:
			b.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
}
