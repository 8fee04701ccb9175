package director

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/ipvs"
)

// parameterState is what the reconciler knows of the kernel's parameters.
type parameterState struct {
	parametersWanted []Need
	parametersKept   []ipvs.Parameter      // which those are on this machine
	parametersKnown  bool                  // it could be found out
	parametersAre    []ipvs.ParameterState // after they were last set
	parametersErr    error
}

// parametersReached tells whether nothing else is wanted than what was last set.
func (r *reconciler) parametersReached() bool {
	return r.parametersKnown && r.parametersErr == nil && slices.EqualFunc(r.want.Parameters, r.parametersWanted, Need.equal)
}

// parameters gives the kernel's parameters their values.
func (r *reconciler) parameters() {
	s := parameterState{parametersWanted: r.want.Parameters, parametersKnown: true}
	var interfaces map[string][]netip.Prefix
	if slices.ContainsFunc(r.want.Parameters, func(n Need) bool { return strings.Contains(n.Name, "*") }) {
		var err error
		if interfaces, err = r.interfaces(); err != nil {
			s.parametersErr, s.parametersKnown = fmt.Errorf("find the interfaces whose parameters are to be set: %w", err), false
		}
	}
	s.parametersKept = Spread(r.want.Parameters, interfaces)
	states, err := r.params.Ensure(s.parametersKept)
	if err != nil {
		s.parametersErr = err
	}
	r.next.Parameters = together(r.next.Parameters, states)
	for _, state := range states {
		state.Change = "" // that is told once
		s.parametersAre = append(s.parametersAre, state)
	}
	r.parameterState = s
	r.pathsDue = true
}

// release puts back the parameters that are not to be kept.
func (r *reconciler) release(keep []ipvs.Parameter) {
	states, err := r.params.Release(keep)
	r.next.Released = together(r.next.Released, states)
	r.next.ParameterErr = err
}

// tellParameters completes a pass.
func (r *reconciler) tellParameters(p *Pass) {
	if p.Parameters == nil {
		p.Parameters = r.parametersAre
	}
	if p.ParameterErr == nil {
		p.ParameterErr = r.parametersErr
	}
}

// together is what became of parameters in two calls of one pass: how they are after the
// second, and what either has changed.
func together(first, second []ipvs.ParameterState) []ipvs.ParameterState {
	both := slices.Clone(second)
	for _, f := range first {
		i := slices.IndexFunc(both, func(s ipvs.ParameterState) bool { return s.Name == f.Name })
		switch {
		case i < 0 && f.Change != "":
			both = append(both, f)
		case i >= 0 && both[i].Change == "":
			both[i].Change, both[i].Found = f.Change, f.Found
		}
	}
	return both
}
