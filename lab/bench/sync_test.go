package bench

import (
	"net/netip"
	"testing"
	"time"
)

func TestCountConnections(t *testing.T) {
	const text = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
UDP  0A000064:0050 rr 
  -> 0A000016:0050      Route   1      7          7         
TCP  0A000064:0050 rr 
  -> 0A000016:0050      Route   1      500        3         
  -> 0A000015:0050      Route   1      499        0         
TCP  0A000064:0007 rr 
  -> 0A000016:0007      Route   1      20         0         
FWM  00000001 rr 
  -> 0A000016:0007      Route   1      9          9         
`
	for address, want := range map[string]numbers{"10.0.0.100:80": {999, 3}, "10.0.0.100:7": {20, 0}, "10.0.0.101:80": {}} {
		if got, err := countConnections(text, netip.MustParseAddrPort(address)); got != want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", address, got, err, want)
		}
	}
	const broken = "TCP  0A000064:0050 rr\n  -> 0A000016:0050 Route 1 many 3\n"
	if n, err := countConnections(broken, netip.MustParseAddrPort("10.0.0.100:80")); err == nil {
		t.Errorf("%+v and no error", n)
	}
}

func TestCountAttempts(t *testing.T) {
	const text = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0AC80001 2710 0A000064 0007 0A000016 0007 SYN_RECV         57
TCP 0AC80001 2711 0A000064 0007 0A000015 0007 FIN_WAIT        117
TCP 0AC80001 2712 0A000064 0050 0A000016 0050 SYN_RECV         57
UDP 0AC80001 2712 0A000064 0007 0A000016 0007 UDP             257
`
	if got := countAttempts(text, netip.MustParseAddrPort("10.0.0.100:7")); got != 1 {
		t.Errorf("%d attempts, want 1", got)
	}
}

func TestInSync(t *testing.T) {
	for _, tt := range []struct {
		name  string
		peers []syncPeer
		want  bool
		text  string
	}{
		{"all", []syncPeer{{Name: "lb-b", State: "in sync", Here: 10, There: 10}}, true, "lb-b in sync, 10/10"},
		{"no peer", nil, false, "no peers"},
		{"too few as yet", []syncPeer{{Name: "lb-b", State: "in sync", Here: 9, There: 9}}, false, "lb-b in sync, 9/9"},
		{"not the same", []syncPeer{{Name: "lb-b", State: "in sync", Here: 11, There: 10}}, false, "lb-b in sync, 10/11"},
		{"another state", []syncPeer{{Name: "lb-b", State: "syncing", Why: "full sync", Here: 10, There: 10}}, false, "lb-b syncing, 10/10, full sync"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := syncStatus{Peers: tt.peers}
			if got := s.inSync(10); got != tt.want {
				t.Errorf("in sync: %t", got)
			}
			if got := s.String(); got != tt.text {
				t.Errorf("says %q, want %q", got, tt.text)
			}
		})
	}
}

func TestParsePeak(t *testing.T) {
	const text = "Name:\thadirector\nVmPeak:\t 1900000 kB\nVmHWM:\t   30000 kB\nVmRSS:\t   20000 kB\n"
	if got, err := parsePeak(text); got != 30720000 || err != nil {
		t.Errorf("%d, %v; want 30720000", got, err)
	}
	for _, text := range []string{"", "VmRSS:\t 1 kB\n", "VmHWM:\t much kB\n"} {
		if got, err := parsePeak(text); err == nil {
			t.Errorf("%q: %d and no error", text, got)
		}
	}
}

func TestProtectedAges(t *testing.T) {
	ms := time.Millisecond
	for _, tt := range []struct {
		name     string
		ages     []time.Duration
		want     [2]string
		positive bool
	}{
		{"all", []time.Duration{30 * ms, 10 * ms, 20 * ms}, [2]string{"20.0 ms", "30.0 ms"}, true},
		{"some never", []time.Duration{30 * ms, 10 * ms, 5000 * ms}, [2]string{"30.0 ms", "> 5s"}, true},
		{"never", []time.Duration{5000 * ms, 5000 * ms}, [2]string{"> 5s", "> 5s"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := protectedAges("talks", tt.ages, 5*time.Second)
			if got := [2]string{f[0].text, f[1].text}; got != tt.want || (f[0].value > 0) != tt.positive {
				t.Errorf("%+v, want %q", f, tt.want)
			}
		})
	}
}
