package ipvsnl

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSupports(t *testing.T) {
	f := newFake()
	c := f.client(t)
	for _, tt := range []struct {
		name, scheduler, engine string
		answer                  error // instead of the fake's
		is                      error
		want                    string
	}{
		{"a scheduler", "mh", "", nil, nil, ""},
		{"a scheduler and an engine", "rr", "sip", nil, nil, ""},
		{"no such scheduler", "hm", "sip", nil, ErrNoModule, "scheduler hm, module ip_vs_hm: the kernel does not have it and cannot load it"},
		{"no such engine", "rr", "rtp", nil, ErrNoModule, "persistence engine rtp, module ip_vs_pe_rtp: the kernel does not have it and cannot load it"},
		{"a kernel without IPv6", "hm", "", unix.EAFNOSUPPORT, nil, ""},
		{"another refusal", "mh", "", unix.EPERM, unix.EPERM, "ask the kernel for scheduler mh: operation not permitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.intercept = func(uint8) ([][]byte, error) { return nil, tt.answer }
			err := c.Supports(t.Context(), tt.scheduler, tt.engine)
			if !errors.Is(err, tt.is) || err != nil && err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if s := f.String(); s != "" {
				t.Errorf("the question made %s", s)
			}
		})
	}
}
