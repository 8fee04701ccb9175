//go:build ipvs

package ipvsnl

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

// What the kernel's file shows as it was known is not listed. Only what it does not tell is:
// the destinations of services with persistence and of firewall marks.
func TestRefreshListsOnlyWhatTheFileDoesNotTell(t *testing.T) {
	c := openInNamespace(t)
	const told = `-A -t 10.0.0.100:80 -s rr
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -m -w 70000
-A -u 10.0.0.100:53 -s wrr -o
-A -t [fd00::100]:80 -s sh
-a -t [fd00::100]:80 -r [fd00::21]:8080 -m -w 0
-A -u [fd00::100]:53 -s wrr -o
`
	const untold = `-A -t 10.0.0.101:0 -s mh -p 360
-A -f 11 -s rr
-a -f 11 -r 10.0.0.21:0 -g -w 1
`
	load := func(text string) {
		t.Helper()
		table, err := ipvs.ParseSave(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range ipvs.Diff(table, nil, nil) {
			if err := c.Apply(t.Context(), op); err != nil {
				t.Fatal(err)
			}
		}
	}
	quickly, asked := countListings(t, c)
	for _, tt := range []struct {
		text                   string
		services, of           int32 // listings of all services, and of the destinations of one
		wholeServices, wholeOf int32
	}{
		{told, 1, 0, 1, 4},
		{untold, 1, 2, 1, 6},
	} {
		load(tt.text)
		asked.clear()
		whole := readTable(t, quickly)
		if s, of := asked.services.Load(), asked.destinations.Load(); s != tt.wholeServices || of != tt.wholeOf {
			t.Errorf("Table: %d listings of services and %d of destinations, want %d and %d", s, of, tt.wholeServices, tt.wholeOf)
		}
		asked.clear()
		quick, _, err := quickly.Refresh(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole.String(), quick.String()); diff != "" {
			t.Errorf("(-read +read quickly)\n%s", diff)
		}
		if s, of := asked.services.Load(), asked.destinations.Load(); s != tt.services || of != tt.of {
			t.Errorf("Refresh: %d listings of services and %d of destinations, want %d and %d", s, of, tt.services, tt.of)
		}
	}
}

// listings counts what the kernel is asked to list.
type listings struct {
	exchanger
	services, destinations atomic.Int32
}

func (l *listings) clear() { l.services.Store(0); l.destinations.Store(0) }

func (l *listings) exchange(cmd uint8, flags int, attrs []byte) ([][]byte, error) {
	switch cmd {
	case cmdGetService:
		l.services.Add(1)
	case cmdGetDest:
		l.destinations.Add(1)
	}
	return l.exchanger.exchange(cmd, flags, attrs)
}

// countListings returns another client of the namespace of the test's thread, and counts
// what it asks for.
func countListings(t *testing.T, beside *Client) (*Client, *listings) {
	t.Helper()
	family, err := lookupFamily()
	if err != nil {
		t.Fatal(err)
	}
	here, err := currentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	k, err := here.dial(family)
	if err != nil {
		t.Fatal(err)
	}
	asked := &listings{exchanger: k.exchanger}
	k.exchanger = asked
	c := newClient(defaultTimeout, k, func() (*conn, error) { return here.dial(family) }, here.close)
	c.proc = beside.proc
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, asked
}
