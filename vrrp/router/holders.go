package router

import (
	"net/netip"
	"slices"
	"sync"
)

// holders keeps an address on its interface as long as any virtual router holds
// it. When an address moves from one virtual router to another in one change, the
// old one may release it after the new one has acquired it, and without this count
// the address would then be gone.
type holders struct {
	kernel Addresser

	// mu guards holding, which belongs to no single goroutine, and keeps a release
	// from passing an acquisition of the same address.
	mu      sync.Mutex
	holding map[held][]*member
}

type held struct {
	ifname string
	addr   netip.Prefix
}

func newHolders(kernel Addresser) *holders {
	return &holders{kernel: kernel, holding: make(map[held][]*member)}
}

func (h *holders) acquire(who *member, ifname string, addrs []netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mark(who, ifname, addrs)
	return h.kernel.Acquire(ifname, addrs)
}

// hold makes who a holder of addresses that it is about to acquire. A virtual
// router that then turns out not to be Master releases them.
func (h *holders) hold(who *member, ifname string, addrs []netip.Prefix) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mark(who, ifname, addrs)
}

func (h *holders) mark(who *member, ifname string, addrs []netip.Prefix) {
	for _, a := range addrs {
		k := held{ifname, a}
		if !slices.Contains(h.holding[k], who) {
			h.holding[k] = append(h.holding[k], who)
		}
	}
}

// release takes away the addresses that nobody else holds.
func (h *holders) release(who *member, ifname string, addrs []netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var free []netip.Prefix
	for _, a := range addrs {
		k := held{ifname, a}
		others := slices.DeleteFunc(h.holding[k], func(o *member) bool { return o == who })
		if len(others) > 0 {
			h.holding[k] = others
			continue
		}
		delete(h.holding, k)
		free = append(free, a)
	}
	if len(free) == 0 {
		return nil
	}
	return h.kernel.Release(ifname, free)
}
