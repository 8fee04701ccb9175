package load

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func TestClient(t *testing.T) {
	for n, want := range map[int]string{
		0: "10.200.0.1:10000", 999: "10.200.0.1:10999", 1000: "10.200.0.2:10000", 255_000: "10.200.1.0:10000",
	} {
		if got := client(n).String(); got != want {
			t.Errorf("client %d is %s, want %s", n, got, want)
		}
	}
}

func TestIPHeader(t *testing.T) {
	s := segment{from: netip.MustParseAddrPort("10.200.0.1:10000"), to: netip.MustParseAddrPort("10.0.0.100:80"), data: "hello\n"}
	const want = "4500002e000000004006" + "0000" + "0ac80001" + "0a000064"
	if got := hex.EncodeToString(ipHeader(s)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
