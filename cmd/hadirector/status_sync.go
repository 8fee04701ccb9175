package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/syncd"
)

// writeSync says how connections are synchronised, and what keeps them from it.
func writeSync(b *bytes.Buffer, now time.Time, s *director.SyncStatus) {
	relays := s.Mode == conf.SyncRelay.String()
	switch {
	case !s.Known:
		fmt.Fprintln(b, "sync   the kernel's daemons are not known")
	case len(s.Daemons) == 0 && s.RelayStatus == nil:
		fmt.Fprintln(b, "sync   no daemon runs")
	case !relays:
		for _, d := range s.Daemons {
			fmt.Fprintf(b, "sync   %s on %s, sync id %d\n", d.Role, d.Interface, d.SyncID)
		}
	}
	said := make(map[string]bool)
	tell := func(before, text string) {
		if text != "" && !said[text] {
			said[text] = true
			note(b, before+text)
		}
	}
	if s.RelayStatus != nil {
		for _, p := range s.Peers {
			if p.Why == s.Inject.Error {
				p.Why = "" // said below, for all of them
			}
			writeSyncPeer(b, now, p)
		}
	}
	for _, e := range s.Errors {
		tell("REFUSED: ", e)
	}
	if s.RelayStatus != nil {
		tell("the kernel's connections are not heard: ", s.Capture.Error)
		tell("new connections are told up to 2 s late: ", s.Capture.TickError)
		tell("the kernel's connections cannot be listed: ", s.Capture.ListError)
		tell("the kernel is not told the peers' connections: ", s.Inject.Error)
		if s.Connections+s.Templates >= s.MaxConnections {
			note(b, fmt.Sprintf("max_connections = %d is reached: a director that comes later is not told of all", s.MaxConnections))
		}
		if n := sum(s.Strangers); n > 0 {
			note(b, fmt.Sprintf("%d connections of strangers refused (%s)", n, counts(s.Strangers)))
		}
	}
	switch {
	case s.RelayError == "":
	case s.RelayError == s.PeersError: // as with a key that cannot be read
		fmt.Fprintln(b, "sync   no relay")
	default:
		fmt.Fprintf(b, "sync   no relay: %s\n", s.RelayError)
	}
	if s.PeersError != "" {
		fmt.Fprintf(b, "peers  %s\n", s.PeersError)
	}
}

// writeSyncPeer says of how many of the connections here another director has its own.
func writeSyncPeer(b *bytes.Buffer, now time.Time, p director.SyncPeerStatus) {
	fmt.Fprintf(b, "sync   %s %s", p.Name, p.State)
	if p.State != string(syncd.RelayInSync) {
		fmt.Fprintf(b, " for %s", age(now, p.Since))
	}
	if p.State != string(syncd.RelayConnecting) {
		fmt.Fprintf(b, ", %d/%d", p.There, p.Here)
	}
	if p.State == string(syncd.RelayInSync) || p.State == string(syncd.RelayDiffers) {
		fmt.Fprintf(b, ", lag %.0f ms", max(p.LagMS, p.AckMS))
	}
	if !p.LastFullSync.IsZero() {
		fmt.Fprintf(b, ", last full sync %s", p.LastFullSync.Local().Format(time.TimeOnly))
	}
	fmt.Fprintln(b)
	down := slices.DeleteFunc(slices.Clone(p.Links), func(l director.SyncLinkStatus) bool { return l.Connected })
	for _, l := range down {
		note(b, fmt.Sprintf("%s to %s: %s", l.From, l.To, cmp.Or(l.Error, "not connected yet")))
	}
	switch {
	case len(p.Differs) > 0:
		writeDiffers(b, p)
	case p.State == string(syncd.RelayConnecting) && len(down) > 0: // the ways have said it
	case p.Why != "":
		note(b, p.Why)
	}
}

// maxDiffering is how many virtual servers are listed whose connections differ.
const maxDiffering = 5

// writeDiffers lists the virtual servers whose connections differ, each once.
func writeDiffers(b *bytes.Buffer, p director.SyncPeerStatus) {
	var names []string
	here, there := make(map[string]int), make(map[string]int)
	for _, d := range p.Differs {
		name := cmp.Or(d.Name, d.VirtualServer)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		here[name] += d.Here
		there[name] += d.There
	}
	for _, name := range names[:min(len(names), maxDiffering)] {
		switch {
		case here[name] == there[name]:
			note(b, fmt.Sprintf("%s: %d on both, but not the same ones", name, here[name]))
		default:
			note(b, fmt.Sprintf("%s: %d here, %d there", name, here[name], there[name]))
		}
	}
	if more := len(names) - maxDiffering; more > 0 {
		note(b, fmt.Sprintf("and %d more virtual servers", more))
	}
}

// note writes a line below another one, and more of them if it is longer than 80 columns.
func note(b *bytes.Buffer, text string) {
	const indent, width = "       ", 80
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = indent + word
		case len(line)+1+len(word) > width:
			fmt.Fprintln(b, line)
			line = indent + "  " + word
		default:
			line += " " + word
		}
	}
	fmt.Fprintln(b, line)
}
