package ipvs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ParseSave reads rules in the form in which `ipvsadm -Sn` writes them, and in
// which files for `ipvsadm -R` are written by hand: long options, values joined to
// short ones, an "ipvsadm" before the command, blank lines and comments after # are
// understood, and what is left out is what ipvsadm makes of it (scheduler wlc, weight
// 1, direct routing, 360 seconds of persistence, the service's port). The port of a
// real server that is not reached by NAT is the service's whatever the rule says, as
// with ipvsadm. Addresses and ports must be numeric.
//
// Only rules that add are read (-A and -a); later rules need the services of
// earlier ones. All mistakes are reported at once: the error is of type [Mistakes],
// or what reading failed with.
func ParseSave(r io.Reader) (Table, error) {
	table := Table{}
	var found Mistakes
	refused := map[ServiceKey]bool{} // their own lines were refused; the zero key is any
	sc := bufio.NewScanner(r)
	line := 0
	for sc.Scan() {
		line++
		key, err := parseRule(table, sc.Text())
		if errors.Is(err, errNoService) && (refused[key] || refused[ServiceKey{}]) {
			continue
		}
		if err != nil {
			refused[key] = true
			found = append(found, Mistake{Line: line, Column: columnOf(err), Err: err})
		}
	}
	if err := sc.Err(); err != nil {
		if !errors.Is(err, bufio.ErrTooLong) {
			return nil, err
		}
		found = append(found, Mistake{Line: line + 1, Column: 1, Err: errors.New("the line is too long")})
	}
	if len(found) > 0 {
		return nil, found
	}
	return table, nil
}

var errNoService = errors.New("the service is not defined above")

// rule is one line, before it is checked as a whole.
type rule struct {
	column  int  // where it begins
	command byte // 'A' or 'a'
	key     ServiceKey
	service Service
	mask    string
	flags   string
	ipv6    bool
	server  string
	dest    Destination
	seen    map[string]int // the columns of the line's options, by their long names
	values  map[string]int // and of their values
}

// parseRule enters one line into the table. The key is that of the rule's service, if
// it was read.
func parseRule(table Table, text string) (ServiceKey, error) {
	text, _, _ = strings.Cut(text, "#")
	words := splitWords(text)
	if len(words) > 0 && (words[0].text == "ipvsadm" || strings.HasSuffix(words[0].text, "/ipvsadm")) {
		words = words[1:]
	}
	if len(words) == 0 {
		return ServiceKey{}, nil
	}
	r := rule{
		column:  words[0].column,
		service: Service{Scheduler: "wlc"},
		dest:    Destination{Forward: ForwardDirect, Weight: 1},
		seen:    map[string]int{},
		values:  map[string]int{},
	}
	var err error
	for len(words) > 0 && err == nil {
		words, err = r.option(words)
	}
	if err == nil {
		err = r.enter(table)
	}
	return r.key, err
}

// names maps ipvsadm's short options to its long ones.
var names = map[string]string{
	"-A": "--add-service", "-a": "--add-server",
	"-t": "--tcp-service", "-u": "--udp-service", "-f": "--fwmark-service", "-6": "--ipv6",
	"-s": "--scheduler", "-p": "--persistent", "-M": "--netmask", "-o": "--ops", "-b": "--sched-flags",
	"-r": "--real-server", "-m": "--masquerading", "-i": "--ipip", "-g": "--gatewaying",
	"-w": "--weight", "-x": "--u-threshold", "-y": "--l-threshold",
}

// otherCommands are ipvsadm's that a rule cannot be.
var otherCommands = map[string]bool{
	"-E": true, "-D": true, "-C": true, "-R": true, "-S": true, "-e": true, "-d": true, "-L": true, "-l": true, "-Z": true,
	"--edit-service": true, "--delete-service": true, "--clear": true, "--restore": true, "--save": true,
	"--edit-server": true, "--delete-server": true, "--list": true, "--zero": true,
	"--set": true, "--start-daemon": true, "--stop-daemon": true,
}

// option takes the option at the start of words, with its value if it has one, and
// returns the words after it.
func (r *rule) option(words []word) ([]word, error) {
	first, rest := words[0], words[1:]
	name, value, joined := strings.Cut(first.text, "=")
	valueAt := first.column + len([]rune(name)) + 1
	if otherCommands[name] {
		return nil, at(first.column, fmt.Errorf("%s is not read here, only -A and -a, which add", name))
	}
	if len(first.text) > 2 && names[first.text[:2]] != "" { // -w5, or -At for -A -t
		name, value, joined = first.text[:2], strings.TrimPrefix(first.text[2:], "="), true
		valueAt = first.column + 2 + len(first.text[2:]) - len(value)
	}
	short := name
	if long, ok := names[name]; ok {
		name = long
	}
	if r.seen[name] != 0 {
		return nil, at(first.column, fmt.Errorf("%s is given twice", short))
	}
	r.seen[name] = first.column
	if r.flag(name) {
		switch {
		case !joined:
			return rest, nil
		case len(short) > 2 || first.text[2] == '=':
			return nil, at(first.column, fmt.Errorf("%s takes no value", short))
		}
		return append([]word{{"-" + value, first.column + 1}}, rest...), nil
	}
	if !joined {
		if len(rest) > 0 && !isOption(rest[0].text) {
			value, valueAt, rest = rest[0].text, rest[0].column, rest[1:]
		} else if name != "--persistent" {
			return nil, at(first.column, fmt.Errorf("%s needs a value, or is not an option of an ipvsadm rule", short))
		}
	}
	r.values[name] = valueAt
	err := r.value(name, value)
	if errors.Is(err, errNoOption) {
		valueAt = first.column
	}
	if err != nil {
		return nil, at(valueAt, fmt.Errorf("%s %s: %w", short, value, err))
	}
	return rest, nil
}

