// Package sysctl reads and writes kernel parameters.
//
// Parameters are named with slashes, "net/ipv4/conf/eth0.5/arp_ignore": with dots
// the name of a VLAN interface would be ambiguous. [Dotted] gives the form that an
// operator types. The parameters under net are those of the network namespace of
// the calling thread.
package sysctl

import (
	"fmt"
	"os"
	"strings"
)

// Get returns a parameter's value without the final newline.
func Get(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", Dotted(name), err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Set writes a parameter.
func Set(name, value string) error {
	f, err := os.OpenFile("/proc/sys/"+name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", Dotted(name), value, err)
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", Dotted(name), value, err)
	}
	return nil
}

// Dotted is the name as sysctl(8) prints it: separators become dots, and dots that
// belong to an interface's name become slashes.
func Dotted(name string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, name)
}
