//go:build integration

package router

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}
