package netif

import "testing"

func TestJudgePrivate(t *testing.T) {
	const mark = "hadirector: connection sync"
	for _, tt := range []struct {
		name string
		have foundLink
		want verdict
	}{
		{"ours", foundLink{kind: "dummy", alias: mark, up: true, addresses: 1}, adopt},
		{"ours, a veth pair", foundLink{kind: "veth", alias: mark, up: true, addresses: 1}, adopt},
		{"ours, set down and without an address", foundLink{kind: "dummy", alias: mark}, adopt},
		{"begun", foundLink{kind: "dummy"}, adopt},
		{"another program's", foundLink{kind: "dummy", up: true}, leave},
		{"another program's, with an address", foundLink{kind: "dummy", addresses: 1}, leave},
		{"another alias", foundLink{kind: "dummy", alias: "uplink"}, leave},
		{"another kind with our mark", foundLink{kind: "bridge", alias: mark}, leave},
	} {
		if got := (PrivateLink{Alias: mark}).judge(tt.have); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
