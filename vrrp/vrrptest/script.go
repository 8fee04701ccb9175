package vrrptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// Run runs a script on a new segment and returns the transcript. The error names
// the command, or is a [Violation].
func Run(script string) (string, error) {
	s := NewSegment()
	err := s.play(script)
	return s.Transcript(), err
}

// Check is [Run] without a transcript, which is much faster.
func Check(script string) error {
	s := NewSegment()
	s.out = nil
	return s.play(script)
}

// Explain is [Run] with a transcript that also tells what was lost.
func Explain(script string) (string, error) {
	s := NewSegment()
	s.chatty = true
	err := s.play(script)
	return s.Transcript(), err
}

func (s *Segment) play(script string) error {
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line, "#")
		for command := range strings.SplitSeq(line, ";") {
			words := strings.Fields(command)
			if len(words) == 0 {
				continue
			}
			if err := s.command(words); err != nil {
				return fmt.Errorf("%s: %w", strings.Join(words, " "), err)
			}
			if v := s.judge.failed; v != nil {
				s.logf("", "BROKEN: %s", v.Rule)
				return v
			}
		}
	}
	return nil
}

func (s *Segment) command(words []string) error {
	verb, args := words[0], words[1:]
	if verb != "router" && s.out != nil {
		fmt.Fprintf(s.out, "> %s\n", strings.Join(words, " "))
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
	case "settle":
		s.settle()
		return nil
	case "inject":
		return s.inject(args)
	case "seed":
		seed, err := strconv.ParseUint(strings.Join(args, ""), 10, 64)
		s.wire.seed = seed
		return err
	case "net":
		return setPath(&s.wire.net, args)
	case "path":
		return s.setPathBetween(args)
	case "partition":
		return s.partition(args)
	case "heal":
		if len(args) == 0 {
			s.wire.blocked = nil
			for _, h := range s.hosts {
				for _, m := range h.members {
					m.cut = false
				}
			}
			return nil
		}
	case "start":
		if len(args) == 0 {
			for _, h := range s.hosts {
				args = append(args, h.name)
			}
		}
		for _, name := range args {
			if err := s.start(name, vrrp.Startup{}); err != nil {
				return err
			}
		}
		return nil
	case "adopt":
		for _, name := range args {
			if err := s.start(name, vrrp.Startup{Adopt: true}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(args) == 0 {
		return fmt.Errorf("which router?")
	}
	h, ms := s.find(args[0])
	if h == nil {
		return fmt.Errorf("no router %q", args[0])
	}
	return s.hostCommand(h, ms, verb, args[1:])
}

// find returns the director that a name means, "a" or "a/v6", and its virtual routers.
func (s *Segment) find(name string) (*host, []*member) {
	hostName, label, one := strings.Cut(name, "/")
	i := slices.IndexFunc(s.hosts, func(h *host) bool { return h.name == hostName })
	if i < 0 {
		return nil, nil
	}
	h := s.hosts[i]
	if !one {
		return h, h.members
	}
	for _, m := range h.members {
		if m.label == label {
			return h, []*member{m}
		}
	}
	return nil, nil
}

// start starts the daemon of a director. One that adopts does so for the virtual
// routers whose addresses are still there.
func (s *Segment) start(name string, ev vrrp.Startup) error {
	h, ms := s.find(name)
	switch {
	case h == nil || len(ms) != len(h.members):
		return fmt.Errorf("no director %q", name)
	case h.running():
		return fmt.Errorf("%s runs already", name)
	}
	h.start()
	for _, m := range ms {
		ev := ev
		ev.Adopt = ev.Adopt && len(m.holds) > 0
		s.handle(m, "start", ev)
	}
	return nil
}

func (s *Segment) hostCommand(h *host, ms []*member, verb string, args []string) error {
	if !h.running() && verb != "cut" && verb != "heal" && verb != "set" {
		return fmt.Errorf("no daemon runs on %s", h.name)
	}
	switch verb {
	case "cut", "heal":
		for _, m := range ms {
			m.cut = verb == "cut"
		}
	case "stop":
		s.wake(h)
		for _, m := range ms {
			s.handle(m, verb, vrrp.Shutdown{})
		}
		h.end()
	case "kill":
		s.rouse(h)
		h.end()
	case "crash":
		s.rouse(h)
		h.end()
		for _, m := range h.members {
			m.holds = nil
		}
	case "stall":
		s.fallAsleep(h, stalled)
	case "suspend":
		s.fallAsleep(h, suspended)
	case "resume":
		s.wake(h)
	case "fail":
		for _, m := range ms {
			s.handle(m, verb, vrrp.Failed{Detail: strings.Join(args, " ")})
		}
	case "recover":
		for _, m := range ms {
			s.handle(m, verb, vrrp.Recovered{})
		}
	case "switchover":
		for _, u := range h.units {
			s.handle(u.members[0], verb, vrrp.HandOver{})
		}
	case "set":
		for _, m := range ms {
			if err := setParams(&m.config, args); err != nil {
				return err
			}
			if h.running() {
				s.handle(m, "parameters", vrrp.ParamsChanged{Params: m.config})
			}
		}
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

// addRouter adds a virtual router, and its director if that is new: VRRP version 3, one
// second, preempting, unless told otherwise.
func (s *Segment) addRouter(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("a router needs a name of its own")
	}
	if h, ms := s.find(args[0]); h != nil && (len(ms) > 0 && !strings.Contains(args[0], "/")) {
		return fmt.Errorf("a router needs a name of its own")
	}
	name, label, _ := strings.Cut(args[0], "/")
	h, _ := s.find(name)
	if h == nil {
		h = &host{name: name, index: len(s.hosts)}
		s.hosts = append(s.hosts, h)
	}
	if _, ok := s.vrids[label]; !ok {
		s.vrids[label] = firstVRID + vrrp.VRID(len(s.vrids))
	}
	m := &member{host: h, label: label, id: s.vrids[label], index: h.index<<4 + len(h.members), config: vrrp.Params{
		Version:        vrrp.Version3,
		Priority:       vrrp.PriorityDefault,
		AdvertInterval: time.Second,
		Preempt:        true,
		Addresses:      []netip.Prefix{netip.MustParsePrefix("192.0.2.100/24")},
	}}
	rest := args[1:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "group=") {
		m.group = strings.TrimPrefix(rest[0], "group=")
		rest = rest[1:]
	}
	h.members = append(h.members, m)
	return setParams(&m.config, rest)
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
	p := s.hosts[0].members[0].config
	var to *host
	release := false
	var rest []string
	for _, arg := range args[1:] {
		switch name, isTo := strings.CutPrefix(arg, "to="); {
		case arg == "priority=0": // no router is configured with it
			release = true
		case isTo:
			to, _ = s.find(name)
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
	f := frame{at: s.now, src: src, advert: vrrp.Advert{
		Version: p.Version, VRID: firstVRID, Priority: p.Priority, Interval: p.AdvertInterval, Auth: p.Auth,
	}}
	for _, a := range p.Addresses {
		f.advert.Addresses = append(f.advert.Addresses, a.Addr())
	}
	for _, h := range s.hosts {
		if f.to = h.members[0]; to == nil || to == h {
			s.wire.put(f)
		}
	}
	s.deliver()
	return nil
}
