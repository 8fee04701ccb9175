package netif

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/internal/atomicfile"
	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/vrrp"
)

// deviceNotes are what has been made and set, in memory and in a file.
type deviceNotes struct {
	path string
	// failed is told when the file could not be written: that costs only the clean-up
	// after a crash.
	failed func(error)
	// Links are those that were made, by name.
	Links map[string]device `json:"links"`
	// Settings are the kernel parameters that were changed, by name, in the order of
	// their changes.
	Settings []changed `json:"settings"`
}

// changed is a kernel parameter that has been changed.
type changed struct {
	Name string `json:"name"`
	// Was is the value to bring back, Set the one that it was given.
	Was string `json:"was"`
	Set string `json:"set"`
	// Index is that of the interface whose parameter it is: one that is made again has
	// values of its own. 0: of no interface.
	Index int `json:"index,omitempty"`
}

func readDeviceNotes(path string, failed func(error)) (*deviceNotes, error) {
	n := &deviceNotes{path: path, failed: failed, Links: map[string]device{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	var read deviceNotes
	if err == nil {
		err = json.Unmarshal(b, &read)
	}
	if err != nil {
		return n, fmt.Errorf("%s: %w", path, err)
	}
	maps.Copy(n.Links, read.Links)
	n.Settings = read.Settings
	return n, nil
}

// save writes the file, or removes it when there is nothing to note.
func (n *deviceNotes) save() {
	if err := n.write(); err != nil {
		n.failed(err)
	}
}

func (n *deviceNotes) write() error {
	if len(n.Links)+len(n.Settings) == 0 {
		if err := os.Remove(n.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return atomicfile.Write(n.path, append(b, '\n'), 0o600)
}

func (n *deviceNotes) names() []string { return slices.Sorted(maps.Keys(n.Links)) }

func (n *deviceNotes) addLink(name string, d device) {
	if have, ok := n.Links[name]; !ok || have.Base != d.Base || have.Family != d.Family {
		n.Links[name] = d
		n.save()
	}
}

func (n *deviceNotes) removeLink(name string) {
	delete(n.Links, name)
	n.save()
}

// usesGroup tells whether a noted link is above the interface, in the family.
func (n *deviceNotes) usesGroup(m membership) bool {
	return slices.ContainsFunc(n.bases(m.family), func(base string) bool { return linkIndex(base) == m.index })
}

// bases are the interfaces below the noted links of a family, each once.
func (n *deviceNotes) bases(f vrrp.Family) []string {
	bases := make(map[string]bool)
	for _, d := range n.Links {
		if d.Family == f {
			bases[d.Base] = true
		}
	}
	return slices.Sorted(maps.Keys(bases))
}

// original is a parameter's value as it was before it was changed here.
func (n *deviceNotes) original(name string) (string, error) {
	for _, c := range n.Settings {
		if c.Name == name {
			return c.Was, nil
		}
	}
	return sysctl.Get(name)
}

// settle changes the parameters that need another value and brings back the others that
// were changed, in the opposite order of their changes. A parameter that somebody else
// has set meanwhile stays as it is, and one whose interface is gone is forgotten.
func (n *deviceNotes) settle(need []setting) error {
	var errs []error
	for _, s := range need {
		if err := n.change(s); err != nil {
			errs = append(errs, err)
		}
	}
	var kept []changed
	for _, c := range slices.Backward(n.Settings) {
		if slices.ContainsFunc(need, func(s setting) bool { return s.name == c.Name }) {
			kept = append(kept, c)
			continue
		}
		if err := bringBack(c); err != nil {
			errs = append(errs, err)
			kept = append(kept, c)
		}
	}
	if len(kept) != len(n.Settings) {
		slices.Reverse(kept)
		n.Settings = kept
		n.save()
	}
	return errors.Join(errs...)
}

// change sets a parameter, after its value has been noted: if the daemon is killed
// between the two, the value is brought back all the same. A parameter of an interface
// that is gone needs no value.
func (n *deviceNotes) change(s setting) error {
	index := indexFor(s.name)
	i := slices.IndexFunc(n.Settings, func(c changed) bool { return c.Name == s.name })
	if i >= 0 && n.Settings[i].Index != index {
		n.Settings = slices.Delete(n.Settings, i, i+1)
		i = -1
	}
	have, err := sysctl.Get(s.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && s.satisfiedBy(have) {
		return nil
	}
	if err != nil {
		return err
	}
	if i < 0 {
		n.Settings = append(n.Settings, changed{Name: s.name, Was: have, Set: s.value, Index: index})
		n.save()
	}
	return sysctl.Set(s.name, s.value)
}

func bringBack(c changed) error {
	have, err := sysctl.Get(c.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("bring back: %w", err)
	case have != c.Set || indexFor(c.Name) != c.Index:
		return nil
	}
	if err := sysctl.Set(c.Name, c.Was); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bring back: %w", err)
	}
	return nil
}

// indexFor is the index of the interface that a parameter belongs to, 0 if it is none's
// or there is none.
func indexFor(name string) int {
	parts := strings.Split(name, "/") // net/ipv4/conf/IF/parameter
	if len(parts) < 5 {
		return 0
	}
	return linkIndex(parts[3])
}
