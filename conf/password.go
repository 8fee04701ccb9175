package conf

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/hadirector/hadirector/vrrp"
)

// hiddenSecret is what hide makes. It is longer than any password.
var hiddenSecret = regexp.MustCompile(`^\(hidden [0-9a-f]{8}\)$`)

// password reads version 2's simple password. Its messages go to logs, so none of them
// shows the value.
func (p *parser) password(n *node, v vrrp.Version) vrrp.Auth {
	if n == nil {
		return vrrp.Auth{}
	}
	most := len(vrrp.Auth{}.Data)
	s, ok := stringOf(n)
	switch {
	case v != vrrp.Version2:
		p.keyErrorf(n, "a password is for version 2 only: version 3 has no authentication (RFC 9568 section 9)")
	case !ok || s == "":
		p.errorf(n, "want a string of 1 to %d bytes", most)
	case hiddenSecret.MatchString(s):
		p.errorf(n, "this stands for a password that was not printed: write the password itself")
	case len(s) > most:
		p.errorf(n, "%d bytes are too many: an advertisement carries %d, to which keepalived cuts its auth_pass: want no more than the first %[2]d", len(s), most)
	case strings.ContainsFunc(s, unicode.IsControl):
		p.errorf(n, "the password has a control character")
	default:
		p.warnf(n, "is sent in clear: it keeps apart routers that were given the same vrid by mistake, and nobody else")
		return vrrp.Password(s)
	}
	return vrrp.Auth{}
}

// hidden returns what stands for a password in the effective text.
func hidden(a vrrp.Auth) string {
	return hide(sha256.Sum256(append([]byte("hadirector vrrp password "), a.Data[:]...)))
}

// hide returns 32 bits of a digest: enough to tell that two directors have different
// secrets, and too few to find a random one from.
func hide(digest [sha256.Size]byte) string { return fmt.Sprintf("(hidden %x)", digest[:4]) }
