// Package clusterkey is the one secret that the directors of a cluster share. It is
// never used as it is: every use derives a key of its own from it by HKDF, so that no
// two protocols ever share one and none of them can betray the secret.
//
// The secret must not reach a log. A Key therefore prints as "cluster key (redacted)"
// whatever the verb, also inside other values; only [Key.Text] gives it out.
package clusterkey

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Size is the length of the secret in bytes.
const Size = 32

// prefix opens a key's line and names its format.
const prefix = "hadirector-key-v1:"

// redacted is what a key prints as.
const redacted = "cluster key (redacted)"

// Key is a cluster's secret. The zero value holds none and must not be derived from.
// A Key may be copied and used by several goroutines.
type Key struct {
	// secret is in a closure because fmt calls no methods on unexported fields: a
	// struct that holds a Key would print an array, and with an unfit verb what a
	// pointer points to. It cannot look into a function.
	secret func() [Size]byte
}

func newKey(secret [Size]byte) Key {
	return Key{func() [Size]byte { return secret }}
}

// Generate returns a new random key.
func Generate() Key {
	var secret [Size]byte
	rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	return newKey(secret)
}

// Parse reads the text of a key file: one line, "hadirector-key-v1:" and 32 bytes in
// base64, or two of them with the key in use first. Empty lines and lines that begin with
// # say nothing.
func Parse(text []byte) (Keys, error) {
	var ks Keys
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(ks) == maxKeys {
			return nil, fmt.Errorf("line %d: a third key, want at most two", n)
		}
		encoded, ok := strings.CutPrefix(line, prefix)
		if !ok {
			return nil, fmt.Errorf("line %d: does not begin with %q", n, prefix)
		}
		// Strict, and without the line breaks that the decoder skips even then, so that
		// each key has exactly one text.
		secret, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || strings.ContainsAny(encoded, "\r\n") {
			// The decoder's own error is not repeated: it tells of the secret.
			return nil, fmt.Errorf("line %d: the part after %q is not base64", n, prefix)
		}
		if len(secret) != Size {
			return nil, fmt.Errorf("line %d: the key has %d bytes, want %d", n, len(secret), Size)
		}
		k := newKey([Size]byte(secret))
		if ks.has(k) {
			return nil, fmt.Errorf("line %d: the same key twice", n)
		}
		ks = append(ks, k)
	}
	if len(ks) == 0 {
		return nil, errors.New("holds no key")
	}
	return ks, nil
}

// Text is the key file's line, with its newline: the secret in the clear.
func (k Key) Text() string {
	secret := k.secret()
	return prefix + base64.StdEncoding.EncodeToString(secret[:]) + "\n"
}

// Derive returns the key for a purpose: HKDF-SHA256 (RFC 5869) without salt, the
// purpose as info. The purposes are part of the protocol between directors.
func (k Key) Derive(purpose string) [32]byte {
	secret := k.secret()
	b, err := hkdf.Key(sha256.New, secret[:], nil, purpose, 32)
	if err != nil {
		// 32 bytes of SHA-256 output and a 32-byte secret are always in range.
		panic("clusterkey: " + err.Error())
	}
	return [32]byte(b)
}

// ID is a short name of the key for people to compare between directors: eight hex
// digits that tell nothing about the secret.
func (k Key) ID() string {
	id := k.Derive("hadirector key id")
	return hex.EncodeToString(id[:4])
}

// Equal reports whether both are the same key, in constant time.
func (k Key) Equal(other Key) bool {
	if k.secret == nil || other.secret == nil {
		return k.secret == nil && other.secret == nil
	}
	a, b := k.secret(), other.secret()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Format redacts the key for every verb of package fmt.
func (Key) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// String redacts the key.
func (Key) String() string { return redacted }

// GoString redacts the key.
func (Key) GoString() string { return redacted }

// LogValue redacts the key.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts the key for JSON and the like.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }
