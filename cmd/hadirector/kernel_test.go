package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
)

// poorKernel lacks some schedulers and notes what it is asked for.
type poorKernel struct {
	*ipvstest.Kernel
	lacks map[string]bool
	asked []string
	// closed counts the calls of Close.
	closed int
}

func (k *poorKernel) Close() error { k.closed++; return nil }

func (k *poorKernel) Supports(_ context.Context, scheduler, _ string) error {
	k.asked = append(k.asked, scheduler)
	if k.lacks[scheduler] {
		return fmt.Errorf("scheduler %s: missing", scheduler)
	}
	return nil
}

// Everything that the kernel lacks is told at once, each thing for the first virtual
// server that asks for it.
func TestNeedAsksForEverySchedulerOnce(t *testing.T) {
	text := ""
	for i, scheduler := range []string{"mh", "rr", "mh", "fo"} {
		text += fmt.Sprintf("[virtual_server.%c]\naddress = \"10.0.0.100:%d\"\nprotocol = \"tcp\"\nscheduler = %q\n", 'a'+i, 80+i, scheduler)
	}
	cfg, err := conf.Parse([]byte(text), "f")
	if err != nil {
		t.Fatal(err)
	}
	poor := &poorKernel{Kernel: ipvstest.New(), lacks: map[string]bool{"mh": true, "fo": true}}
	k := &lazyKernel{open: func() (kernel, error) { return poor, nil }}
	const want = "virtual server a: scheduler mh: missing\nvirtual server d: scheduler fo: missing"
	if err := k.need(t.Context(), cfg); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if diff := cmp.Diff([]string{"mh", "rr", "fo"}, poor.asked); diff != "" {
		t.Errorf("asked for, -want +got:\n%s", diff)
	}
	if ops := poor.Applied(); len(ops) > 0 {
		t.Errorf("applied %q", ops)
	}
}

// A director that only moves addresses runs on a kernel without IPVS.
func TestNeedOpensNothingWithoutVirtualServers(t *testing.T) {
	k := &lazyKernel{open: func() (kernel, error) { return nil, errors.New("opened") }}
	if err := k.need(t.Context(), &conf.Config{}); err != nil {
		t.Error(err)
	}
}

func TestTheKernelIsClosedAsOftenAsItWasOpened(t *testing.T) {
	var opened []*poorKernel
	k := &lazyKernel{open: func() (kernel, error) {
		opened = append(opened, &poorKernel{Kernel: ipvstest.New()})
		return opened[len(opened)-1], nil
	}}
	if _, _, err := k.Table(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Daemons(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.close(); err != nil {
		t.Error(err)
	}
	if len(opened) != 2 {
		t.Fatalf("opened %d times, want 2", len(opened))
	}
	for i, o := range opened {
		if o.closed != 1 {
			t.Errorf("the one opened as number %d was closed %d times", i+1, o.closed)
		}
	}
}
