package ipvsnl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/hadirector/hadirector/ipvs"
)

// connectionsFile lists the connection table of the process's network namespace.
const connectionsFile = "/proc/net/ip_vs_conn"

// Connections yields the entries of the connection table, in the kernel's order, as
// they are read: never more than one is in memory. What comes and goes meanwhile may be
// left out or come twice. The kernel starts anew for every page that is read, so a great
// table takes long: 100 000 entries some seconds. An error is the last that is yielded,
// [ErrNoIPVS] where ip_vs is not loaded.
func Connections() iter.Seq2[ipvs.Connection, error] {
	return func(yield func(ipvs.Connection, error) bool) {
		f, err := os.Open(connectionsFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNoIPVS
		}
		if err != nil {
			yield(ipvs.Connection{}, fmt.Errorf("read the IPVS connections: %w", err))
			return
		}
		defer f.Close()
		readConnections(f, yield)
	}
}

// readConnections yields the lines after the first, which has the titles.
func readConnections(r io.Reader, yield func(ipvs.Connection, error) bool) {
	sc := bufio.NewScanner(r)
	for line := 1; sc.Scan(); line++ {
		if line == 1 {
			continue
		}
		c, err := ipvs.ParseConnection(sc.Text())
		if err != nil {
			yield(c, fmt.Errorf("%s line %d: %w", connectionsFile, line, err))
			return
		}
		if !yield(c, nil) {
			return
		}
	}
	if err := sc.Err(); err != nil {
		yield(ipvs.Connection{}, fmt.Errorf("read the IPVS connections: %w", err))
	}
}
