package conf

import (
	"regexp"
	"slices"
	"strings"
)

// A mistake in the syntax of TOML is told in the library's words, which quote the
// text. Where that may be a secret, also under a misspelt key, they are not repeated.

var (
	// assigned finds the keys that a line gives values to.
	assigned = regexp.MustCompile(`([A-Za-z0-9_-]+)["']?\s*=`)
	// header finds the parts before the last, and the last one, of a line that is a
	// table's header.
	header = regexp.MustCompile(`^\s*\[([^\]]*?)([A-Za-z0-9_-]+)["']?\s*\]?\s*(?:#.*)?$`)
)

// secretNames are the keys whose values nobody may see, and what foreign programs and
// people call them.
var secretNames = []string{"password", "passwd", "secret", "hmac", "keys", "headers", "request_body"}

// secretParts are in the names of such keys: auth_pass, hmac_key, and so on.
var secretParts = []string{"pass", "pwd", "secret", "hmac", "auth", "key", "token", "cookie"}

// mayBeSecret tells whether a line, counted from 1, may hold a secret: because of one
// of its keys or, if it is in the middle of a value, of the last key before it; or
// because of the table that it is in.
func (p *parser) mayBeSecret(line int) bool {
	for at := line; at >= 1; at-- {
		keys := assigned.FindAllStringSubmatch(p.textOf(at), -1)
		for _, m := range keys {
			if secretName(m[1]) {
				return true
			}
		}
		if len(keys) > 0 || header.MatchString(p.textOf(at)) {
			break
		}
	}
	for at := line; at >= 1; at-- {
		if m := header.FindStringSubmatch(p.textOf(at)); m != nil {
			// The second part of a header is a name of the operator's choice.
			named := strings.Count(m[1], ".") == 1
			return slices.Contains(secretNames, m[2]) || !named && secretName(m[2])
		}
	}
	return false
}

// secretName tells whether a key may be that of a secret. Only the keys of hmac are
// numbers.
func secretName(name string) bool {
	name = strings.ToLower(name)
	if name == "key_file" || name == "tls_key" {
		return false
	}
	for _, part := range secretParts {
		if strings.Contains(name, part) {
			return true
		}
	}
	return strings.Trim(name, "0123456789") == "" || nearest(name, secretNames) != ""
}
