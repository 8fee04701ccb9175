package main

import (
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/sysctl"
)

// keptParameters is a director.Parameters.
type keptParameters struct{ *sysctl.Keeper }

func (k keptParameters) Rehearsal() director.Parameters {
	return keptParameters{k.Keeper.Rehearsal()}
}
