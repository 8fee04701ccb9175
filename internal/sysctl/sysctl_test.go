package sysctl

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestDotted(t *testing.T) {
	for name, want := range map[string]string{
		"net/ipv4/ip_forward":              "net.ipv4.ip_forward",
		"net/ipv4/conf/eth0.5/arp_ignore":  "net.ipv4.conf.eth0/5.arp_ignore",
		"net/ipv4/vs/expire_nodest_conn":   "net.ipv4.vs.expire_nodest_conn",
		"net/ipv6/conf/bond0.12/accept_ra": "net.ipv6.conf.bond0/12.accept_ra",
	} {
		if got := Dotted(name); got != want {
			t.Errorf("Dotted(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestGet(t *testing.T) {
	got, err := Get("kernel/ostype")
	if err != nil || got != "Linux" {
		t.Errorf("Get(kernel/ostype) = %q, %v, want Linux", got, err)
	}
}

func TestMissingParameterIsNamed(t *testing.T) {
	_, gerr := Get("net/ipv4/conf/no.such/arp_ignore")
	for _, err := range []error{gerr, Set("net/ipv4/conf/no.such/arp_ignore", "1")} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "net.ipv4.conf.no/such.arp_ignore") {
			t.Errorf("error %v does not name the missing parameter", err)
		}
	}
}
