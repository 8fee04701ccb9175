package conf

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Hook is a command that runs when something has happened. The zero value is none.
type Hook struct {
	// Command is the program's absolute path and its arguments, separated by NUL bytes;
	// empty: there is none. No shell reads it.
	Command string
	User    string        // whom the program runs as, a name or a numeric id
	Timeout time.Duration // after which it is killed
}

var hookGrammar = grammar{keys: []string{"command", "user", "timeout"}}

// hook reads a command, or a table with a command and how it is run.
func (p *parser) hook(n *node) Hook {
	const want = `the program and its arguments, such as ["/usr/lib/hadirector/quorum", "web"]`
	if n == nil {
		return Hook{}
	}
	h := Hook{User: defaultScriptUser, Timeout: defaultHookTimeout}
	if _, table := n.value.(map[string]any); !table {
		h.Command = p.command(n)
		return h
	}
	p.table(n, hookGrammar)
	h.Command = p.command(p.required(n, "command", want))
	h.User = p.user(n.kid("user"))
	h.Timeout = p.duration(n.kid("timeout"), defaultHookTimeout, 10*time.Millisecond, 10*time.Minute, time.Millisecond)
	return h
}

// hook writes what parser.hook reads.
func (w *writer) hook(key string, h Hook) {
	if h.Command == "" {
		return
	}
	w.value(key, fmt.Sprintf("{ command = [%s], user = %s, timeout = %q }",
		join(strings.Split(h.Command, "\x00"), strconv.Quote), quoted(h.User), formatDuration(h.Timeout)))
}
