package probe

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// localPorts hands out the local ports of the machine one after the other, so that each
// comes again as late as can be. The kernel's own choice may come again at once.
type localPorts struct {
	mu    sync.Mutex
	ports portRange // of the last round; zero: there was none
	last  int
	skip  portList
	// resting are those of connections that never were one, until when.
	resting map[int]time.Time
	none    time.Time // until then all of them do
}

// rest is how long IPVS keeps a connection of which it has seen the SYN alone
// (IP_VS_TCP_S_SYN_RECV in ip_vs_proto_tcp.c), and a second. With dr and tun it sees nothing of
// what the real server answers, a refusal neither. A SYN from the same port within that time
// goes to the same real server, whatever its mark; after that, and after a connection that was
// one and has been reset, it is a new one (conn_reuse_mode).
const rest = 61 * time.Second

// errResting says that no port is left to ask from.
var errResting = &cause{text: "not asked: too many probes without an answer through the VIP within the last minute", errs: []error{healthcheck.ErrNotAsked}}

// unanswered tells of a port whose connection has come to nothing.
func (l *localPorts) unanswered(port int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resting == nil {
		l.resting = make(map[int]time.Time)
	}
	l.resting[port] = now.Add(rest)
}

// next returns a port; 0: any, because the machine does not tell which ones it has. The error is
// errResting.
func (l *localPorts) next(now time.Time) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.none) {
		return 0, errResting
	}
	var first time.Time // that a port has rested
	for range maxPort {
		if l.last++; l.last > l.ports.last || l.ports.first == 0 {
			fresh := l.ports.first == 0
			if !l.read() {
				return 0, nil
			}
			l.last = l.ports.first
			if fresh { // not with those that an earlier run has used last
				l.last += rand.IntN(l.ports.last - l.ports.first + 1)
			}
		}
		until := l.resting[l.last]
		switch {
		case l.skip.has(l.last):
		case !now.Before(until):
			delete(l.resting, l.last)
			return l.last, nil
		case first.IsZero() || until.Before(first):
			first = until
		}
	}
	if first.IsZero() {
		return 0, nil // all are reserved
	}
	l.none = first
	return 0, errResting
}

// read reads which ports there are, at the begin of a round.
func (l *localPorts) read() bool {
	const dir = "/proc/sys/net/ipv4/"
	first, err := os.ReadFile(dir + "ip_local_port_range")
	if err != nil {
		return false
	}
	var ok bool
	if l.ports, ok = parsePortRange(string(first)); !ok {
		return false
	}
	reserved, _ := os.ReadFile(dir + "ip_local_reserved_ports") // none, if it cannot be read
	l.skip = parsePortList(string(reserved))
	return true
}

const maxPort = 1<<16 - 1

// portRange is from the first to the last.
type portRange struct{ first, last int }

type portList []portRange

func (l portList) has(port int) bool {
	for _, r := range l {
		if r.first <= port && port <= r.last {
			return true
		}
	}
	return false
}

// parsePortRange reads two numbers, as ip_local_port_range has them.
func parsePortRange(s string) (portRange, bool) {
	fields := strings.Fields(s)
	if len(fields) != 2 {
		return portRange{}, false
	}
	return portsOf(fields[0], fields[1])
}

// parsePortList reads "8080,30000-32767", as ip_local_reserved_ports has it, and passes over
// what is none.
func parsePortList(s string) portList {
	var list portList
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		first, last, several := strings.Cut(part, "-")
		if !several {
			last = first
		}
		if r, ok := portsOf(first, last); ok {
			list = append(list, r)
		}
	}
	return list
}

func portsOf(first, last string) (portRange, bool) {
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	return portRange{int(a), int(b)}, errA == nil && errB == nil && 0 < a && a <= b
}
