package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
)

func TestSwitchoverCompletion(t *testing.T) {
	s := director.Status{VirtualRouters: []director.RouterStatus{
		{Name: "web", State: "master"}, {Name: "mail", State: "backup"}, {Name: "dns", State: "master"},
	}}
	if diff := cmp.Diff([]string{"dns"}, switchable(s, []string{"web"})); diff != "" {
		t.Errorf("after web -want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"web", "dns"}, switchable(s, nil)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
