package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// Stamp is the time of an advertisement as its trailer has it, and what tells apart
// those of one time: seconds since 1970 in the upper 32 bits, 1/65536 s in the next
// 16, a counter in the last. Stamps are compared as serial numbers (RFC 1982), so
// nothing happens in 2106.
type Stamp uint64

// stampAt is the first Stamp of a time.
func stampAt(t time.Time) Stamp {
	return Stamp(uint32(t.Unix()))<<32 | Stamp(t.Nanosecond())<<16/Stamp(time.Second)<<16
}

// after tells whether s is newer than t.
func (s Stamp) after(t Stamp) bool { return int64(s-t) > 0 }

// sub returns how much later s is than t.
func (s Stamp) sub(t Stamp) time.Duration {
	d := int64(s - t)
	return time.Duration(d>>32)*time.Second + time.Duration(uint32(d)>>16)*time.Second>>16
}

const (
	// minWindow and maxWindow bound the window that follows from the interval.
	minWindow = 5 * time.Second
	maxWindow = 5 * time.Minute
	// maxHeard bounds the senders that are remembered. Only who has a key becomes one.
	maxHeard = 64
)

// window is how far the clocks may be apart for advertisements of an interval.
func (h *HMAC) window(interval time.Duration) time.Duration {
	if h.Window != 0 {
		return h.Window
	}
	return min(max(3*interval, minWindow), maxWindow)
}

// Stamper gives the advertisements of one virtual router their stamps. The zero value
// has given none. Because they follow the clock, those after a restart are newer.
type Stamper struct{ last Stamp }

// Next returns the stamp of an advertisement that is sent now. Each is newer than the
// one before, also when the clock was set back: unless by more than the window, where
// receivers would call them stale.
func (s *Stamper) Next(now time.Time, h *HMAC, interval time.Duration) Stamp {
	clock := stampAt(now)
	if clock.after(s.last) || !h.Monotonic && s.last.sub(clock) > h.window(interval) {
		s.last = clock
	} else {
		s.last++
	}
	return s.last
}

// Verifier decodes advertisements for one virtual router with an [HMAC], and
// remembers the newest of each sender. The zero value has heard nobody.
type Verifier struct {
	heard map[netip.Addr]newest
}

// newest is the newest stamp of a sender, and when it arrived.
type newest struct {
	stamp Stamp
	at    time.Time
}

// Parse is [ParseAdvert] for a datagram that arrives now, with or without a trailer as
// the mode says. A nil HMAC makes it the same as ParseAdvert.
//
// What is refused changes nothing.
func (v *Verifier) Parse(now time.Time, b []byte, hdr Header, h *HMAC) (Advert, error) {
	a, trailer, err := parse(b, hdr, h != nil)
	if err != nil || h == nil {
		return a, err
	}
	src := plain(hdr.Src)
	if len(trailer) == 0 {
		if h.Mode == HMACEnforce {
			return Advert{}, fmt.Errorf("%w: %v does not sign", ErrHMAC, src)
		}
		return a, nil
	}
	stamp, key, err := stampOf(trailer)
	if err != nil {
		return Advert{}, err
	}
	window := h.window(a.Interval)
	// Before the HMAC, because it is cheap.
	if skew := stamp.sub(stampAt(now)); !h.Monotonic && skew.Abs() > window {
		return Advert{}, fmt.Errorf("%w: that of %v is %v from ours, %v is allowed", ErrStale, src, skew.Round(time.Millisecond), window)
	}
	if err := h.verify(b, src, key); err != nil {
		return Advert{}, err
	}
	last, known := v.heard[src]
	// A stamp outside the window protects nothing that the window does not, and would
	// lock out a sender whose clock was wrong and is right again.
	if known && !h.Monotonic && last.stamp.sub(stampAt(now)).Abs() > window {
		known = false
	}
	if known && !stamp.after(last.stamp) {
		return Advert{}, fmt.Errorf("%w: %v has sent it, or a newer one, before", ErrReplay, src)
	}
	v.remember(src, newest{stamp, now})
	return a, nil
}

// remember notes the newest stamp of a sender, in place of the one that has been
// silent the longest if there are too many.
func (v *Verifier) remember(src netip.Addr, n newest) {
	if v.heard == nil {
		v.heard = make(map[netip.Addr]newest)
	}
	if _, known := v.heard[src]; !known && len(v.heard) == maxHeard {
		var oldest netip.Addr
		for a, n := range v.heard {
			if !oldest.IsValid() || n.at.Before(v.heard[oldest].at) {
				oldest = a
			}
		}
		delete(v.heard, oldest)
	}
	v.heard[src] = n
}
