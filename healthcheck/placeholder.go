package healthcheck

import (
	"strconv"
	"strings"
)

// The placeholders stand for what is asked, so that one check of type Script or File
// serves many real servers: an IPv6 address is written without brackets, and the port is
// 0 if the real server has none.
const (
	AddressPlaceholder = "{address}"
	PortPlaceholder    = "{port}"
)

// Fill puts the target into the placeholders of a text. Those of a target without an
// address, a track's, stay as they are.
func (t Target) Fill(text string) string {
	if !t.Addr.IsValid() {
		return text
	}
	return strings.NewReplacer(
		AddressPlaceholder, t.Addr.Addr().String(),
		PortPlaceholder, strconv.Itoa(int(t.Addr.Port())),
	).Replace(text)
}
