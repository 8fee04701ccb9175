package main

import (
	"errors"
	"testing"
	"time"
)

func TestSinceTime(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Time
	}{
		{"", time.Time{}},
		{"90s", ago(90 * time.Second)},
		{"2h30m", ago(150 * time.Minute)},
		{"3d", ago(72 * time.Hour)},
	} {
		if got, err := sinceTime(tt.text, at); err != nil || !got.Equal(tt.want) {
			t.Errorf("%q: %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"0s", "-5s", "-1d", "d", "5", "yesterday"} {
		var usage usageError
		if _, err := sinceTime(text, at); !errors.As(err, &usage) {
			t.Errorf("%q: error %v, want a usage error", text, err)
		}
	}
}
