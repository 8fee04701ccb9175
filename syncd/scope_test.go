package syncd_test

import (
	"testing"

	"github.com/hadirector/hadirector/syncd"
)

// scopes are of each kind of service, with each scope.
var scopes = syncd.NewScopes([]syncd.ScopeRule{
	{Protocol: syncd.ProtocolTCP, Virtual: addr("10.0.0.100:80"), Scope: syncd.ScopeAll},
	{Protocol: syncd.ProtocolTCP, Virtual: addr("10.0.0.100:443"), Scope: syncd.ScopeEstablished},
	{Protocol: syncd.ProtocolSCTP, Virtual: addr("10.0.0.100:443"), Scope: syncd.ScopeEstablished},
	{Protocol: syncd.ProtocolUDP, Virtual: addr("10.0.0.100:443"), Scope: syncd.ScopeEstablished},
	{Protocol: syncd.ProtocolTCP, Virtual: addr("[fd00::100]:443"), Scope: syncd.ScopeEstablished},
	{Protocol: syncd.ProtocolUDP, Virtual: addr("10.0.0.100:514"), Scope: syncd.ScopeOff},
	{Protocol: syncd.ProtocolTCP, Virtual: addr("10.0.0.101:0"), Scope: syncd.ScopeTemplates},
	{Protocol: syncd.ProtocolTCP, Virtual: addr("10.0.0.101:22"), Scope: syncd.ScopeOff},
	{Protocol: syncd.ProtocolTCP, Virtual: addr("10.0.0.101:80"), Scope: syncd.ScopeAll},
	{Protocol: syncd.ProtocolTCP, Virtual: addr("10.0.0.102:21"), Scope: syncd.ScopeOff},
	{Protocol: syncd.ProtocolTCP, Virtual: addr("[fd00::101]:0"), Scope: syncd.ScopeOff},
	{FWMark: 10, Scope: syncd.ScopeTemplates},
	{FWMark: 10, IPv6: true, Scope: syncd.ScopeOff},
	{FWMark: 11, IPv6: true, Scope: syncd.ScopeEstablished},
	{FWMark: 0x68000001, Scope: syncd.ScopeAll},
}, syncd.Marks{First: 0x68000000, Last: 0x68ffffff})

// What the peers know of a connection.
type knowledge uint8

const (
	notAsked knowledge = iota // it must not matter
	known
	unknown
)

