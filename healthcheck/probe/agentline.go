package probe

import (
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// agentAnswer is what an agent has said. Of words that contradict each other the last
// counts, as in HAProxy.
type agentAnswer struct {
	state  string // "up", "down", "fail", "failed" or "stopped"; empty: it has not said
	admin  string // "ready", "drain" or "maint"; empty: it has not said
	weight healthcheck.Value
	reason string
}

// maxPercent is HAProxy's largest percentage: a larger one counts as this.
const maxPercent = 25600

// parseAgent reads an agent's line: words in any order and in either case, separated by
// spaces, tabs and commas, and a reason after "#". Words that are not known are passed
// over; ok tells whether there was another.
func parseAgent(line []byte) (a agentAnswer, ok bool) {
	words, reason, _ := strings.Cut(string(line), "#")
	a.reason = strings.TrimSpace(printable(reason))
	for _, word := range strings.FieldsFunc(words, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		word = strings.ToLower(word)
		if a.take(word) {
			ok = true
		}
	}
	return a, ok
}

// take takes a word in, and tells whether it is known.
func (a *agentAnswer) take(word string) bool {
	switch word {
	case "up", "down", "fail", "failed", "stopped":
		a.state = word
		return true
	case "ready", "drain", "maint":
		a.admin = word
		return true
	}
	if figure, ok := strings.CutSuffix(word, "%"); ok && figure != "" && digits(figure) {
		n, err := strconv.Atoi(figure)
		if err != nil || n > maxPercent { // digits only, so too many of them
			n = maxPercent
		}
		a.weight = healthcheck.Value{Unit: healthcheck.Percent, N: n}
		return true
	}
	// The kernel's bound of connections is the operator's, and not changed here.
	figure, ok := strings.CutPrefix(word, "maxconn:")
	return ok && figure != "" && digits(figure)
}

// verdict is what the answer means. Nothing is remembered of earlier ones: an answer
// without a percentage means the configured weight.
func (a agentAnswer) verdict() (healthcheck.Value, error) {
	switch {
	case a.admin == "maint":
		return healthcheck.Value{}, a.failure(a.admin)
	case a.state != "" && a.state != "up":
		return healthcheck.Value{}, a.failure(a.state)
	case a.admin == "drain":
		return healthcheck.Value{Unit: healthcheck.Percent}, nil
	}
	return a.weight, nil
}

func (a agentAnswer) failure(word string) error {
	text := "agent: " + word
	if a.reason != "" {
		text += " # " + cut(a.reason, maxLine)
	}
	return &cause{text: text}
}

// notAgent is the cause when no word of a line is known.
func notAgent(line []byte) error {
	const quoted = 40
	more := ""
	if len(line) > quoted {
		line, more = line[:quoted], "..."
	}
	return &cause{text: "agent's line has no known word: " + strconv.QuoteToASCII(string(line)) + more}
}

// cut shortens a printable text.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
