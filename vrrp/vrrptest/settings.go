package vrrptest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// setParams changes parameters as "priority=50 interval=100ms" says.
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
		case "startdelay":
			p.StartDelay, err = time.ParseDuration(value)
		case "hold":
			p.Hold, err = strconv.ParseBool(value)
		case "auth":
			p.Auth = vrrp.Auth{}
			if value != "" {
				p.Auth = vrrp.Password(value)
			}
		case "vips":
			p.Addresses, err = parsePrefixes(value)
		case "excluded":
			p.Excluded, err = parsePrefixes(value)
		default:
			return fmt.Errorf("unknown parameter %q", key)
		}
		if err != nil {
			return err
		}
	}
	return p.Validate()
}

func parsePrefixes(value string) (out []netip.Prefix, err error) {
	if value == "" {
		return nil, nil
	}
	for vip := range strings.SplitSeq(value, ",") {
		a, err := netip.ParsePrefix(vip)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func parseUint8[T ~uint8](s string) (T, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	return T(n), err
}

// setPath changes how frames travel as "loss=0.1 delay=1ms jitter=5ms dup=0.05" says.
func setPath(p *path, args []string) error {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "loss":
			p.loss, err = strconv.ParseFloat(value, 64)
		case "dup":
			p.dup, err = strconv.ParseFloat(value, 64)
		case "delay":
			p.delay, err = time.ParseDuration(value)
		case "jitter":
			p.jitter, err = time.ParseDuration(value)
		default:
			return fmt.Errorf("unknown property %q", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setPathBetween is setPath for the way from one director to another: "a b loss=1".
func (s *Segment) setPathBetween(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("from where to where?")
	}
	from, _ := s.find(args[0])
	to, _ := s.find(args[1])
	if from == nil || to == nil {
		return fmt.Errorf("no such way")
	}
	p := s.wire.path(from, to)
	if err := setPath(&p, args[2:]); err != nil {
		return err
	}
	if s.wire.paths == nil {
		s.wire.paths = make(map[[2]string]path)
	}
	s.wire.paths[[2]string{from.name, to.name}] = p
	return nil
}

// partition blocks what the arguments say: "a,b c" are two components that do not hear
// each other, "a>b" is one way alone.
func (s *Segment) partition(args []string) error {
	s.wire.blocked = make(map[[2]string]bool)
	component := make(map[string]int)
	for i, arg := range args {
		if from, to, oneWay := strings.Cut(arg, ">"); oneWay {
			s.wire.blocked[[2]string{from, to}] = true
			continue
		}
		for name := range strings.SplitSeq(arg, ",") {
			component[name] = i
		}
	}
	for a, i := range component {
		for b, j := range component {
			if i != j {
				s.wire.blocked[[2]string{a, b}] = true
			}
		}
	}
	return nil
}
