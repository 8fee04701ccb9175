package main

import (
	"context"
	"sync"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// lazyKernel opens the kernel's IPVS when it is first needed, so that a director
// that only moves addresses runs on a kernel without it. An error of opening is
// returned and the next call tries again.
type lazyKernel struct {
	open func() (director.Kernel, error)

	mu     sync.Mutex // guards opened: a reload opens what the reconciler uses
	opened director.Kernel
}

func (k *lazyKernel) get() (director.Kernel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opened == nil {
		opened, err := k.open()
		if err != nil {
			return nil, err
		}
		k.opened = opened
	}
	return k.opened, nil
}

// need opens IPVS for a configuration that cannot do without.
func (k *lazyKernel) need(cfg *conf.Config) error {
	if len(cfg.VirtualServers) == 0 {
		return nil
	}
	_, err := k.get()
	return err
}

func (k *lazyKernel) Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error) {
	kernel, err := k.get()
	if err != nil {
		return nil, nil, err
	}
	return kernel.Table(ctx)
}

func (k *lazyKernel) Apply(ctx context.Context, op ipvs.Op) error {
	kernel, err := k.get()
	if err != nil {
		return err
	}
	return kernel.Apply(ctx, op)
}

func (k *lazyKernel) Daemons(ctx context.Context) ([]syncd.Daemon, error) {
	kernel, err := k.get()
	if err != nil {
		return nil, err
	}
	return kernel.Daemons(ctx)
}

func (k *lazyKernel) ApplyDaemon(ctx context.Context, op syncd.Op) error {
	kernel, err := k.get()
	if err != nil {
		return err
	}
	return kernel.ApplyDaemon(ctx, op)
}
