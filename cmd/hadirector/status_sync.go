package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

// writeRelay says how the other directors have this one's connections.
func writeRelay(b *bytes.Buffer, s *director.SyncStatus) {
	if s.RelayError != "" {
		fmt.Fprintf(b, "sync   %s\n", s.RelayError)
	}
	if s.RelayStatus == nil {
		return
	}
	for _, p := range s.Peers {
		fmt.Fprintf(b, "sync   %s %s, %d/%d", p.Name, p.State, p.There, p.Here)
		if p.State == "in sync" || p.State == "differs" {
			fmt.Fprintf(b, ", lag %.0f ms", max(p.LagMS, p.AckMS))
		}
		if !p.LastFullSync.IsZero() {
			fmt.Fprintf(b, ", last full sync %s", p.LastFullSync.Local().Format(time.TimeOnly))
		}
		fmt.Fprintln(b)
		if p.Why != "" {
			fmt.Fprintf(b, "       %s\n", p.Why)
		}
	}
	for _, why := range []string{s.Capture.Error, s.Capture.TickError, s.Capture.ListError, s.Inject.Error} {
		if why != "" {
			fmt.Fprintf(b, "       %s\n", why)
		}
	}
}
