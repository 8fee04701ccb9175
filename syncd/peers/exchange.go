package peers

import (
	"errors"
	"fmt"
)

// MaxConfig is the longest configuration text, in bytes, that directors exchange. It is
// sent whole at every exchange of state, so it has to stay small; of a longer one only
// the fingerprint travels.
const MaxConfig = 60 << 10

// exchangeVersion is the first byte of the state that directors exchange beside
// memberlist's own.
const exchangeVersion = 1

// exchange is what a director hands over when it joins another, and every 30 s.
type exchange struct {
	Name   string // the sender
	Config string // its effective configuration; empty if longer than MaxConfig
}

// appendTo appends the encoded form: version, the name with a length byte, and the
// configuration's text up to the end.
func (x exchange) appendTo(b []byte) []byte {
	b = append(b, exchangeVersion, byte(len(x.Name)))
	b = append(b, x.Name...)
	return append(b, x.Config...)
}

// parseExchange decodes what appendTo wrote.
func parseExchange(b []byte) (exchange, error) {
	if len(b) == 0 {
		return exchange{}, errors.New("state is empty")
	}
	if b[0] != exchangeVersion {
		return exchange{}, fmt.Errorf("state version %d, want %d", b[0], exchangeVersion)
	}
	r := reader{b: b[1:]}
	name := r.text()
	if r.short {
		return exchange{}, errors.New("state ends too early")
	}
	if len(r.b) > MaxConfig {
		return exchange{}, fmt.Errorf("configuration of %d bytes, want at most %d", len(r.b), MaxConfig)
	}
	return exchange{Name: name, Config: string(r.b)}, nil
}
