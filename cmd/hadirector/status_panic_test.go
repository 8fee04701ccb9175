package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/internal/director"
)

// A panic has a line of its own, which a terminal of 80 columns shows whole.
func TestStatusSaysAPanic(t *testing.T) {
	for _, panicking := range []bool{true, false} {
		var b bytes.Buffer
		writeVirtualServers(&b, director.Status{VirtualServers: []director.VirtualStatus{{
			Name: "web", Protocol: "tcp", Address: "10.0.0.100:80", Scheduler: "wrr", Serves: "backup-servers", Panic: panicking,
		}}})
		const head = "\nvirtual server web  tcp 10.0.0.100:80 wrr, 0 of 0 up, BACKUPS SERVE\n"
		const said = "  PANIC: FAILING REAL SERVERS STAY IN\n"
		if got, ok := strings.CutPrefix(b.String(), head); !ok || strings.HasPrefix(got, said) != panicking {
			t.Errorf("panic %t:\n%s", panicking, b.String())
		}
		for line := range strings.Lines(b.String()) {
			if len(line) > 81 {
				t.Errorf("%d columns: %s", len(line)-1, line)
			}
		}
	}
}
