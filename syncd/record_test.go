package syncd_test

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A connection of each kind, with the lengths of their records.
var (
	tcp4 = syncd.Conn{
		Protocol: syncd.ProtocolTCP, Client: addr("10.0.0.1:40001"), Virtual: addr("10.0.0.100:80"), Real: addr("10.0.0.21:80"),
		Flags: syncd.ForwardDirect | syncd.FlagNoOutput, State: syncd.StateTCPEstablished, Timeout: 15 * time.Minute,
	} // 36 bytes
	udp6 = syncd.Conn{
		Protocol: syncd.ProtocolUDP, Client: addr("[fd00::1]:40001"), Virtual: addr("[fd00::100]:53"), Real: addr("[fd00::21]:53"),
		Flags: syncd.ForwardTunnel | syncd.FlagInactive, Timeout: 5 * time.Minute, FWMark: 10,
	} // 72 bytes
	shifted = syncd.Conn{
		Protocol: syncd.ProtocolTCP, Client: addr("10.0.0.1:40002"), Virtual: addr("10.0.0.100:21"), Real: addr("10.0.0.21:21"),
		Flags: syncd.FlagOutSeq, State: syncd.StateTCPEstablished, Timeout: 15 * time.Minute,
		Sequences: syncd.Sequences{Present: true, In: syncd.Sequence{Init: 1, Delta: 2, Previous: 3}, Out: syncd.Sequence{Init: 4, Delta: math.MaxUint32, Previous: 6}},
	} // 62 bytes
	call = syncd.Conn{
		Protocol: syncd.ProtocolUDP, Client: addr("10.0.0.1:0"), Virtual: addr("10.0.0.100:5060"), Real: addr("10.0.0.21:5060"),
		Flags: syncd.ForwardDirect | syncd.FlagTemplate, Timeout: 6 * time.Minute, Engine: "sip", EngineData: "1@example.org",
	} // 56 bytes
)