var errNoOption = errors.New("not an option of an ipvsadm rule")

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
		r.dest.Tunnel, err = ParseTunnelType(v)
	case "--tun-port":
		n, err = parseNumber(v, 1, 1<<16-1)
		r.dest.TunnelPort = uint16(n)
	default:
		return errNoOption
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
	if r.has("--add-service") == r.has("--add-server") {
		return at(r.column, errors.New("a rule is either -A (a service) or -a (a real server)"))
	}
	foreign := serverOptions
	if r.command == 'a' {
		foreign = serviceOptions
	}
	for _, name := range foreign {
		if r.has(name) {
			return at(r.seen[name], fmt.Errorf("%s has no meaning with -%c", name, r.command))
		}
	}
	if err := r.oneOf("the service is named", "--tcp-service", "--udp-service", "--sctp-service", "--fwmark-service"); err != nil {
		return err
	}
	if r.key == (ServiceKey{}) {
		return at(r.column, errors.New("the service is missing: -t, -u, --sctp-service or -f"))
	}
	if r.ipv6 {
		if r.key.FWMark == 0 {
			return at(r.seen["--ipv6"], errors.New("-6 is for firewall marks only"))
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
		return at(r.values["--sched-flags"], err)
	}
	if r.mask != "" {
		if r.service.Flags&FlagPersistent == 0 {
			return at(r.seen["--netmask"], errors.New("-M has no meaning without -p"))
		}
		if r.service.PersistenceBits, r.service.OddMask, err = parseMask(r.mask, r.key.Is6()); err != nil {
			return at(r.values["--netmask"], fmt.Errorf("-M %s: %w", r.mask, err))
		}
	}
	if _, exists := table[r.key]; exists {
		return at(r.column, fmt.Errorf("%s is defined twice", r.key))
	}
	table[r.key] = Entry{Service: r.service.Canonical(), Destinations: map[DestinationKey]Destination{}}
	return nil
}

func (r *rule) enterDestination(table Table) error {
	if err := r.oneOf("the forwarding method is given", "--masquerading", "--ipip", "--gatewaying"); err != nil {
		return err
	}
	if err := r.oneOf("the tunnel's checksum is given", "--tun-nocsum", "--tun-csum", "--tun-remcsum"); err != nil {
		return err
	}
	if !r.has("--real-server") {
		return at(r.column, errors.New("the real server is missing: -r"))
	}
	key, err := parseAddrPort(r.server, r.key.Addr.Port())
	if err != nil {
		return at(r.values["--real-server"], fmt.Errorf("-r %s: %w", r.server, err))
	}
	if r.dest.Forward != ForwardMasq && r.key.FWMark == 0 {
		key = netip.AddrPortFrom(key.Addr(), r.key.Addr.Port())
	}
	r.dest.Key = key
	switch {
	case r.dest.LowerThreshold > r.dest.UpperThreshold:
		return at(r.values["--l-threshold"], errors.New("the lower threshold is above the upper one"))
	case r.dest.Tunnel == TunnelGUE && r.dest.TunnelPort == 0:
		return at(r.values["--tun-type"], errors.New("a gue tunnel needs --tun-port"))
	case key.Addr().Is6() != r.key.Is6() && r.dest.Forward != ForwardTunnel:
		return at(r.values["--real-server"], errors.New("service and real server are of different families, which only tunnels can cross (-i)"))
	}
	e, exists := table[r.key]
	if !exists {
		return at(r.column, fmt.Errorf("%s: %w", r.key, errNoService))
	}
	if _, exists := e.Destinations[key]; exists {
		return at(r.values["--real-server"], fmt.Errorf("real server %s is defined twice for %s", key, r.key))
	}
	e.Destinations[key] = r.dest.Canonical()
	return nil
}

// has tells whether the line has an option.
func (r *rule) has(name string) bool { return r.seen[name] != 0 }

// oneOf refuses a line that has more than one of the options.
func (r *rule) oneOf(what string, options ...string) error {
	options = slices.DeleteFunc(options, func(name string) bool { return !r.has(name) })
	if len(options) > 1 {
		column := slices.Max(r.columns(options))
		return at(column, fmt.Errorf("%s more than once: %s", what, strings.Join(options, ", ")))
	}
	return nil
}

// columns are those of the options.
func (r *rule) columns(options []string) []int {
	var columns []int
	for _, name := range options {
		columns = append(columns, r.seen[name])
	}
	return columns
}
