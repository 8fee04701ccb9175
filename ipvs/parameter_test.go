package ipvs_test

import (
	"testing"

	"github.com/hadirector/hadirector/ipvs"
)

func TestParameterCommand(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"net.ipv4.ip_forward", "1", "sysctl -w net.ipv4.ip_forward=1"},
		{"net.ipv4.vs.sync_threshold", "2\t0", "sysctl -w net.ipv4.vs.sync_threshold='2 0'"},
	} {
		if got := (ipvs.Parameter{Name: tt.name, Value: tt.value}).Command(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
