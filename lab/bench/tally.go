package bench

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/lab/cluster"
)

// tally reads how many connections a director's kernel has, from the counts of its real
// servers: those of /proc/net/ip_vs_conn would have to be read one by one. What is not bound
// to a real server does not count.
type tally struct{ file *os.File }

func newTally(c *cluster.Cluster, machine string) (*tally, error) {
	t := &tally{}
	err := c.Do(machine, func() (err error) {
		t.file, err = os.Open("/proc/thread-self/net/ip_vs") // /proc/net would be the main thread's
		return err
	})
	return t, err
}

func (t *tally) close() { t.file.Close() }

// read returns how many connections to a port of the VIP there are.
func (t *tally) read(port int) (n numbers, err error) {
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return n, err
	}
	text, err := io.ReadAll(t.file)
	if err != nil {
		return n, err
	}
	return countConnections(string(text), netip.AddrPortFrom(cluster.VIP, uint16(port)))
}

// numbers are how many connections a director has: established ones, and others.
type numbers struct{ active, inactive int }

func (n numbers) all() int { return n.active + n.inactive }

// countConnections adds up the connections of a TCP service over IPv4 in the text of
// /proc/net/ip_vs (net/netfilter/ipvs/ip_vs_ctl.c).
func countConnections(text string, service netip.AddrPort) (n numbers, err error) {
	a := service.Addr().As4()
	head := fmt.Sprintf("%X:%04X", a[:], service.Port())
	found := false
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch {
		case len(w) >= 2 && w[0] == "TCP":
			found = w[1] == head
		case len(w) > 0 && w[0] != "->":
			found = false
		case found && len(w) == 6:
			for i, sum := range []*int{&n.active, &n.inactive} {
				count, err := strconv.Atoi(w[4+i])
				if err != nil {
					return n, fmt.Errorf("connections of %s: %w", w[1], err)
				}
				*sum += count
			}
		}
	}
	return n, nil
}

// connections reads a director's numbers once.
func connections(c *cluster.Cluster, machine string, port int) (numbers, error) {
	t, err := newTally(c, machine)
	if err != nil {
		return numbers{}, err
	}
	defer t.close()
	return t.read(port)
}

// attempts are the connections to a port of the VIP that a director's kernel takes for not
// yet established: of what a client sent after its SYN nothing has arrived. The kernel tells
// nobody of them.
func attempts(c *cluster.Cluster, machine string, port int) (n int, err error) {
	err = c.Do(machine, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/ip_vs_conn")
		n = countAttempts(string(text), netip.AddrPortFrom(cluster.VIP, uint16(port)))
		return err
	})
	return n, err
}

// countAttempts counts them in the text of /proc/net/ip_vs_conn
// (net/netfilter/ipvs/ip_vs_conn.c).
func countAttempts(text string, service netip.AddrPort) (n int) {
	a := service.Addr().As4()
	to, port := fmt.Sprintf("%X", a[:]), fmt.Sprintf("%04X", service.Port())
	for line := range strings.Lines(text) {
		// Pro FromIP FPrt ToIP TPrt DestIP DPrt State Expires, addresses in hex.
		w := strings.Fields(line)
		if len(w) >= 8 && w[0] == "TCP" && w[3] == to && w[4] == port && w[7] == "SYN_RECV" {
			n++
		}
	}
	return n
}
