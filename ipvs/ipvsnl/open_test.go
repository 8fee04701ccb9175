package ipvsnl

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindFamily(t *testing.T) {
	absent := fmt.Errorf("look up netlink family IPVS: %w", unix.ENOENT)
	noModule := errors.New("modprobe ip_vs: not found")
	for _, tt := range []struct {
		name    string
		lookups []error // one per lookup; nil finds the family
		load    error
		want    error
		text    string
		loads   int
	}{
		{"there", []error{nil}, nil, nil, "", 0},
		{"there after loading", []error{absent, nil}, nil, nil, "", 1},
		{"there although modprobe failed", []error{absent, nil}, noModule, nil, "", 1},
		{"absent", []error{absent, absent}, nil, ErrNoIPVS,
			"this kernel has no IPVS: the netlink family IPVS is absent and the module ip_vs cannot be loaded", 1},
		{"no module", []error{absent, absent}, noModule, ErrNoIPVS,
			"this kernel has no IPVS: the netlink family IPVS is absent and the module ip_vs cannot be loaded (modprobe ip_vs: not found)", 1},
		{"another error", []error{unix.EMFILE}, nil, unix.EMFILE, "too many open files", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			loads := 0
			id, err := findFamily(func() (uint16, error) {
				err := tt.lookups[0]
				tt.lookups = tt.lookups[1:]
				if err != nil {
					return 0, err
				}
				return 33, nil
			}, func() error { loads++; return tt.load })
			if !errors.Is(err, tt.want) || err == nil && id != 33 || err != nil && err.Error() != tt.text {
				t.Errorf("got %d, %v, want %v", id, err, tt.want)
			}
			if loads != tt.loads || len(tt.lookups) > 0 {
				t.Errorf("loaded %d times, want %d; lookups left: %d", loads, tt.loads, len(tt.lookups))
			}
		})
	}
}
