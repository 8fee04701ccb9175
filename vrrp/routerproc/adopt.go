package routerproc

import (
	"maps"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// apply takes in what the director wants. A virtual router that gets another name keeps
// its state.
func (s *supervisor) apply(in map[string]vrrp.Instance) {
	names := make(map[vrrp.ID]string, len(s.wanted))
	for name, i := range s.wanted {
		names[i.ID] = name
	}
	renamed := make(map[string]string)
	for name, i := range in {
		if before, ok := names[i.ID]; ok && before != name {
			renamed[before] = name
		}
	}
	s.states, s.gone, s.adopt = rename(s.states, renamed), rename(s.gone, renamed), rename(s.adopt, renamed)
	s.wanted, s.unsent = in, true
	if !s.given {
		// Of what an earlier run left no child will ever know but by these.
		s.o.Release(in)
	}
}

// rename gives entries other names, which may be those that others had.
func rename[T any](m map[string]T, renamed map[string]string) map[string]T {
	out := make(map[string]T, len(m))
	for name, v := range m {
		if _, ok := renamed[name]; !ok {
			out[name] = v
		}
	}
	for before, name := range renamed {
		if v, ok := m[before]; ok {
			out[name] = v
		}
	}
	return out
}

// instances are the wanted ones, with what is to be adopted. A virtual router is named
// for adoption in everything that is sent until it has reported itself: the child may
// look at the newest alone.
func (s *supervisor) instances() map[string]vrrp.Instance {
	in := maps.Clone(s.wanted)
	for name, i := range in {
		id, adopted := s.adopt[name]
		i.Adopt = adopted && id == i.ID || s.undecided && adoptable(i, s.states[name], time.Since(s.gone[name]))
		in[name] = i
	}
	return in
}

// applied notes what a child has been given. What its predecessor ran and it does not
// adopt has ended with that one.
func (s *supervisor) applied(in map[string]vrrp.Instance) {
	if !s.undecided {
		return
	}
	s.undecided = false
	s.adopt = make(map[string]vrrp.ID)
	for name, i := range in {
		if i.Adopt {
			s.adopt[name] = i.ID
		}
	}
	for name := range s.gone {
		if _, adopted := s.adopt[name]; !adopted {
			s.reportEnd(name)
		}
	}
}
