package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/atomicfile"
	"github.com/hadirector/hadirector/ipvs"
)

// Keeper gives kernel parameters values and puts back what they were. What it has
// changed is noted in a file before it is changed, so that a Keeper that follows one
// whose process was killed still knows the values before. The file belongs where it
// ends with the parameters: under /run, which a reboot empties.
//
// One goroutine at a time may use it.
type Keeper struct {
	path   string
	kernel kernel
	// notes are what was asked for, in that order.
	notes []note
	// unsaved says that the file does not have the notes.
	unsaved bool
}

// note is a parameter that was given a value, or had it.
type note struct {
	Name string `json:"parameter"`
	Was  string `json:"was"`
	Set  string `json:"set"`
	// Along are the values, before, of the parameters that the kernel changes together
	// with this one.
	Along map[string]string `json:"along,omitempty"`

	// inherited says that another process has noted it, and what became of the
	// parameter since has not been looked at.
	inherited bool
	// refused says that the kernel has not taken the value.
	refused bool
}

// along are the parameters that the kernel changes when it is given another one: a
// switch for all interfaces sets that of each, and that of IPv4 also whether redirects
// are accepted (net/ipv4/devinet.c inet_forward_change, net/ipv6/addrconf.c
// addrconf_forward_change).
var along = map[string][]string{
	"net.ipv4.ip_forward":          {"net/ipv4/conf/*/forwarding", "net/ipv4/conf/all/accept_redirects"},
	"net.ipv6.conf.all.forwarding": {"net/ipv6/conf/*/forwarding"},
}

// kernel is /proc/sys, except in tests. Names have slashes.
type kernel interface {
	get(name string) (string, error)
	set(name, value string) error
	glob(pattern string) []string
}

type procfs struct{}

func (procfs) get(name string) (string, error) { return Get(name) }
func (procfs) set(name, value string) error    { return Set(name, value) }

func (procfs) glob(pattern string) []string {
	const root = "/proc/sys/"
	names, _ := filepath.Glob(root + pattern) // its one error is about the pattern
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], root)
	}
	return names
}

// NewKeeper returns a Keeper that notes in a file what it changes, and what an earlier
// one has noted there. With an error it knows nothing of that one.
func NewKeeper(path string) (*Keeper, error) {
	k := &Keeper{path: path, kernel: procfs{}}
	return k, k.load()
}

// Rehearsal returns a Keeper that tells what k would do, and changes nothing: neither the
// kernel nor the file nor k.
func (k *Keeper) Rehearsal() *Keeper {
	return &Keeper{kernel: overlay{k.kernel, make(map[string]string)}, notes: slices.Clone(k.notes)}
}

// overlay is a kernel of which nothing is changed but what is seen of it.
type overlay struct {
	kernel
	values map[string]string
}

func (o overlay) get(name string) (string, error) {
	if v, ok := o.values[name]; ok {
		return v, nil
	}
	return o.kernel.get(name)
}

func (o overlay) set(name, value string) error {
	o.values[name] = value
	return nil
}

func (k *Keeper) load() error {
	b, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &k.notes)
	}
	if err != nil {
		k.notes = nil
		return fmt.Errorf("read the notes of changed kernel parameters %s: %w", k.path, err)
	}
	for i := range k.notes {
		k.notes[i].inherited = true
	}
	return nil
}

// Ensure gives each parameter its value, in this order, and tells how each is. Those
// that do not apply, because of From or With or because their interface is gone, are left
// out. The error says that the file could not be written; the parameters have been all
// the same.
func (k *Keeper) Ensure(want []ipvs.Parameter) ([]ipvs.ParameterState, error) {
	var states []ipvs.ParameterState
	for _, p := range want {
		if s, applies := k.look(p, want); applies {
			states = append(states, s)
		}
	}
	err := k.save()
	for i := range states {
		k.write(&states[i])
	}
	return states, errors.Join(err, k.save())
}

// look reads a parameter, says in Change what has to be done, and notes it. It tells
// whether the parameter applies.
func (k *Keeper) look(p ipvs.Parameter, want []ipvs.Parameter) (s ipvs.ParameterState, applies bool) {
	s.Parameter = p
	now, err := k.kernel.get(Dotted(p.Name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			k.forget(p.Name) // with the interface or the module
			if ofInterface(p.Name) {
				return s, false
			}
		}
		s.Err = k.explain(p.Name, err)
		return s, true
	}
	s.Now = now
	n := k.note(p.Name)
	inherited := n != nil && n.inherited
	if inherited {
		n.inherited = false
		if now != n.Set && now != n.Was {
			// Somebody has set it while no daemon ran: that is how it is to be again.
			k.forget(p.Name)
			n = nil
		}
	}
	if p.From != "" && now != p.Value && now != p.From || p.With != "" && !k.changes(p.With, want) {
		k.forget(p.Name)
		return s, false
	}
	if n == nil && now == p.Value && p.From != "" {
		return s, false
	}
	switch {
	case n == nil:
		// One that is right is noted too: when somebody changes it, it is known that it
		// was not so before.
		added := note{Name: p.Name, Was: now, Set: p.Value}
		if now != p.Value {
			s.Change, added.Along = ipvs.ParameterSet, k.along(p.Name)
		}
		k.notes, k.unsaved = append(k.notes, added), true
	case now == p.Value:
	case now == n.Set, n.refused, inherited: // another value is wanted, or it was put back by hand
		s.Change = ipvs.ParameterSet
	default:
		s.Change, s.Found = ipvs.ParameterRepaired, now
	}
	n = k.note(p.Name)
	s.Was = n.Was
	if n.Set != p.Value {
		n.Set, k.unsaved = p.Value, true
	}
	return s, true
}

