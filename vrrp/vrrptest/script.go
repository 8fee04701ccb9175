package vrrptest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// Run runs a script on a new segment and returns the transcript. The error names
// the command.
func Run(script string) (string, error) {
	s := NewSegment()
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line, "#")
		for command := range strings.SplitSeq(line, ";") {
			words := strings.Fields(command)
			if len(words) == 0 {
				continue
			}
			if err := s.command(words); err != nil {
				return s.Transcript(), fmt.Errorf("%s: %w", strings.Join(words, " "), err)
			}
		}
	}
	return s.Transcript(), nil
}

func (s *Segment) command(words []string) error {
	verb, args := words[0], words[1:]
	if verb != "router" {
		fmt.Fprintf(&s.out, "> %s\n", strings.Join(words, " "))
	}
	switch verb {
	case "router":
		return s.addRouter(args)
	case "run":
		d, err := time.ParseDuration(strings.Join(args, ""))
		if err != nil {
			return err
		}
		s.run(d)
		return nil
	case "inject":
		return s.inject(args)
	case "start":
		if len(args) == 0 {
			for _, h := range s.hosts {
				args = append(args, h.name)
			}
		}
		for _, name := range args {
			h := s.host(name)
			if h == nil {
				return fmt.Errorf("no router %q", name)
			}
			h.vr = vrrp.NewVirtualRouter(vrid, h.params)
			s.handle(h, verb, vrrp.Startup{})
		}
		return nil
	}
	if len(args) == 0 {
		return fmt.Errorf("which router?")
	}
	h := s.host(args[0])
	if h == nil {
		return fmt.Errorf("no router %q", args[0])
	}
	return s.hostCommand(h, verb, args[1:])
}

func (s *Segment) hostCommand(h *host, verb string, args []string) error {
	if h.vr == nil {
		return fmt.Errorf("no daemon runs on %s", h.name)
	}
	switch verb {
	case "cut":
		h.cut = true
	case "heal":
		h.cut = false
	case "stop":
		s.handle(h, verb, vrrp.Shutdown{})
		h.vr = nil
	case "kill":
		h.vr = nil
	case "crash":
		h.vr, h.holds = nil, nil
	case "fail":
		s.handle(h, verb, vrrp.Failed{Detail: strings.Join(args, " ")})
	case "recover":
		s.handle(h, verb, vrrp.Recovered{})
	case "set":
		if err := setParams(&h.params, args); err != nil {
			return err
		}
		s.handle(h, "parameters", vrrp.ParamsChanged{Params: h.params})
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

// addRouter adds a director: VRRP version 3, one second, preempting, unless told
// otherwise.
func (s *Segment) addRouter(args []string) error {
	if len(args) == 0 || s.host(args[0]) != nil {
		return fmt.Errorf("a router needs a name of its own")
	}
	h := &host{name: args[0], params: vrrp.Params{
		Version:        vrrp.Version3,
		Priority:       vrrp.PriorityDefault,
		AdvertInterval: time.Second,
		Preempt:        true,
		Addresses:      []netip.Prefix{netip.MustParsePrefix("192.0.2.100/24")},
	}}
	if err := setParams(&h.params, args[1:]); err != nil {
		return err
	}
	s.hosts = append(s.hosts, h)
	return nil
}

// inject sends an advertisement from an address that belongs to no router.
func (s *Segment) inject(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("from which address?")
	}
	src, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	p := s.hosts[0].params
	var to *host
	release := false
	var rest []string
	for _, arg := range args[1:] {
		switch name, isTo := strings.CutPrefix(arg, "to="); {
		case arg == "priority=0": // no router is configured with it
			release = true
		case isTo:
			to = s.host(name)
		default:
			rest = append(rest, arg)
		}
	}
	if err := setParams(&p, rest); err != nil {
		return err
	}
	if release {
		p.Priority = vrrp.PriorityRelease
	}
	f := frame{to: to, src: src, advert: vrrp.Advert{
		Version: p.Version, VRID: vrid, Priority: p.Priority, Interval: p.AdvertInterval, Auth: p.Auth,
	}}
	for _, a := range p.Addresses {
		f.advert.Addresses = append(f.advert.Addresses, a.Addr())
	}
	s.queue = append(s.queue, f)
	s.deliver()
	return nil
}

func setParams(p *vrrp.Params, args []string) error {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "addr":
			p.Source, err = netip.ParseAddr(value)
		case "priority":
			p.Priority, err = parseUint8[vrrp.Priority](value)
		case "version":
			p.Version, err = parseUint8[vrrp.Version](value)
		case "interval":
			p.AdvertInterval, err = time.ParseDuration(value)
		case "preempt":
			p.Preempt, err = strconv.ParseBool(value)
		case "delay":
			p.PreemptDelay, err = time.ParseDuration(value)
		case "auth":
			p.Auth = vrrp.Auth{}
			if value != "" {
				p.Auth = vrrp.Password(value)
			}
		case "vips":
			p.Addresses = nil
			for vip := range strings.SplitSeq(value, ",") {
				a, err := netip.ParsePrefix(vip)
				if err != nil {
					return err
				}
				p.Addresses = append(p.Addresses, a)
			}
		default:
			return fmt.Errorf("unknown parameter %q", key)
		}
		if err != nil {
			return err
		}
	}
	return p.Validate()
}

func parseUint8[T ~uint8](s string) (T, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	return T(n), err
}
