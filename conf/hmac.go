package conf

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hadirector/hadirector/vrrp"
)

var (
	hmacGrammar = grammar{keys: []string{"mode", "active", "keys", "anti_replay", "window"}}
	hmacModes   = map[string]vrrp.HMACMode{
		"enforce": vrrp.HMACEnforce, "permissive": vrrp.HMACPermissive, "receive-only": vrrp.HMACReceiveOnly,
	}
	hmacModeNames = []string{"enforce", "permissive", "receive-only"}
	antiReplays   = []string{"time", monotonic}
)

// monotonic is the anti_replay that compares no clocks.
const monotonic = "monotonic"

// The bounds of a key, which are keepalived's (vrrp_auth_hmac.h), and what it begins
// with if it is written in hexadecimal digits, or is to be found in a file.
const (
	leastHMACKey = 32
	mostHMACKey  = 64
	hexKey       = "hex:"
	fileKey      = "file:"
)

const hmacForm = `a table, such as { keys = { 1 = "hex:…" } }`

// hmac reads the keys that sign advertisements. Like those of a password, its messages
// never show a value that stands where a key is expected, or might be put.
func (p *parser) hmac(n *node, interval time.Duration) *vrrp.HMAC {
	if n == nil {
		return nil
	}
	if _, ok := n.value.(map[string]any); !ok && !n.array {
		p.errorf(n, "want %s", hmacForm)
		return nil
	}
	if !p.table(n, hmacGrammar) {
		return nil
	}
	h := &vrrp.HMAC{
		Mode:      p.hmacMode(n.kid("mode")),
		Keys:      p.hmacKeys(p.required(n, "keys", `a table of keys by their numbers, such as { 1 = "hex:…" }`)),
		Monotonic: p.antiReplay(n.kid("anti_replay")),
	}
	switch w := n.kid("window"); {
	case !h.Monotonic:
		h.Window = p.hmacWindow(w, interval)
	case w != nil:
		p.errorf(w, "anti_replay = %q compares no clocks, so it has no window", monotonic)
	}
	if h.Mode != vrrp.HMACEnforce {
		p.warnf(n.at("mode"), "advertisements that are not signed are accepted: this is for the time of a change, want enforce after it")
	}
	p.activeKey(n, h)
	return h
}

func (p *parser) hmacMode(n *node) vrrp.HMACMode {
	if n == nil {
		return vrrp.HMACEnforce
	}
	return hmacModes[p.choice(n, "a mode", hmacModeNames[0], hmacModeNames, nil)]
}

func (p *parser) antiReplay(n *node) bool {
	return n != nil && p.choice(n, "an anti_replay mode", antiReplays[0], antiReplays, nil) == monotonic
}

// hmacWindow reads how far clocks may be apart. The default is keepalived's.
func (p *parser) hmacWindow(n *node, interval time.Duration) time.Duration {
	def := max(3*interval, leastHMACWindow)
	return p.duration(n, def, time.Second, max(def, maxHMACWindow), time.Nanosecond)
}

// hmacKeys reads the keys, and returns them in the order of their numbers.
func (p *parser) hmacKeys(n *node) []vrrp.HMACKey {
	if n == nil {
		return nil
	}
	if _, ok := n.value.(map[string]any); !ok || n.array {
		p.keyErrorf(n, `want a table of keys by their numbers, such as { 1 = "hex:…" }`)
		return nil
	}
	var keys []vrrp.HMACKey
	for _, k := range n.kids {
		id, err := strconv.ParseUint(k.name, 10, 8)
		if err != nil || id == 0 || k.name[0] == '0' {
			// The name is not shown: it may be the key that has no number.
			p.report(max(k.key, 0), n.path(), false, `every key has a number from 1 to 255, as in { 1 = "hex:…" }`)
			continue
		}
		if secret := p.hmacKey(k); secret != nil {
			keys = append(keys, vrrp.HMACKey{ID: uint8(id), Secret: secret})
		}
	}
	if len(n.kids) == 0 {
		p.errorf(n, "has no key")
	}
	slices.SortFunc(keys, func(a, b vrrp.HMACKey) int { return cmp.Compare(a.ID, b.ID) })
	return keys
}

