package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// kernel is the kernel's IPVS.
type kernel interface {
	director.Kernel
	// Supports fails if the kernel lacks a scheduler or, unless it is empty, a
	// persistence engine.
	Supports(ctx context.Context, scheduler, engine string) error
	Close() error
}

// lazyKernel opens the kernel's IPVS when it is first needed, so that a director
// that only moves addresses runs on a kernel without it. An error of opening is
// returned and the next call tries again.
//
// It is opened twice, because a client's calls wait for each other: reading a long table
// takes long, and changes must not wait for it.
type lazyKernel struct {
	open func() (kernel, error)

	mu     sync.Mutex // guards what follows: a reload opens what the reconciler uses
	opened kernel
	reader kernel
}

func (k *lazyKernel) get() (kernel, error) { return k.getAs(&k.opened) }

func (k *lazyKernel) getAs(as *kernel) (kernel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if *as == nil {
		opened, err := k.open()
		if err != nil {
			return nil, err
		}
		*as = opened
	}
	return *as, nil
}

// need opens IPVS for a configuration that cannot do without, and fails if the kernel
// lacks what a virtual server asks for. It changes nothing.
func (k *lazyKernel) need(ctx context.Context, cfg *conf.Config) error {
	if len(cfg.VirtualServers) == 0 {
		return nil
	}
	opened, err := k.get()
	if err != nil {
		return err
	}
	type modules struct{ scheduler, engine string }
	asked := make(map[modules]bool)
	var errs []error
	for _, vs := range cfg.VirtualServers {
		m := modules{vs.Service.Scheduler, vs.Service.Engine}
		if asked[m] {
			continue
		}
		asked[m] = true
		if err := opened.Supports(ctx, m.scheduler, m.engine); err != nil {
			errs = append(errs, fmt.Errorf("virtual server %s: %w", vs.Name, err))
		}
	}
	return errors.Join(errs...)
}

// close closes what has been opened.
func (k *lazyKernel) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for _, opened := range []kernel{k.opened, k.reader} {
		if opened != nil {
			errs = append(errs, opened.Close())
		}
	}
	return errors.Join(errs...)
}

func (k *lazyKernel) Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error) {
	reader, err := k.getAs(&k.reader)
	if err != nil {
		return nil, nil, err
	}
	return reader.Table(ctx)
}

func (k *lazyKernel) Refresh(ctx context.Context, last ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	reader, err := k.getAs(&k.reader)
	if err != nil {
		return nil, nil, err
	}
	return reader.Refresh(ctx, last)
}

func (k *lazyKernel) ApplyAll(ctx context.Context, ops []ipvs.Op) []error {
	opened, err := k.get()
	if err != nil {
		return slices.Repeat([]error{err}, len(ops))
	}
	return opened.ApplyAll(ctx, ops)
}

func (k *lazyKernel) Daemons(ctx context.Context) ([]syncd.Daemon, error) {
	opened, err := k.get()
	if err != nil {
		return nil, err
	}
	return opened.Daemons(ctx)
}

func (k *lazyKernel) ApplyDaemon(ctx context.Context, op syncd.Op) error {
	opened, err := k.get()
	if err != nil {
		return err
	}
	return opened.ApplyDaemon(ctx, op)
}
