package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

// namedConn is a connection with the names of its servers; empty: none.
type namedConn struct {
	ipvs.Connection
	virtual, real string
}

// template tells whether it is the memory of a client with persistence (ip_vs_conn.c: it
// has no client port and no state).
func (n namedConn) template() bool { return n.Client.Port() == 0 && n.State == "NONE" }

func (n namedConn) state() string {
	if n.template() {
		return "template"
	}
	return n.State
}

// virtualText is the virtual server's name, or its address.
func (n namedConn) virtualText() string {
	switch {
	case n.virtual != "":
		return n.virtual
	case n.Protocol == "IP":
		return fmt.Sprintf("fwmark %d", markOf(n.Connection))
	}
	return n.Virtual.String()
}

func (n namedConn) realText() string { return cmp.Or(n.real, n.Destination.String()) }

// clientText leaves out the port that a template does not have.
func (n namedConn) clientText() string {
	if n.template() {
		return n.Client.Addr().String()
	}
	return n.Client.String()
}

// connPrinter prints what is wanted: each connection, or at the end what they add up to.
type connPrinter interface {
	show(namedConn) error
	end() error
}

// connLines prints a line for each connection. The client comes last: its width is not
// known beforehand.
type connLines struct {
	w             *bufio.Writer
	virtual, real int // the columns' widths
	any           bool
}

const (
	virtualTitle = "VIRTUAL SERVER"
	realTitle    = "REAL SERVER"
)

func newConnLines(w *bufio.Writer, names connNames) *connLines {
	l := &connLines{w: w, virtual: len(virtualTitle), real: len(realTitle)}
	for _, s := range names {
		l.virtual = max(l.virtual, len(s.name))
		for _, r := range s.servers {
			l.real = max(l.real, len(r.name))
		}
	}
	return l
}

func (l *connLines) line(protocol, expires, state, virtual, real, client string) error {
	_, err := fmt.Fprintf(l.w, "%-4s %8s  %-11s  %-*s  %-*s  %s\n", protocol, expires, state, l.virtual, virtual, l.real, real, client)
	return err
}

func (l *connLines) title() error {
	if l.any {
		return nil
	}
	l.any = true
	return l.line("PROT", "EXPIRES", "STATE", virtualTitle, realTitle, "CLIENT")
}

func (l *connLines) show(n namedConn) error {
	if err := l.title(); err != nil {
		return err
	}
	seconds := int64(n.Expires / time.Second)
	return l.line(strings.ToLower(n.Protocol), fmt.Sprintf("%02d:%02d", seconds/60, seconds%60), n.state(), n.virtualText(), n.realText(), n.clientText())
}

func (l *connLines) end() error { return l.title() }

// connObjects prints a JSON object for each connection.
type connObjects struct{ enc *json.Encoder }

func (o connObjects) show(n namedConn) error {
	return o.enc.Encode(struct {
		Protocol      string `json:"protocol"`
		Client        string `json:"client"`
		VirtualServer string `json:"virtual_server,omitempty"`
		Virtual       string `json:"virtual"`
		RealServer    string `json:"real_server,omitempty"`
		Destination   string `json:"destination"`
		State         string `json:"state"`
		Template      bool   `json:"template,omitempty"`
		Expires       int64  `json:"expires_seconds"`
	}{
		strings.ToLower(n.Protocol), n.Client.String(), n.virtual, n.Virtual.String(), n.real, n.Destination.String(),
		n.State, n.template(), int64(n.Expires / time.Second),
	})
}

func (connObjects) end() error { return nil }

// connCounts adds up what each real server has.
type connCounts struct {
	w      *bufio.Writer
	asJSON bool
	by     map[connPair]*connCount
}

type connPair struct{ virtual, real string }

// connCount is what a real server has.
type connCount struct {
	VirtualServer string `json:"virtual_server"`
	RealServer    string `json:"real_server"`
	// Established are connections in the state ESTABLISHED, and UDP's, which have one
	// state only; Other are the rest of them.
	Established int `json:"established"`
	Other       int `json:"other"`
	Templates   int `json:"templates"`
}

func (c *connCounts) show(n namedConn) error {
	pair := connPair{n.virtualText(), n.realText()}
	count := c.by[pair]
	if count == nil {
		count = &connCount{VirtualServer: pair.virtual, RealServer: pair.real}
		c.by[pair] = count
	}
	switch {
	case n.template():
		count.Templates++
	case n.State == "ESTABLISHED" || n.State == "UDP":
		count.Established++
	default:
		count.Other++
	}
	return nil
}

func (c *connCounts) end() error {
	list := slices.SortedFunc(maps.Values(c.by), func(a, b *connCount) int {
		return cmp.Or(cmp.Compare(a.VirtualServer, b.VirtualServer), cmp.Compare(a.RealServer, b.RealServer))
	})
	if c.asJSON {
		enc := json.NewEncoder(c.w)
		for _, count := range list {
			if err := enc.Encode(count); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(c.w, virtualTitle, realTitle, "ESTABLISHED", "OTHER", "TEMPLATES")
	for _, count := range list {
		t.row(count.VirtualServer, count.RealServer, count.Established, count.Other, count.Templates)
	}
	return t.w.Flush()
}
