package healthcheck

import (
	"net/netip"
	"testing"
)

func TestFill(t *testing.T) {
	web := Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")}
	six := Target{Addr: netip.MustParseAddrPort("[2001:db8::1]:0")}
	for _, tt := range []struct {
		target     Target
		text, want string
	}{
		{web, "/run/weights/{address}", "/run/weights/192.0.2.1"},
		{web, "{address}:{port}-{port}", "192.0.2.1:80-80"},
		{web, "{Address}{adress}{{port}}$port", "{Address}{adress}{80}$port"},
		{six, "{address} {port}", "2001:db8::1 0"},
		{Target{}, "{address} {port}", "{address} {port}"},
	} {
		if got := tt.target.Fill(tt.text); got != tt.want {
			t.Errorf("%v: %q becomes %q, want %q", tt.target.Addr, tt.text, got, tt.want)
		}
	}
}
