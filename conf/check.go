package conf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

var (
	checkGrammar = grammar{keys: []string{"type", "interval", "timeout", "rise", "fall", "method", "path", "host", "status"}}
	// httpKeys are the keys that only an HTTP check has.
	httpKeys   = []string{"method", "path", "host", "status"}
	checkTypes = []string{"tcp", "http"}
	laterTypes = []string{"https", "dns", "smtp", "udp", "icmp", "grpc", "script", "file"}
)

// checks reads [check.NAME].
func (p *parser) checks(n *node) []healthcheck.Spec {
	var specs []healthcheck.Spec
	for name, t := range p.named(n, checkGrammar, "[check.NAME]") {
		if later, _ := stringOf(t.kid("type")); !slices.Contains(laterTypes, later) {
			p.table(t, checkGrammar) // a later type has keys that are not known
		}
		kind := p.choice(p.required(t, "type", "tcp or http"), "a check's type", "", checkTypes, laterTypes, nil)
		if kind == "" {
			specs = append(specs, healthcheck.Spec{Name: name})
			continue
		}
		s := healthcheck.Spec{
			Name:     name,
			Type:     healthcheck.Type(kind),
			Interval: p.duration(t.kid("interval"), defaultCheckInterval, 100*time.Millisecond, 24*time.Hour, time.Millisecond),
			Timeout:  p.duration(t.kid("timeout"), defaultCheckTimeout, 10*time.Millisecond, 10*time.Minute, time.Millisecond),
			Rise:     int(p.integer(t.kid("rise"), defaultRise, 1, 1000)),
			Fall:     int(p.integer(t.kid("fall"), defaultFall, 1, 1000)),
		}
		if s.Timeout > s.Interval {
			p.warnf(t.at("timeout"), "the timeout %s is longer than the interval %s: a real server that does not answer is asked every %s only",
				formatDuration(s.Timeout), formatDuration(s.Interval), formatDuration(s.Timeout))
		}
		if s.Type == healthcheck.HTTP {
			s.HTTP = p.httpSpec(t)
		} else {
			for _, key := range httpKeys {
				if k := t.kid(key); k != nil {
					p.keyErrorf(k, "%s is for http checks, and this one has type %q", key, kind)
				}
			}
		}
		specs = append(specs, s)
	}
	return specs
}

func (p *parser) httpSpec(t *node) healthcheck.HTTPSpec {
	h := healthcheck.HTTPSpec{
		Method: p.choice(t.kid("method"), "a method", defaultMethod, []string{"GET", "HEAD"}, nil, nil),
		Path:   p.requestTarget(t.kid("path")),
		Host:   p.host(t.kid("host")),
	}
	h.StatusMin, h.StatusMax = p.status(t.kid("status"))
	return h
}

// requestTarget reads what stands after GET in an HTTP request.
func (p *parser) requestTarget(n *node) string {
	s := p.text(n, `a path, such as "/health"`, defaultPath)
	switch {
	case n == nil:
	case !strings.HasPrefix(s, "/"):
		p.errorf(n, "%q has to begin with \"/\"", shorten(s))
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }):
		p.errorf(n, "%q has a character that no request can carry: want it percent-encoded", shorten(s))
	default:
		return s
	}
	return defaultPath
}

// host reads a Host header.
func (p *parser) host(n *node) string {
	s := p.text(n, "a host name", "")
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/?#@\<>"`, r) }) {
		p.errorf(n, "%q cannot be a host name", shorten(s))
		return ""
	}
	return s
}

// status reads "200" or "200-299".
func (p *parser) status(n *node) (least, most int) {
	const want = `a status or a range of them, such as "200-299"`
	if n == nil {
		return defaultStatusMin, defaultStatusMax
	}
	if v, ok := n.value.(int64); ok {
		p.errorf(n, "want %s, found %s: write \"%d\"", want, describe(v), v)
		return defaultStatusMin, defaultStatusMax
	}
	s, ok := read[string](p, n, want)
	if !ok {
		return defaultStatusMin, defaultStatusMax
	}
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	least, okLeast := statusCode(from)
	most, okMost := statusCode(to)
	switch {
	case !okLeast || !okMost:
		p.errorf(n, "%q is not %s, with numbers from 100 to 599", shorten(s), want)
	case least > most:
		p.errorf(n, "%q is an empty range: write \"%d-%d\"", s, most, least)
	default:
		return least, most
	}
	return defaultStatusMin, defaultStatusMax
}

func statusCode(s string) (int, bool) {
	v, err := strconv.Atoi(s)
	return v, err == nil && len(s) == 3 && v >= 100 && v <= 599
}

// formatStatus is the inverse of status.
func formatStatus(least, most int) string {
	if least == most {
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d-%d", least, most)
}