// write does what look found to be done.
func (k *Keeper) write(s *ipvs.ParameterState) {
	if s.Change == "" {
		return
	}
	err := k.kernel.set(Dotted(s.Name), s.Value)
	if err == nil {
		s.Now, err = k.kernel.get(Dotted(s.Name))
	}
	switch {
	case err != nil:
		s.Err = k.explain(s.Name, err)
	case s.Now != s.Value:
		s.Err = fmt.Errorf("sysctl %s is %q after it was set to %q", s.Name, s.Now, s.Value)
	}
	n := k.note(s.Name)
	if n.refused = s.Err != nil; n.refused {
		s.Change = ""
	}
}

// changes tells whether a parameter is given a value that it did not have before.
func (k *Keeper) changes(name string, want []ipvs.Parameter) bool {
	for _, p := range want {
		if p.Name != name {
			continue
		}
		if n := k.note(name); n != nil {
			return n.Was != p.Value
		}
		now, err := k.kernel.get(Dotted(name))
		return err == nil && now != p.Value
	}
	return false
}

// Release puts back, the newest first, what Ensure has changed and is not to be kept, and
// tells what became of each. What somebody else has changed since is left as it is.
func (k *Keeper) Release(keep []ipvs.Parameter) ([]ipvs.ParameterState, error) {
	var states []ipvs.ParameterState
	for _, n := range slices.Backward(slices.Clone(k.notes)) {
		if slices.ContainsFunc(keep, func(p ipvs.Parameter) bool { return p.Name == n.Name }) {
			continue
		}
		s := ipvs.ParameterState{Parameter: ipvs.Parameter{Name: n.Name, Value: n.Was}, Was: n.Set}
		s.Now, s.Err = k.kernel.get(Dotted(n.Name))
		switch {
		case errors.Is(s.Err, fs.ErrNotExist), s.Err == nil && s.Now == n.Was:
			k.forget(n.Name) // with the interface or the module, or there is nothing to do
			continue
		case s.Err != nil:
		case s.Now != n.Set:
			s.Change = ipvs.ParameterLeft
		default:
			s.Change, s.Err = ipvs.ParameterPutBack, k.putBack(n)
		}
		if s.Err == nil {
			k.forget(n.Name)
		} else {
			s.Change = ""
		}
		states = append(states, s)
	}
	return states, k.save()
}

// putBack gives a parameter its value before, and then those that follow it.
func (k *Keeper) putBack(n note) error {
	if err := k.kernel.set(Dotted(n.Name), n.Was); err != nil {
		return k.explain(n.Name, err)
	}
	var errs []error
	for name, was := range n.Along {
		if now, err := k.kernel.get(name); err == nil && now != was {
			errs = append(errs, k.kernel.set(name, was))
		}
	}
	return errors.Join(errs...)
}

// along reads what the kernel changes together with a parameter.
func (k *Keeper) along(name string) map[string]string {
	values := make(map[string]string)
	for _, pattern := range along[name] {
		for _, other := range k.kernel.glob(pattern) {
			if v, err := k.kernel.get(other); err == nil && Dotted(other) != name {
				values[other] = v
			}
		}
	}
	return values
}

func (k *Keeper) note(name string) *note {
	if i := slices.IndexFunc(k.notes, func(n note) bool { return n.Name == name }); i >= 0 {
		return &k.notes[i]
	}
	return nil
}

func (k *Keeper) forget(name string) {
	before := len(k.notes)
	k.notes = slices.DeleteFunc(k.notes, func(n note) bool { return n.Name == name })
	k.unsaved = k.unsaved || len(k.notes) != before
}

// save writes the notes if they have changed. Without any there is no file. Those of a
// rehearsal are not written.
func (k *Keeper) save() error {
	if !k.unsaved || k.path == "" {
		return nil
	}
	var err error
	if len(k.notes) == 0 {
		if err = os.Remove(k.path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		var b []byte
		if b, err = json.MarshalIndent(k.notes, "", "  "); err == nil {
			err = atomicfile.Write(k.path, append(b, '\n'), 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("note changed kernel parameters: %w", err)
	}
	k.unsaved = false
	return nil
}

// ofInterface tells whether a parameter is one of a single interface.
func ofInterface(name string) bool {
	parts := strings.Split(name, ".")
	return len(parts) > 3 && parts[2] == "conf" && parts[3] != "all" && parts[3] != "default"
}

// explain says what the kernel's error means for a parameter.
func (k *Keeper) explain(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, "net.ipv4.vs.") && len(k.kernel.glob("net/ipv4/vs/*")) == 0:
		return fmt.Errorf("there is no %s: ip_vs is not loaded, or this container has no parameters of it", name)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the running kernel has no parameter %s", name)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: set it where /proc/sys can be written, on the host or when the container is made", err)
	}
	return err
}