func TestScopesPass(t *testing.T) {
	const (
		tcp, udp, sctp = syncd.ProtocolTCP, syncd.ProtocolUDP, syncd.ProtocolSCTP
		template       = syncd.FlagTemplate | syncd.FlagInactive
		inactive       = syncd.FlagInactive

		established, finWait, timeWait  = 1, 4, 5
		initialized, associated, closed = 2, 8, 13
	)
	for _, tt := range []struct {
		name     string
		protocol syncd.Protocol
		virtual  string
		fwmark   uint32
		flags    syncd.Flags
		state    syncd.State
		peers    knowledge
		want     bool
	}{
		{"all: established", tcp, "10.0.0.100:80", 0, 0, established, notAsked, true},
		{"all: ended", tcp, "10.0.0.100:80", 0, inactive, timeWait, notAsked, true},
		{"all: template", tcp, "10.0.0.100:80", 0, template, 0, notAsked, true},

		{"established: established", tcp, "10.0.0.100:443", 0, 0, established, notAsked, true},
		{"established: ends", tcp, "10.0.0.100:443", 0, inactive, finWait, known, true},
		{"established: ends, and never was", tcp, "10.0.0.100:443", 0, inactive, finWait, unknown, false},
		{"established: template", tcp, "10.0.0.100:443", 0, template, 0, notAsked, true},
		{"established: IPv6", tcp, "[fd00::100]:443", 0, 0, established, notAsked, true},
		{"established: IPv6, never was", tcp, "[fd00::100]:443", 0, inactive, timeWait, unknown, false},
		{"established: SCTP begins", sctp, "10.0.0.100:443", 0, inactive, initialized, unknown, false},
		{"established: SCTP's state 1 is another", sctp, "10.0.0.100:443", 0, inactive, 1, unknown, false},
		{"established: SCTP", sctp, "10.0.0.100:443", 0, 0, associated, notAsked, true},
		{"established: TCP's state 8 is another", tcp, "10.0.0.100:443", 0, inactive, 8, unknown, false},
		{"established: SCTP ends", sctp, "10.0.0.100:443", 0, inactive, closed, known, true},
		{"established: UDP", udp, "10.0.0.100:443", 0, 0, 0, notAsked, false},
		{"established: UDP's template", udp, "10.0.0.100:443", 0, template, 0, notAsked, true},

		{"off", udp, "10.0.0.100:514", 0, 0, 0, notAsked, false},
		{"off: template", udp, "10.0.0.100:514", 0, template, 0, notAsked, false},

		{"every port: template", tcp, "10.0.0.101:0", 0, template, 0, notAsked, true},
		{"every port: connection", tcp, "10.0.0.101:25", 0, 0, established, notAsked, false},
		{"every port: one that is off", tcp, "10.0.0.101:22", 0, 0, established, notAsked, false},
		{"every port: one that has all", tcp, "10.0.0.101:80", 0, 0, established, notAsked, true},
		{"every port: of another protocol", udp, "10.0.0.101:25", 0, 0, 0, notAsked, true},
		{"every port: IPv6", tcp, "[fd00::101]:25", 0, 0, established, notAsked, false},
		{"every port: IPv6, template", tcp, "[fd00::101]:0", 0, template, 0, notAsked, false},

		{"FTP: connection", tcp, "10.0.0.102:21", 0, 0, established, notAsked, false},
		{"FTP: passive data", tcp, "10.0.0.102:40000", 0, 0, established, notAsked, false},
		{"FTP: active data", tcp, "10.0.0.102:20", 0, 0, established, notAsked, false},
		{"FTP: a port that no server chooses", tcp, "10.0.0.102:1023", 0, 0, established, notAsked, true},
		{"FTP: another protocol", udp, "10.0.0.102:40000", 0, 0, 0, notAsked, true},
		{"FTP: template, which has no port", tcp, "10.0.0.102:0", 0, template, 0, notAsked, false},

		{"mark: connection", tcp, "10.0.0.100:8080", 10, 0, established, notAsked, false},
		{"mark: before the port", tcp, "10.0.0.100:80", 10, 0, established, notAsked, false},
		{"mark: template, which has it in the virtual address", syncd.ProtocolIP, "0.0.0.10:0", 10, template, 0, notAsked, true},
		{"mark: template from a message without marks", syncd.ProtocolIP, "0.0.0.10:0", 0, template, 0, notAsked, true},
		{"mark: IPv6", tcp, "[fd00::100]:443", 10, 0, established, notAsked, false},
		{"mark: IPv6, template", syncd.ProtocolIP, "[0:a::]:0", 10, template, 0, notAsked, false},
		{"mark: IPv6, template of another mark", syncd.ProtocolIP, "[0:b::]:0", 11, template, 0, notAsked, true},
		{"mark of the other family", tcp, "10.0.0.100:443", 11, inactive, finWait, unknown, false},
		{"mark without a service", tcp, "10.0.0.100:443", 12, inactive, finWait, unknown, false},

		{"probe", tcp, "10.0.0.100:80", 0x68000000, 0, established, notAsked, false},
		{"probe of the last mark", tcp, "10.0.0.100:80", 0x68ffffff, 0, established, notAsked, false},
		{"probe, whatever the rules say", tcp, "10.0.0.100:80", 0x68000001, 0, established, notAsked, false},
		{"mark before the probes'", tcp, "10.0.0.100:80", 0x67ffffff, 0, established, notAsked, true},
		{"mark behind the probes'", tcp, "10.0.0.100:80", 0x69000000, 0, established, notAsked, true},

		{"foreign", tcp, "10.0.0.100:8080", 0, inactive, finWait, notAsked, true},
		{"foreign mark", syncd.ProtocolIP, "0.0.0.12:0", 12, template, 0, notAsked, true},
		{"foreign, beside a port 0 of the other family", udp, "[fd00::102]:53", 0, 0, 0, notAsked, true},

		{"tick", tcp, "169.254.88.50:8848", 0, inactive, timeWait, notAsked, false},
		{"another port of the tick's address", tcp, "169.254.88.50:80", 0, 0, established, notAsked, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := syncd.Conn{Protocol: tt.protocol, Virtual: addr(tt.virtual), FWMark: tt.fwmark, Flags: tt.flags, State: tt.state}
			got := scopes.Passes(c, func(asked syncd.Conn) bool {
				if tt.peers == notAsked || asked != c {
					t.Errorf("asked whether %s is known", asked)
				}
				return tt.peers == known
			})
			if got != tt.want {
				t.Errorf("%s passes: %t, want %t", c, got, tt.want)
			}
		})
	}
}

// Without a rule everything passes but what no peer can use.
func TestScopesZero(t *testing.T) {
	for _, s := range []syncd.Scopes{{}, syncd.NewScopes(nil)} {
		if !s.Passes(tcp4, nil) || !s.Passes(udp6, nil) {
			t.Error("a connection does not pass")
		}
		tick := tcp4
		tick.Virtual = syncd.TickService
		if s.Passes(tick, nil) {
			t.Error("the tick flow passes")
		}
	}
}

// It is asked of every record, 50 000 times a second.
func TestScopesAllocateNothing(t *testing.T) {
	ended := tcp4
	ended.Virtual, ended.State = addr("10.0.0.100:443"), 4
	mark := tcp4
	mark.Protocol, mark.Virtual, mark.Flags = syncd.ProtocolIP, addr("0.0.0.10:0"), syncd.FlagTemplate
	table := map[syncd.Conn]bool{ended: true}
	isKnown := func(c syncd.Conn) bool { return table[c] }
	if n := testing.AllocsPerRun(100, func() {
		for _, c := range [...]syncd.Conn{tcp4, udp6, shifted, ended, mark} {
			if !scopes.Passes(c, isKnown) && c != udp6 {
				t.Errorf("%s does not pass", c)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScopesPass(b *testing.B) {
	for b.Loop() {
		scopes.Passes(tcp4, nil)
	}
}

func TestScopeNames(t *testing.T) {
	for s, want := range map[syncd.Scope]string{0: "all", 1: "established", 2: "templates", 3: "off", 4: "scope-4"} {
		if got := s.String(); got != want {
			t.Errorf("scope %d is %q, want %q", uint8(s), got, want)
		}
	}
}
