package peers

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"complete", func(*Options) {}, ""},
		{"no peers yet", func(o *Options) { o.Peers = nil }, ""},
		{"no name", func(o *Options) { o.Self = "" }, `director name "" has 0 bytes, want 1 to 255`},
		{"no label", func(o *Options) { o.Label = "" }, `cluster label "" has 0 bytes, want 1 to 255`},
		{"no port", func(o *Options) { o.Port = 0 }, "port is 0"},
		{"no key", func(o *Options) { o.Keys = [][32]byte{{}} }, "key is empty"},
		{"any address", func(o *Options) { o.Bind = addr("0.0.0.0") }, "address of director lb-a is 0.0.0.0, want one of its own"},
		{"peer without address", func(o *Options) { o.Peers["lb-b"] = addr("") }, "address of peer lb-b is invalid IP, want one of its own"},
		{"peer with our address", func(o *Options) { o.Peers["lb-b"] = addr("::ffff:10.0.0.1") },
			"peers lb-b and lb-a have the same address ::ffff:10.0.0.1"},
		{"peer with our name", func(o *Options) { o.Peers["lb-a"] = addr("10.0.0.3") }, `peer has the name "lb-a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newCluster(t, "lb-a", "lb-b").options(0)
			o.Bind, o.Peers["lb-b"] = addr("10.0.0.1"), addr("10.0.0.2")
			tt.change(&o)
			_, err := New(o)
			if got := fmt.Sprint(err); got != tt.want && (tt.want != "" || err != nil) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}
