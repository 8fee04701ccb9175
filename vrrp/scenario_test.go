package vrrp_test

import (
	"testing"

	"github.com/hadirector/hadirector/internal/golden"
	"github.com/hadirector/hadirector/vrrp/vrrptest"
)

// TestScenarios plays the scripts in testdata on a simulated segment.
func TestScenarios(t *testing.T) {
	golden.Run(t, "testdata/*.txt", func(t *testing.T, script string) string {
		transcript, err := vrrptest.Run(script)
		if err != nil {
			t.Error(err)
		}
		return transcript
	})
}
