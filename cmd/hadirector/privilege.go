package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// requirePrivileges fails without the capabilities that nothing works without: raw
// sockets for VRRP, and changes to addresses and IPVS.
func requirePrivileges() error {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("read this process's capabilities: %w", err)
	}
	missing, err := missingOf(string(b), required...)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("needs %s: run it as root or by the unit file", strings.Join(missing, " and "))
	}
	return nil
}

// capability is one of capabilities(7).
type capability struct {
	bit  int
	name string
}

// required are those that nothing works without.
var required = []capability{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}}

// missingOf returns the names of those that are not among the effective capabilities in
// proc(5)'s status.
func missingOf(status string, wanted ...capability) ([]string, error) {
	for line := range strings.Lines(status) {
		hex, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		effective, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("read this process's capabilities: %w", err)
		}
		var missing []string
		for _, c := range wanted {
			if effective&(1<<c.bit) == 0 {
				missing = append(missing, c.name)
			}
		}
		return missing, nil
	}
	return nil, fmt.Errorf("read this process's capabilities: no CapEff in /proc/self/status")
}
