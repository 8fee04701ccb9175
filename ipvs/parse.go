package ipvs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// ParseSave reads rules in the form in which `ipvsadm -Sn` writes them, and in
// which files for `ipvsadm -R` are written by hand: long options, an "ipvsadm"
// before the command, blank lines and comments after # are understood, and what is
// left out is what ipvsadm makes of it (scheduler wlc, weight 1, direct routing, 360
// seconds of persistence, the service's port). Addresses and ports must be numeric.
//
// Only rules that add are read (-A and -a); later rules need the services of
// earlier ones. All mistakes are reported at once, each with its line.
func ParseSave(r io.Reader) (Table, error) {
	table := Table{}
	var errs []error
	badService := false // a service is missing because its own line was refused
	sc := bufio.NewScanner(r)
	line := 0
	for sc.Scan() {
		line++
		err := parseRule(table, sc.Text())
		if errors.Is(err, errNoService) && badService {
			continue
		}
		if err != nil {
			badService = true
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
		}
	}
	if err := sc.Err(); err != nil {
		errs = append(errs, fmt.Errorf("line %d: %w", line+1, err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return table, nil
}

var errNoService = errors.New("the service is not defined above")

// rule is one line, before it is checked as a whole.
type rule struct {
	command byte // 'A' or 'a'
	key     ServiceKey
	service Service
	mask    string
	flags   string
	ipv6    bool
	server  string
	dest    Destination
	seen    map[string]bool // the options of the line, by their long names
}

// parseRule enters one line into the table.
func parseRule(table Table, text string) error {
	text, _, _ = strings.Cut(text, "#")
	words := strings.Fields(text)
	if len(words) > 0 && (words[0] == "ipvsadm" || strings.HasSuffix(words[0], "/ipvsadm")) {
		words = words[1:]
	}
	if len(words) == 0 {
		return nil
	}
	r := rule{
		service: Service{Scheduler: "wlc"},
		dest:    Destination{Forward: ForwardDirect, Weight: 1},
		seen:    map[string]bool{},
	}
	for len(words) > 0 {
		used, err := r.option(words)
		if err != nil {
			return err
		}
		words = words[used:]
	}
	return r.enter(table)
}

// names maps ipvsadm's short options to its long ones.
var names = map[string]string{
	"-A": "--add-service", "-a": "--add-server",
	"-t": "--tcp-service", "-u": "--udp-service", "-f": "--fwmark-service", "-6": "--ipv6",
	"-s": "--scheduler", "-p": "--persistent", "-M": "--netmask", "-o": "--ops", "-b": "--sched-flags",
	"-r": "--real-server", "-m": "--masquerading", "-i": "--ipip", "-g": "--gatewaying",
	"-w": "--weight", "-x": "--u-threshold", "-y": "--l-threshold",
}

// option takes the option at the start of words, with its value if it has one, and
// returns how many words that were.
func (r *rule) option(words []string) (used int, err error) {
	name, value, joined := strings.Cut(words[0], "=")
	if long, ok := names[name]; ok {
		name = long
	}
	if r.seen[name] {
		return 0, fmt.Errorf("%s is given twice", words[0])
	}
	r.seen[name] = true
	if r.flag(name) {
		if joined {
			return 0, fmt.Errorf("%s takes no value", words[0])
		}
		return 1, nil
	}
	used = 1
	if !joined {
		if len(words) > 1 && !isOption(words[1]) {
			value, used = words[1], 2
		} else if name != "--persistent" {
			return 0, fmt.Errorf("%s needs a value, or is not an option of an ipvsadm rule", words[0])
		}
	}
	if err := r.value(name, value); err != nil {
		return 0, fmt.Errorf("%s %s: %w", words[0], value, err)
	}
	return used, nil
}

// isOption tells an option from a value. A negative number is a value: so ipvsadm
// writes great firewall marks.
func isOption(word string) bool {
	return len(word) > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9' || word == "-6")
}

// flag sets an option that has no value.
func (r *rule) flag(name string) bool {
	switch name {
	case "--add-service":
		r.command = 'A'
	case "--add-server":
		r.command = 'a'
	case "--ipv6":
		r.ipv6 = true
	case "--ops":
		r.service.Flags |= FlagOnePacket
	case "--masquerading":
		r.dest.Forward = ForwardMasq
	case "--ipip":
		r.dest.Forward = ForwardTunnel
	case "--gatewaying":
		r.dest.Forward = ForwardDirect
	case "--tun-nocsum":
	case "--tun-csum":
		r.dest.TunnelFlags |= TunnelChecksum
	case "--tun-remcsum":
		r.dest.TunnelFlags |= TunnelRemoteChecksum
	default:
		return false
	}
	return true
}

// value sets an option that has one.
func (r *rule) value(name, v string) (err error) {
	var n uint64
	switch name {
	case "--tcp-service":
		r.key, err = parseServiceAddr(TCP, v)
	case "--udp-service":
		r.key, err = parseServiceAddr(UDP, v)
	case "--sctp-service":
		r.key, err = parseServiceAddr(SCTP, v)
	case "--fwmark-service":
		r.key, err = parseFWMark(v)
	case "--scheduler":
		r.service.Scheduler, err = parseName(v)
	case "--persistent":
		r.service.Flags |= FlagPersistent
		n = 360
		if v != "" {
			n, err = parseNumber(v, 1, 1<<31-1)
		}
		r.service.Persistence = time.Duration(n) * time.Second
	case "--netmask":
		r.mask = v
	case "--pe":
		r.service.Engine, err = parseName(v)
	case "--sched-flags":
		r.flags = v
	case "--real-server":
		r.server = v
	case "--weight":
		n, err = parseNumber(v, 0, MaxWeight)
		r.dest.Weight = uint32(n)
	case "--u-threshold":
		n, err = parseNumber(v, 0, 1<<32-1)
		r.dest.UpperThreshold = uint32(n)
	case "--l-threshold":
		n, err = parseNumber(v, 0, 1<<32-1)
		r.dest.LowerThreshold = uint32(n)
	case "--tun-type":
		r.dest.Tunnel, err = parseTunnelType(v)
	case "--tun-port":
		n, err = parseNumber(v, 1, 1<<16-1)
		r.dest.TunnelPort = uint16(n)
	default:
		return errors.New("not an option of an ipvsadm rule")
	}
	return err
}

// The options that only one of the two commands has.
var (
	serviceOptions = []string{"--scheduler", "--persistent", "--netmask", "--pe", "--ops", "--sched-flags"}
	serverOptions  = []string{
		"--real-server", "--masquerading", "--ipip", "--gatewaying", "--weight", "--u-threshold", "--l-threshold",
		"--tun-type", "--tun-port", "--tun-nocsum", "--tun-csum", "--tun-remcsum",
	}
)

// enter checks the line as a whole and puts it into the table.
func (r *rule) enter(table Table) error {
	if r.seen["--add-service"] == r.seen["--add-server"] {
		return errors.New("a rule is either -A (a service) or -a (a real server)")
	}
	foreign := serverOptions
	if r.command == 'a' {
		foreign = serviceOptions
	}
	for _, name := range foreign {
		if r.seen[name] {
			return fmt.Errorf("%s has no meaning with -%c", name, r.command)
		}
	}
	if err := r.oneOf("the service is named", "--tcp-service", "--udp-service", "--sctp-service", "--fwmark-service"); err != nil {
		return err
	}
	if r.key == (ServiceKey{}) {
		return errors.New("the service is missing: -t, -u, --sctp-service or -f")
	}
	if r.ipv6 {
		if r.key.FWMark == 0 {
			return errors.New("-6 is for firewall marks only")
		}
		r.key.IPv6 = true
	}
	if r.command == 'A' {
		return r.enterService(table)
	}
	return r.enterDestination(table)
}

func (r *rule) enterService(table Table) (err error) {
	r.service.Key = r.key
	if r.service.Flags, err = parseSchedulerFlags(r.flags, r.service); err != nil {
		return err
	}
	if r.mask != "" {
		if r.service.Flags&FlagPersistent == 0 {
			return errors.New("-M has no meaning without -p")
		}
		if r.service.PersistenceBits, err = parseMask(r.mask, r.key.Is6()); err != nil {
			return fmt.Errorf("-M %s: %w", r.mask, err)
		}
	}
	if _, exists := table[r.key]; exists {
		return fmt.Errorf("%s is defined twice", r.key)
	}
	table[r.key] = Entry{Service: r.service.Canonical(), Destinations: map[DestinationKey]Destination{}}
	return nil
}

func (r *rule) enterDestination(table Table) (err error) {
	if err := r.oneOf("the forwarding method is given", "--masquerading", "--ipip", "--gatewaying"); err != nil {
		return err
	}
	if err := r.oneOf("the tunnel's checksum is given", "--tun-nocsum", "--tun-csum", "--tun-remcsum"); err != nil {
		return err
	}
	if r.dest.Key, err = parseAddrPort(r.server, r.key.Addr.Port()); err != nil {
		return fmt.Errorf("-r %s: %w", r.server, err)
	}
	switch {
	case r.dest.LowerThreshold > r.dest.UpperThreshold:
		return errors.New("the lower threshold is above the upper one")
	case r.dest.Tunnel == TunnelGUE && r.dest.TunnelPort == 0:
		return errors.New("a gue tunnel needs --tun-port")
	case r.dest.Key.Addr().Is6() != r.key.Is6() && r.dest.Forward != ForwardTunnel:
		return errors.New("service and real server are of different families, which only tunnels can cross (-i)")
	}
	e, exists := table[r.key]
	if !exists {
		return fmt.Errorf("%s: %w", r.key, errNoService)
	}
	if _, exists := e.Destinations[r.dest.Key]; exists {
		return fmt.Errorf("real server %s is defined twice for %s", r.dest.Key, r.key)
	}
	e.Destinations[r.dest.Key] = r.dest.Canonical()
	return nil
}

// oneOf refuses a line that has more than one of the options.
func (r *rule) oneOf(what string, options ...string) error {
	options = slices.DeleteFunc(options, func(name string) bool { return !r.seen[name] })
	if len(options) > 1 {
		return fmt.Errorf("%s more than once: %s", what, strings.Join(options, ", "))
	}
	return nil
}
