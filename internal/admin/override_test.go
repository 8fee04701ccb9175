package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
)

func TestOverride(t *testing.T) {
	var got director.OverrideRequest
	want := Overridden{
		Servers:  []OverriddenServer{{"web", director.RealStatus{Name: "web-1", Override: &director.OverrideStatus{SafeToStop: true}}}},
		Warnings: []string{"a"}, Refused: []string{"b"},
	}
	var refuse error
	s, err := Listen(Options{
		Path: filepath.Join(t.TempDir(), "admin.sock"), Logger: slog.New(slog.DiscardHandler),
		Override: func(_ context.Context, r director.OverrideRequest) (Overridden, error) {
			got = r
			return want, refuse
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(s.o.Path)
	for _, req := range []director.OverrideRequest{
		{Target: "web/web-1", Kind: director.OverrideDrain, For: 90 * time.Minute, Reason: "kernel update & more"},
		{Target: "*/web-1", Kind: director.OverrideWeight, Weight: 7},
		{Target: "web", Kind: director.OverrideWeight},
		{Target: "web", Kind: director.OverrideNone},
	} {
		out, err := c.Override(t.Context(), req)
		if diff := cmp.Diff(want, out); err != nil || diff != "" {
			t.Errorf("%+v: %v -want +got:\n%s", req, err, diff)
		}
		req.By = me.Username
		if diff := cmp.Diff(req, got); diff != "" {
			t.Errorf("what arrived -want +got:\n%s", diff)
		}
	}
	refuse = errors.New(`no virtual server is named "wed"; did you mean "web"?`)
	if _, err := c.Override(t.Context(), director.OverrideRequest{Target: "wed", Kind: director.OverrideDrain}); err == nil || err.Error() != refuse.Error() {
		t.Errorf("got %v, want %v", err, refuse)
	}
	for path, want := range map[string]string{
		"/v1/override?target=web&kind=weight&weight=many": `weight "many": want a number from 0 on`,
		"/v1/override?target=web&kind=drain&for=soon":     `for "soon": want a duration, such as 90s or 2h`,
	} {
		if err := c.call(t.Context(), http.MethodPost, path, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
