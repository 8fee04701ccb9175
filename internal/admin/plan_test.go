package admin

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
)

func TestPlan(t *testing.T) {
	want := Planned{Mistakes: []string{"a"}, Plan: director.Plan{
		File: "f", Running: true, Changed: []string{"b"}, Refused: []string{"c"}, Warnings: []string{"d"},
		Steps: []director.Step{{Command: "ipvsadm -C", Comment: "e"}, {Comment: "f", Later: true}},
	}}
	type question struct {
		name string
		text []byte
	}
	var asked question
	var refuse error
	s, err := Listen(Options{
		Path: filepath.Join(t.TempDir(), "admin.sock"), Logger: slog.New(slog.DiscardHandler),
		Plan: func(_ context.Context, name string, text []byte) (Planned, error) {
			asked = question{name, text}
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
	c := NewClient(s.o.Path)
	long := strings.Repeat("#", conf.MaxFileSize+5)
	for _, tt := range []struct {
		name string
		ask  func() (Planned, error)
		want question
	}{
		{"the daemon's own file", func() (Planned, error) { return c.Plan(t.Context()) }, question{}},
		{"another file", func() (Planned, error) { return c.PlanOf(t.Context(), "x & y.toml", []byte("[log]\n")) }, question{"x & y.toml", []byte("[log]\n")}},
		{"an empty file", func() (Planned, error) { return c.PlanOf(t.Context(), "x", nil) }, question{"x", []byte{}}},
		{"a file that is too long", func() (Planned, error) { return c.PlanOf(t.Context(), "x", []byte(long)) }, question{"x", []byte(long[:conf.MaxFileSize+1])}},
	} {
		got, err := tt.ask()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", tt.name, err, diff)
		}
		if asked.name != tt.want.name || (asked.text == nil) != (tt.want.text == nil) || string(asked.text) != string(tt.want.text) {
			t.Errorf("%s: %q and %d bytes arrived, want %q and %d", tt.name, asked.name, len(asked.text), tt.want.name, len(tt.want.text))
		}
	}
	refuse = errors.New("[admin] changed")
	if _, err := c.Plan(t.Context()); err == nil || err.Error() != refuse.Error() {
		t.Errorf("got %v, want %v", err, refuse)
	}
}
