package probe

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/net/icmp"
)

// Only the very reply is one, and only an error about the very request is its.
func TestEchoesHandOut(t *testing.T) {
	host, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	mine := icmp.Echo{ID: 0x1234, Seq: 5, Data: []byte("0123456789abcdef")}
	changed := func(change func(*icmp.Echo)) icmp.Echo {
		e := mine
		e.Data = bytes.Clone(mine.Data)
		change(&e)
		return e
	}
	const nothing = "nothing"
	for _, tt := range []struct {
		name string
		from netip.Addr
		echo icmp.Echo
		err  error
		want string
	}{
		{"the reply", host, mine, nil, "<nil>"},
		{"from another host", other, mine, nil, nothing},
		{"another identifier", host, changed(func(e *icmp.Echo) { e.ID++ }), nil, nothing},
		{"another sequence number", host, changed(func(e *icmp.Echo) { e.Seq++ }), nil, nothing},
		{"other data", host, changed(func(e *icmp.Echo) { e.Data[15]++ }), nil, nothing},
		{"shorter data", host, changed(func(e *icmp.Echo) { e.Data = e.Data[:15] }), nil, nothing},
		{"longer data", host, changed(func(e *icmp.Echo) { e.Data = append(e.Data, 0) }), nil, nothing},
		{"no data", host, changed(func(e *icmp.Echo) { e.Data = nil }), nil, nothing},
		{"an error", host, mine, syscall.EHOSTUNREACH, "no route to host"},
		{"an error with the beginning of the request", host, changed(func(e *icmp.Echo) { e.Data = nil }), syscall.EHOSTUNREACH, "no route to host"},
		{"an error about another host", other, mine, syscall.EHOSTUNREACH, nothing},
		{"an error about another request", host, changed(func(e *icmp.Echo) { e.Seq++ }), syscall.EHOSTUNREACH, nothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e echoes
			w := &waitingEcho{host: host, echo: mine, answer: make(chan error, 1)}
			s := &sharedSocket{waiting: map[echoKey]*waitingEcho{keyOf(&mine): w}}
			for range 2 { // whoever says it twice waits for nobody
				e.answer(s, tt.from, &tt.echo, tt.err)
			}
			got := nothing
			select {
			case err := <-w.answer:
				if got = "<nil>"; err != nil {
					got = err.Error()
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("%v is not %v", err, tt.err)
				}
			default:
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
