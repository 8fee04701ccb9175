//go:build integration || ipvs

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
)

// mailServer is the configuration of OpenSMTPD, which takes no mail.
const mailServer = `listen on %s port %d hostname mail.example.org
match from any for any reject
`

// inItsOwn runs a program with directories of its own in place of the machine's.
const inItsOwn = `mount -t tmpfs none /run && mount -t tmpfs none /var/spool && mkdir -m 711 /var/spool/smtpd && exec "$@"`

// mailServer returns the arguments for sh that run OpenSMTPD on a real server.
func (b *bed) mailServer(machine, address string, port uint16) []string {
	b.t.Helper()
	file := filepath.Join(b.MachineDir(machine), "smtpd.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, mailServer, address, port), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return []string{"-c", inItsOwn, "sh", "smtpd", "-d", "-f", file}
}
