package router

import (
	"errors"
	"log/slog"
	"net/netip"

	"github.com/hadirector/hadirector/vrrp"
)

// Options are what a [Set] works with. All are required, but Logger, and Devices,
// Routing and Filter as long as no virtual router asks for them.
type Options struct {
	// Open opens the sockets of one virtual router. Advertisements leave with
	// source as their source address, and those received go to the inbox.
	Open func(in vrrp.Instance, source netip.Addr, inbox Inbox) (Conn, error)
	// These are called from several goroutines at a time.
	Addresser Addresser
	Announcer Announcer
	Links     Links
	Devices   Devices
	Routing   Routing
	Filter    Filter
	// Reports receives every transition. A virtual router never waits for the
	// reader: what the channel does not take is kept, in order, and handed over as
	// soon as there is room, the newest 1024 per sync group. One that stops
	// waits at most a second for a reader. Give the channel a buffer, and keep
	// reading until Run has returned.
	Reports chan<- vrrp.Report
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// errNoSupport is what a virtual router hears that asks for what its Set was made
// without.
var errNoSupport = errors.New("not supported here")

// absent stands for what Options lack.
type absent struct{}

func (absent) Make(vrrp.Instance) error                               { return errNoSupport }
func (absent) Delete(vrrp.Instance) error                             { return errNoSupport }
func (absent) AcquireRouting(string, []vrrp.Route, []vrrp.Rule) error { return errNoSupport }
func (absent) ReleaseRouting(string, []vrrp.Route, []vrrp.Rule) error { return errNoSupport }
func (absent) Refuse(string, []netip.Prefix) error                    { return errNoSupport }
func (absent) Accept(string, []netip.Prefix) error                    { return errNoSupport }

func (o Options) devices() Devices {
	if o.Devices == nil {
		return absent{}
	}
	return o.Devices
}

func (o Options) routing() Routing {
	if o.Routing == nil {
		return absent{}
	}
	return o.Routing
}

func (o Options) filter() Filter {
	if o.Filter == nil {
		return absent{}
	}
	return o.Filter
}