func record(t *testing.T, c syncd.Conn) []byte {
	t.Helper()
	b, err := syncd.AppendConn(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordsFollowEachOther(t *testing.T) {
	conns := []syncd.Conn{tcp4, udp6, shifted, call, tcp4}
	var b []byte
	for i, c := range conns {
		before := len(b)
		b = append(b, record(t, c)...)
		if n, want := len(b)-before, []int{36, 72, 62, 56, 36}[i]; n != want {
			t.Errorf("%s: %d bytes, want %d", c, n, want)
		}
	}
	for _, want := range conns {
		c, rest, err := syncd.ParseConn(b)
		if err != nil || c != want {
			t.Errorf("got %s, %v\nwant %s", c, err, want)
		}
		b = rest
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

func TestConnString(t *testing.T) {
	for want, c := range map[string]syncd.Conn{
		"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 15m0s dr,nooutput":                                    tcp4,
		"UDP [fd00::1]:40001 > [fd00::100]:53 > [fd00::21]:53 UDP 5m0s tun,inactive fwmark 10":                               udp6,
		"TCP 10.0.0.1:40002 > 10.0.0.100:21 > 10.0.0.21:21 ESTABLISHED 15m0s nat,out-seq in {1 2 3} out {4 4294967295 6}":    shifted,
		`UDP 10.0.0.1:0 > 10.0.0.100:5060 > 10.0.0.21:5060 NONE 6m0s dr,template sip "1@example.org"`:                        call,
		"protocol-99 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 state-7 15m0s forward-7,sync,hashed,in-seq,nfct,0x200000": {Protocol: 99, Client: tcp4.Client, Virtual: tcp4.Virtual, Real: tcp4.Real, State: 7, Timeout: 15 * time.Minute, Flags: 0x210467},
	} {
		if got := c.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// changed returns a copy of a record with one byte changed, and its size if it is cut or
// something is appended.
func changed(b []byte, at int, to byte) []byte {
	b = bytes.Clone(b)
	b[at] = to
	return b
}

func extended(b []byte, more ...byte) []byte {
	b = append(bytes.Clone(b), more...)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	return b
}

// Each check of ip_vs_process_message and ip_vs_proc_sync_conn.
func TestParseConnErrors(t *testing.T) {
	v4, v6, seq, pe := record(t, tcp4), record(t, udp6), record(t, shifted), record(t, call)
	seqParam := seq[36:]
	name := func(n int) []byte { return append([]byte{3, byte(n)}, strings.Repeat("n", n)...) }
	for _, tt := range []struct {
		name string
		b    []byte
		kind error
		want string
	}{
		{"nothing", nil, syncd.ErrMalformed, "malformed sync message: record of 0 bytes, want at least 36"},
		{"cut", v4[:35], syncd.ErrMalformed, "malformed sync message: record of 35 bytes, want at least 36"},
		{"larger than what is there", changed(v4, 3, 37), syncd.ErrMalformed, "malformed sync message: record of 37 bytes, 36 are left"},
		{"version of the record", changed(v4, 2, 0x10), syncd.ErrMalformed, "malformed sync message: record of version 1"},
		{"type", changed(v4, 0, 2), syncd.ErrMalformed, "malformed sync message: record of type 2"},
		{"no size", changed(v4, 3, 0), syncd.ErrMalformed, "malformed sync message: record of type 0 with 0 bytes, want at least 36"},
		{"IPv4 too short", changed(v4, 3, 35), syncd.ErrMalformed, "malformed sync message: record of type 0 with 35 bytes, want at least 36"},
		{"IPv6 too short", changed(v6, 3, 71), syncd.ErrMalformed, "malformed sync message: record of type 1 with 71 bytes, want at least 72"},
		{"half a parameter", extended(v4, 1), syncd.ErrMalformed, "malformed sync message: half a parameter"},
		{"empty parameter", extended(v4, 0x42, 0), syncd.ErrMalformed, "malformed sync message: parameter 2 of 0 bytes, 0 are left"},
		{"long parameter", extended(v4, 2, 3, 0, 0), syncd.ErrMalformed, "malformed sync message: parameter 2 of 3 bytes, 2 are left"},
		{"short sequence numbers", extended(v4, 1, 1, 0), syncd.ErrMalformed, "malformed sync message: sequence numbers of 1 bytes, want 24"},
		{"sequence numbers twice", extended(seq, seqParam...), syncd.ErrMalformed, "malformed sync message: parameter 1 twice"},
		{"engine data twice", extended(pe, 2, 1, 'x'), syncd.ErrMalformed, "malformed sync message: parameter 2 twice"},
		{"engine twice, once as optional", extended(pe, 0x43, 1, 'x'), syncd.ErrMalformed, "malformed sync message: parameter 3 twice"},
		{"long engine", extended(v4, name(17)...), syncd.ErrMalformed, "malformed sync message: persistence engine of 17 bytes, at most 16"},
		{"unknown parameter", extended(v4, 4, 1, 0), syncd.ErrNotTaken, "not taken by the kernel: unknown parameter 4"},
		{"data without engine", extended(v4, 2, 1, 'x'), syncd.ErrNotTaken, "not taken by the kernel: data of a persistence engine without its name"},
		{"protocol", changed(v4, 1, 1), syncd.ErrNotTaken, "not taken by the kernel: connection of protocol-1"},
		{"state of TCP", changed(v4, 9, 11), syncd.ErrNotTaken, "not taken by the kernel: TCP has no state 11"},
		{"state of UDP", changed(v6, 9, 1), syncd.ErrNotTaken, "not taken by the kernel: UDP has no state 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := append(bytes.Clone(tt.b), v4...)
			if tt.kind == syncd.ErrMalformed {
				b = tt.b
			}
			_, rest, err := syncd.ParseConn(b)
			if !errors.Is(err, tt.kind) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if left := len(rest); tt.kind == syncd.ErrNotTaken && left != len(v4) || tt.kind == syncd.ErrMalformed && left != 0 {
				t.Errorf("%d bytes are left to be read on", left)
			}
		})
	}
}

// What the kernel does not look at.
func TestParseConnTakes(t *testing.T) {
	v4, v6, pe := record(t, tcp4), record(t, udp6), record(t, call)
	named := call
	named.Engine, named.EngineData = "n", "d"
	for _, tt := range []struct {
		name string
		b    []byte
		want syncd.Conn
	}{
		{"further bits of an IPv6 type", changed(v6, 0, 3), udp6},
		{"optional parameter", extended(v4, 0x44, 2, 0, 0), tcp4},
		{"engine without data", extended(v4, 3, 3, 's', 'i', 'p'), tcp4},
		{"engine that C ends", extended(changed(pe, 3, 36)[:36], 2, 1, 'd', 0x43, 3, 'n', 0, 'x'), named},
		{"template of another protocol and state", changed(changed(pe, 1, 99), 9, 77), func() syncd.Conn {
			c := call
			c.Protocol, c.State = 99, 77
			return c
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, rest, err := syncd.ParseConn(tt.b)
			if err != nil || len(rest) > 0 || c != tt.want {
				t.Errorf("got %s, %v, %d bytes left; want %s", c, err, len(rest), tt.want)
			}
		})
	}
}

func TestAppendConnErrors(t *testing.T) {
	for want, change := range map[string]func(*syncd.Conn){
		"record of TCP [fd00::1]:1 to 10.0.0.100:80: addresses are not of one family":                             func(c *syncd.Conn) { c.Client = addr("[fd00::1]:1") },
		"record of TCP [::ffff:10.0.0.1]:1 to 10.0.0.100:80: addresses are not of one family":                     func(c *syncd.Conn) { c.Client = addr("[::ffff:10.0.0.1]:1") },
		"record of TCP invalid AddrPort to 10.0.0.100:80: addresses are not of one family":                        func(c *syncd.Conn) { c.Client = netip.AddrPort{} },
		"record of TCP 10.0.0.1:40001 to 10.0.0.100:80: negative timeout -1s":                                     func(c *syncd.Conn) { c.Timeout = -time.Second },
		"record of TCP 10.0.0.1:40001 to 10.0.0.100:80: persistence engine without data, or data without engine":  func(c *syncd.Conn) { c.Engine = "sip" },
		`record of TCP 10.0.0.1:40001 to 10.0.0.100:80: persistence engine "s\x00"`:                               func(c *syncd.Conn) { c.Engine, c.EngineData = "s\x00", "x" },
		`record of TCP 10.0.0.1:40001 to 10.0.0.100:80: persistence engine "nnnnnnnnnnnnnnnnn"`:                   func(c *syncd.Conn) { c.Engine, c.EngineData = strings.Repeat("n", 17), "x" },
		"record of TCP 10.0.0.1:40001 to 10.0.0.100:80: 256 bytes of a persistence engine's data, at most 255":    func(c *syncd.Conn) { c.Engine, c.EngineData = "sip", strings.Repeat("x", 256) },
		"record of protocol-1 10.0.0.1:40001 to 10.0.0.100:80: not taken by the kernel: connection of protocol-1": func(c *syncd.Conn) { c.Protocol = 1 },
		"record of TCP 10.0.0.1:40001 to 10.0.0.100:80: not taken by the kernel: TCP has no state 11":             func(c *syncd.Conn) { c.State = 11 },
	} {
		c := tcp4
		change(&c)
		if b, err := syncd.AppendConn([]byte("before"), c); err == nil || err.Error() != want || string(b) != "before" {
			t.Errorf("got  %v, %q\nwant %s", err, b, want)
		}
	}
}

func TestTimeoutOnTheWire(t *testing.T) {
	for _, tt := range []struct{ timeout, want time.Duration }{
		{0, 0},
		{1, time.Second},
		{time.Second, time.Second},
		{1100 * time.Millisecond, 2 * time.Second},
		{(math.MaxUint32 + 5) * time.Second, math.MaxUint32 * time.Second},
		{math.MaxInt64, math.MaxUint32 * time.Second},
	} {
		c := tcp4
		c.Timeout = tt.timeout
		if got, _, err := syncd.ParseConn(record(t, c)); err != nil || got.Timeout != tt.want {
			t.Errorf("%s arrives as %s, %v; want %s", tt.timeout, got.Timeout, err, tt.want)
		}
	}
}

func TestStatesByName(t *testing.T) {
	for _, tt := range []struct {
		protocol syncd.Protocol
		template bool
		names    []string
	}{
		{syncd.ProtocolTCP, false, []string{"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"}},
		{syncd.ProtocolUDP, false, []string{"UDP"}},
		{syncd.ProtocolSCTP, false, []string{"NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED", "ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED"}},
		{syncd.ProtocolIP, true, []string{"NONE", "ASSURED"}},
	} {
		for i, name := range tt.names {
			s, err := syncd.ParseState(tt.protocol, tt.template, name)
			c := syncd.Conn{Protocol: tt.protocol, State: s}
			if tt.template {
				c.Flags = syncd.FlagTemplate
			}
			if err != nil || int(s) != i || c.StateName() != name {
				t.Errorf("%s %s: state %d, %v, which is %s", tt.protocol, name, s, err, c.StateName())
			}
		}
	}
	if _, err := syncd.ParseState(syncd.ProtocolUDP, false, "NONE"); err == nil || err.Error() != `state "NONE": UDP has no such state` {
		t.Errorf("got %v", err)
	}
	if _, err := syncd.ParseState(syncd.ProtocolUDP, true, "UDP"); err == nil || err.Error() != `state "UDP" of a template: want NONE or ASSURED` {
		t.Errorf("got %v", err)
	}
	names := []string{"IP", "TCP", "UDP", "ESP", "AH", "SCTP"}
	for _, name := range names {
		if p, err := syncd.ParseProtocol(name); err != nil || p.String() != name {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	if _, err := syncd.ParseProtocol("ICMP"); err == nil || err.Error() != `protocol "ICMP": IPVS knows no such protocol` {
		t.Errorf("got %v", err)
	}
}

func FuzzParseConn(f *testing.F) {
	for _, c := range []syncd.Conn{tcp4, udp6, shifted, call} {
		b, _ := syncd.AppendConn(nil, c)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, rest, err := syncd.ParseConn(b)
		if err != nil {
			if errors.Is(err, syncd.ErrMalformed) == errors.Is(err, syncd.ErrNotTaken) {
				t.Fatalf("%v is not one of the two kinds", err)
			}
			return
		}
		if !bytes.HasSuffix(b, rest) || len(rest) > len(b)-36 {
			t.Fatalf("%d of %d bytes are left", len(rest), len(b))
		}
		built, err := syncd.AppendConn(nil, c)
		if err != nil {
			t.Fatalf("%s was parsed and cannot be built: %v", c, err)
		}
		again, rest, err := syncd.ParseConn(slices.Concat(built, []byte("more")))
		if err != nil || again != c || string(rest) != "more" {
			t.Fatalf("%s became %s, %v, with %q left", c, again, err, rest)
		}
	})
}
