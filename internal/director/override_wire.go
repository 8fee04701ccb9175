package director

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The form in which directors tell each other what operators want, [Announcement.Overrides]:
// a line that says so, and a line of JSON for each register, in the order of the names. It
// is the same on all directors that know the same.
const sharedHead = "hadirector overrides 1\n"

// What is refused of a peer, and never grown to here.
const (
	// MaxOverrides is how many overrides there may be, ended ones included.
	MaxOverrides = 20000
	// maxShared bounds their form, in bytes. The membership carries as much.
	maxShared = 8 << 20
)

// maxVersion is later than any clock's, and far enough from the type's end to go on from.
const maxVersion = 1 << 53

// keptOverride is a register in a file and on the wire.
type keptOverride struct {
	VirtualServer string `json:"virtual_server"`
	RealServer    string `json:"real_server"`
	Register
}

// kept is the form of one register. Times are in UTC: directors may be elsewhere.
func (r Registers) kept(id ServerID) keptOverride {
	k := keptOverride{id.VirtualServer, id.RealServer, r[id]}
	k.At, k.Until = k.At.UTC(), k.Until.UTC()
	return k
}

// encode returns what other directors are told, or why there is too much of it.
func (r Registers) encode() (string, error) {
	if len(r) > MaxOverrides {
		return "", fmt.Errorf("more than %d overrides", MaxOverrides)
	}
	var b bytes.Buffer
	b.WriteString(sharedHead)
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	for _, id := range r.sorted() {
		if err := lines.Encode(r.kept(id)); err != nil {
			return "", fmt.Errorf("override of %s: %w", id, err)
		}
	}
	if b.Len() > maxShared {
		return "", fmt.Errorf("overrides of more than %d bytes", maxShared)
	}
	return b.String(), nil
}

// parseShared reads what another director has told, all of it or nothing. It comes from a
// holder of the cluster key, who may run another version of the program.
func parseShared(text string) (Registers, error) {
	body, ok := strings.CutPrefix(text, sharedHead)
	switch {
	case !ok:
		return nil, errors.New("overrides in an unknown form")
	case len(text) > maxShared:
		return nil, fmt.Errorf("overrides of more than %d bytes", maxShared)
	case strings.Count(body, "\n") > MaxOverrides:
		return nil, fmt.Errorf("more than %d overrides", MaxOverrides)
	case body != "" && !strings.HasSuffix(body, "\n"):
		return nil, errors.New("overrides end too early")
	}
	all := make(Registers)
	for line := range strings.Lines(body) {
		var k keptOverride
		err := json.Unmarshal([]byte(line), &k)
		if err == nil {
			err = k.check()
		}
		if err == nil && (k.Version == 0 || k.Director == "") {
			err = errors.New("without a version or a director")
		}
		if err != nil {
			return nil, fmt.Errorf("override of %.64q/%.64q: %w", k.VirtualServer, k.RealServer, err)
		}
		all = all.with(k)
	}
	return all, nil
}

// with adds a register to those that have been read; of two of the same name the winner.
func (r Registers) with(k keptOverride) Registers {
	id := ServerID{k.VirtualServer, k.RealServer}
	k.At, k.Until = k.At.Local(), k.Until.Local()
	if k.Until.IsZero() {
		k.Until = k.Until.UTC() // the zero value
	}
	if was, ok := r[id]; !ok || k.Register.compare(was) > 0 {
		r[id] = k.Register
	}
	return r
}

// check refuses what no director would write.
func (k keptOverride) check() error {
	switch {
	case !placeName(k.VirtualServer) || !placeName(k.RealServer):
		return errors.New("no name that a configuration could have")
	case len(k.Director) > maxBy || !printable(k.Director):
		return errors.New("the director's name is too long or cannot be printed")
	case k.Version > maxVersion:
		return fmt.Errorf("version %d is from no clock", k.Version)
	case !tellable(k.At) || !tellable(k.Until):
		return errors.New("a time that is in no calendar")
	}
	return OverrideRequest{Kind: k.Kind, Weight: k.Weight, By: k.By, Reason: k.Reason}.check()
}

// tellable tells whether a time has a year of four digits in UTC too, as it is told in.
func tellable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}
