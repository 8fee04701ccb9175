//go:build integration

package probe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/internal/netnstest"
)

// Two hosts on two wires, and what a director that pings the other one sees.
func TestPingInNamespaces(t *testing.T) {
	const (
		retransmit4 = "net.ipv4.neigh.e0.retrans_time_ms=20"
		retransmit6 = "net.ipv6.neigh.e0.retrans_time_ms=20"
	)
	tests := []struct {
		name   string
		setUp  string // commands on the director
		host   string // commands on the other
		addr   string
		ifname string
		want   string
	}{
		{name: "answers", addr: "192.0.2.2"},
		{name: "answers over IPv6", addr: "2001:db8::2"},
		{name: "answers over the interface", addr: "192.0.2.2", ifname: "e0"},
		{name: "answers on a link-local address", addr: "fe80::2", ifname: "e0"},
		{name: "answers on a link-local address with a zone", addr: "fe80::2%e0"},
		{name: "is itself", addr: "127.0.0.1"},
		{name: "does not answer", host: "sysctl -qw net.ipv4.icmp_echo_ignore_all=1", addr: "192.0.2.2", want: "timeout after 2s waiting for the echo reply"},
		{name: "does not answer over IPv6", host: "sysctl -qw net.ipv6.icmp.echo_ignore_all=1", addr: "2001:db8::2", want: "timeout after 2s waiting for the echo reply"},
		{name: "is not there", setUp: "sysctl -qw " + retransmit4, addr: "192.0.2.3", want: "no route to host"},
		{name: "is not there over IPv6", setUp: "sysctl -qw " + retransmit6, addr: "2001:db8::3", want: "no route to host"},
		{name: "no way", addr: "198.51.100.1", want: "network unreachable"},
		// The host takes requests on either wire, and its answer comes by e0.
		{name: "answers another interface", addr: "192.0.2.2", ifname: "f0", want: "timeout after 2s waiting for the echo reply"},
		{name: "no such interface", addr: "192.0.2.2", ifname: "e7", want: "interface e7 does not exist"},
		{name: "a router says so", setUp: "ip route add 198.51.100.0/24 via 192.0.2.2",
			host: "sysctl -qw net.ipv4.ip_forward=1; ip route add unreachable 198.51.100.0/24", addr: "198.51.100.1", want: "no route to host"},
		{name: "prohibited", setUp: "ip route add prohibit 198.51.100.0/24", addr: "198.51.100.1", want: "permission denied while sending the request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			patience := 10 * time.Second // for an answer that comes
			if strings.HasPrefix(tt.want, "timeout") {
				patience = 100 * time.Millisecond
			}
			director, host := netnstest.New(t, "director"), netnstest.New(t, "host")
			for _, wire := range []string{"e0", "f0"} {
				netnstest.Cable(t, director, wire, host, wire)
			}
			for i, ns := range []*netnstest.NS{director, host} {
				commands(t, ns, fmt.Sprintf("ip address add 192.0.2.%d/24 dev e0; ip address add 2001:db8::%[1]d/64 dev e0 nodad; ip address add fe80::%[1]d/64 dev e0 nodad", i+1))
			}
			commands(t, director, tt.setUp)
			commands(t, host, tt.host)
			c := newChecker(t, pingSpec(tt.addr, tt.ifname))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var err error
			director.Do(func() { err = c.Check(ctx) })
			checkCause(t, err, tt.want)
		})
	}
}

// commands runs commands that are separated by semicolons.
func commands(t *testing.T, ns *netnstest.NS, list string) {
	t.Helper()
	for command := range strings.SplitSeq(list, "; ") {
		if args := strings.Fields(command); len(args) > 0 {
			ns.Run(t, args[0], args[1:]...)
		}
	}
}

// A script has its user's ids and no other group.
func TestScriptRunsAsItsUser(t *testing.T) {
	for name, want := range map[string]string{
		"":       "65534 65534 65534",
		"nobody": "65534 65534 65534",
		"65534":  "65534 65534 65534",
		"root":   "0 0 0",
	} {
		t.Run(name, func(t *testing.T) {
			sp := scriptSpec(t, "/bin/sh", "-c", "echo $(id -u) $(id -g) $(id -G); exit 1")
			sp.Script.User = name
			checkCause(t, newChecker(t, sp).Check(t.Context()), "exit status 1: "+want)
		})
	}
}

// The daemon's priority is not the script's, and stays the daemon's.
func TestScriptRunsAtNormalPriority(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -5); err != nil {
		t.Fatal(err)
	}
	defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	checkCause(t, shell(t, "nice; exit 1").Check(t.Context()), "exit status 1: 0")
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err != nil || raw != 25 {
		t.Errorf("niceness of the director is %d afterwards, want -5 (%v)", 20-raw, err)
	}
}

// As root a script runs only if nobody else can change it.
func TestScriptAsRootHasToBeRoots(t *testing.T) {
	const nobody = 65534
	tests := []struct {
		name  string
		spoil func(dir, script string) error
		path  string // below the directory; empty: the script
		want  string // DIR stands for the directory
	}{
		{name: "root's alone", spoil: func(string, string) error { return nil }},
		{name: "readable by all", spoil: func(_, script string) error { return os.Chmod(script, 0o755) }},
		{name: "a link to it", spoil: func(dir, script string) error { return os.Symlink(script, dir+"/link") }, path: "link"},
		{name: "a sticky directory", spoil: func(dir, _ string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }},
		{name: "the group can write it", spoil: func(_, script string) error { return os.Chmod(script, 0o770) },
			want: "not run as root: others than root can write DIR/in/check"},
		{name: "all can write it", spoil: func(_, script string) error { return os.Chmod(script, 0o707) },
			want: "not run as root: others than root can write DIR/in/check"},
		{name: "another's", spoil: func(_, script string) error { return os.Chown(script, nobody, 0) },
			want: "not run as root: others than root can write DIR/in/check"},
		{name: "all can write the directory", spoil: func(dir, _ string) error { return os.Chmod(dir+"/in", 0o777) },
			want: "not run as root: others than root can write DIR/in"},
		{name: "a directory further up is another's", spoil: func(dir, _ string) error { return os.Chown(dir, nobody, 0) },
			want: "not run as root: others than root can write DIR"},
		{name: "a link to another's", spoil: func(dir, script string) error {
			other := dir + "/other"
			return joined(os.Mkdir(other, 0o777), os.Chmod(other, 0o777), os.Rename(script, other+"/check"), os.Symlink(other+"/check", script))
		}, want: "not run as root: others than root can write DIR/other"},
		{name: "not there", spoil: func(_, script string) error { return os.Remove(script) },
			want: "cannot run DIR/in/check as root: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			script := filepath.Join(dir, "in", "check")
			if err := joined(os.Mkdir(filepath.Dir(script), 0o755),
				os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o700), tt.spoil(dir, script)); err != nil {
				t.Fatal(err)
			}
			path := script
			if tt.path != "" {
				path = filepath.Join(dir, tt.path)
			}
			c := newChecker(t, healthcheck.Spec{Type: healthcheck.Script, Timeout: time.Second,
				Script: healthcheck.ScriptSpec{Command: path, User: "root"}})
			checkCause(t, c.Check(t.Context()), strings.ReplaceAll(tt.want, "DIR", dir))
		})
	}
}

// joined is the first error.
func joined(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
