package conf

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// scriptCheck is type "script".
var scriptCheck = checkKind{
	name:     healthcheck.Script,
	keys:     []string{"command", "user", "dynamic_weight"},
	portless: true,
	read: func(p *parser, t *node, s *healthcheck.Spec) {
		n := p.required(t, "command", `the program and its arguments, such as ["/usr/lib/hadirector/check", "{address}"]`)
		s.Script = healthcheck.ScriptSpec{
			Command:       p.command(n),
			User:          p.user(t.kid("user")),
			DynamicWeight: p.boolean(t.kid("dynamic_weight"), false),
		}
		p.misspeltPlaceholders(n)
	},
	write: func(w *writer, s healthcheck.Spec) {
		w.command(s.Script.Command)
		w.text("user", s.Script.User)
		w.boolean("dynamic_weight", s.Script.DynamicWeight)
	},
}

// fileCheck is type "file".
var fileCheck = checkKind{
	name:     healthcheck.File,
	keys:     []string{"path"},
	portless: true,
	read: func(p *parser, t *node, s *healthcheck.Spec) {
		n := p.required(t, "path", `the file's path, such as "/run/weights/{address}"`)
		s.File.Path = p.absolute(n, "")
		for _, word := range placeholders.FindAllString(s.File.Path, -1) {
			if word != healthcheck.AddressPlaceholder && word != healthcheck.PortPlaceholder {
				p.errorf(n, "%s is not a placeholder: want %s or %s", shorten(word), healthcheck.AddressPlaceholder, healthcheck.PortPlaceholder)
			}
		}
	},
	write: func(w *writer, s healthcheck.Spec) { w.text("path", s.File.Path) },
}

// icmpCheck is type "icmp".
var icmpCheck = checkKind{name: healthcheck.ICMP, portless: true}

// placeholders are what looks like one.
var placeholders = regexp.MustCompile(`\{[A-Za-z_]+\}`)

// misspeltPlaceholders warns of words in a script's arguments that are nearly placeholders.
// Others are not ours to judge: a program may have a use for braces.
func (p *parser) misspeltPlaceholders(n *node) {
	if n == nil {
		return
	}
	for i, e := range n.elems {
		s, ok := stringOf(e)
		if !ok || i == 0 {
			continue
		}
		for _, word := range placeholders.FindAllString(s, -1) {
			meant := p.suggest(word, []string{healthcheck.AddressPlaceholder, healthcheck.PortPlaceholder})
			if meant != "" && meant != word {
				p.warnf(e, "%s is not a placeholder%s", word, didYouMean(meant))
			}
		}
	}
}

// command writes what parser.command reads.
func (w *writer) command(command string) {
	w.value("command", "["+join(strings.Split(command, "\x00"), strconv.Quote)+"]")
}