// hmacKey reads one key as keepalived does: hexadecimal digits after "hex:", else the
// text itself.
func (p *parser) hmacKey(n *node) []byte {
	s, ok := stringOf(n)
	if !ok {
		p.errorf(n, "want a string of %d to %d bytes", leastHMACKey, mostHMACKey)
		return nil
	}
	secret := []byte(s)
	switch digits, isHex := strings.CutPrefix(s, hexKey); {
	case hiddenSecret.MatchString(s):
		p.errorf(n, "this stands for a key that was not printed: write the key itself")
		return nil
	case strings.HasPrefix(s, fileKey):
		p.errorf(n, "a key in a file is not supported: write the key itself, and let nobody but root read this file")
		return nil
	case isHex:
		var err error
		if secret, err = hex.DecodeString(digits); err != nil {
			p.errorf(n, "want an even number of hexadecimal digits after \"hex:\"")
			return nil
		}
	case strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) }):
		p.errorf(n, "the key has a character that is not printable ASCII: write it in hexadecimal digits after \"hex:\"")
		return nil
	}
	if len(secret) < leastHMACKey || len(secret) > mostHMACKey {
		p.errorf(n, "a key has %d to %d bytes, as keepalived wants it, and this one has %d: \"openssl rand -hex 32\" makes the digits after \"hex:\"",
			leastHMACKey, mostHMACKey, len(secret))
		return nil
	}
	return secret
}

// activeKey finds the key that signs.
func (p *parser) activeKey(n *node, h *vrrp.HMAC) {
	active, keys := n.kid("active"), n.kid("keys")
	if active != nil {
		if _, ok := active.value.(int64); !ok {
			p.errorf(active, "want the number of the key that signs, 1 to 255")
			return
		}
	}
	h.ActiveKey = uint8(p.integer(active, 0, 1, 255))
	switch {
	case keys == nil || len(h.Keys) == 0 || len(h.Keys) < len(keys.kids):
		// Reported already; what there should have been is not known.
	case active == nil && len(h.Keys) == 1:
		h.ActiveKey = h.Keys[0].ID
	case active == nil:
		p.required(n, "active", "the number of the key that signs: "+keyNumbers(h))
	case h.ActiveKey != 0 && !slices.ContainsFunc(h.Keys, func(k vrrp.HMACKey) bool { return k.ID == h.ActiveKey }):
		p.errorf(active, "there is no key %d: want %s", h.ActiveKey, keyNumbers(h))
	}
}

func keyNumbers(h *vrrp.HMAC) string {
	numbers := make([]string, len(h.Keys))
	for i, k := range h.Keys {
		numbers[i] = strconv.Itoa(int(k.ID))
	}
	return strings.Join(numbers, " or ")
}

// formatHMAC is the inverse of hmac, but for the keys.
func formatHMAC(h *vrrp.HMAC) string {
	mode := ""
	for name, m := range hmacModes {
		if m == h.Mode {
			mode = name
		}
	}
	keys := join(h.Keys, func(k vrrp.HMACKey) string { return fmt.Sprintf("%d = %q", k.ID, hiddenKey(k)) })
	replay := fmt.Sprintf("window = %q", formatDuration(h.Window))
	if h.Monotonic {
		replay = fmt.Sprintf("anti_replay = %q", monotonic)
	}
	return fmt.Sprintf("{ mode = %q, active = %d, keys = { %s }, %s }", mode, h.ActiveKey, keys, replay)
}

// hiddenKey returns what stands for a key in the effective text, as hidden does for a
// password.
func hiddenKey(k vrrp.HMACKey) string {
	return hide(sha256.Sum256(append([]byte("hadirector vrrp hmac key "), k.Secret...)))
}
