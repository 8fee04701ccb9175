//go:build ipvs

package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/hadirector/hadirector/lab/cluster"
)

// programs are virtual servers whose real server is checked by a program's word, each by
// another type. The numbers are ones of the director's network namespace that mean nothing
// to the kernel (net.ipv4.conf.*.tag).
const programs = `
[virtual_server.agent]
address  = "10.0.0.100:1001"
protocol = "tcp"
check    = ["reachable", "agent"]
real_server = { rs-1 = { address = "10.0.0.21:1001", weight = 10 } }

[virtual_server.file]
address  = "10.0.0.100:1002"
protocol = "tcp"
check    = "file"
real_server = { rs-1 = { address = "10.0.0.21:1002", weight = 10 } }

[virtual_server.script]
address  = "10.0.0.100:1003"
protocol = "tcp"
check    = "script"
real_server = { rs-1 = { address = "10.0.0.21:1003", weight = 10 } }

[virtual_server.call]
address  = "10.0.0.100:1005"
protocol = "tcp"
check    = "call"
real_server = { rs-1 = { address = "10.0.0.21:1005", weight = 10 } }

[virtual_server.mail]
address  = "10.0.0.100:1006"
protocol = "tcp"
check    = "mail"
real_server = { rs-1 = { address = "10.0.0.21:1006", weight = 10 } }

[check.call]
type     = "grpc"
service  = "shop.v1"
initial  = "down"
interval = "500ms"
timeout  = "10s"
fall     = 1

[check.mail]
type     = "smtp"
initial  = "down"
interval = "500ms"
timeout  = "10s"
fall     = 1

[check.reachable]
type     = "icmp"
interval = "200ms"
timeout  = "1s"
fall     = 2

[check.agent]
type     = "agent"
port     = 7777
send     = "state\n"
interval = "200ms"
fall     = 1
on_no_answer = "ignore"

[check.file]
type     = "file"
path     = "/proc/sys/net/ipv4/conf/eth0/tag"
interval = "200ms"
fall     = 1

[check.script]
type     = "script"
command  = ["/bin/sh", "-c", 'test "$1" = 10.0.0.21:1003 || exit 1; exit $(cat "$2")', "sh", "{address}:{port}", "/proc/sys/net/ipv4/conf/eth1/tag"]
dynamic_weight = true
interval = "200ms"
timeout  = "10s"
fall     = 1
`

// number sets a number that a check looks at.
func (b *bed) number(machine, ifname string, n int) {
	b.t.Helper()
	b.run(machine, "sysctl", "-qw", fmt.Sprintf("net.ipv4.conf.%s.tag=%d", ifname, n))
}

// agent answers on a machine's port 7777 what it is told to answer; empty: it refuses.
func (b *bed) agent(machine string, line *atomic.Value) {
	b.t.Helper()
	var l net.Listener
	err := b.Do(machine, func() (err error) {
		l, err = net.Listen("tcp4", ":7777")
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if text, _ := line.Load().(string); text != "" {
				_, _ = conn.Read(make([]byte, 64))
				fmt.Fprintf(conn, "%s\r\n", text)
			}
			conn.Close()
		}
	}()
}

// call has a server of google.golang.org/grpc on a machine's port, which says what it is told
// to say of shop.v1.
func (b *bed) call(machine string, port uint16) *health.Server {
	b.t.Helper()
	var l net.Listener
	err := b.Do(machine, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	s, h := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	h.SetServingStatus("shop.v1", grpc_health_v1.HealthCheckResponse_SERVING)
	b.t.Cleanup(s.Stop)
	go func() { _ = s.Serve(l) }()
	return h
}

// What programs say becomes the weight in the kernel, or takes the real server out, and so
// does a certificate for another name, a gRPC service that says that it does not serve, and a
// mail server that has died. The last two are in the table only because their checks pass.
func TestProgramsChecks(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var line atomic.Value
	b.agent(cluster.RS1, &line)
	var shown atomic.Pointer[tls.Certificate]
	right, wrong := selfSigned(t, "www.example.org"), selfSigned(t, "mail.example.org")
	shown.Store(right)
	call := b.call(cluster.RS1, 1005)
	mail, err := b.Start(cluster.RS1, "smtpd", append([]string{"sh"}, b.mailServer(cluster.RS1, "10.0.0.21", 1006)...)...)
	if err != nil {
		t.Fatal(err)
	}
	b.configure(cluster.VRRP + programs + b.secured(cluster.RS1, 1004, &shown, right, wrong))
	say := func(agent string, file, script int) {
		line.Store(agent)
		b.number(cluster.LBA, "eth0", file)
		b.number(cluster.LBA, "eth1", script)
	}
	weights := func(each ...string) {
		t.Helper()
		var table []string
		for i, weight := range each {
			port := 1001 + i
			table = append(table, fmt.Sprintf("-A -t 10.0.0.100:%d -s wlc", port))
			if weight != "" {
				table = append(table, fmt.Sprintf("-a -t 10.0.0.100:%d -r 10.0.0.21:%[1]d -g -w %s", port, weight))
			}
		}
		b.waitTable(cluster.LBA, slices.Sorted(slices.Values(table)))
	}
	say("75%", 7, 0)
	n := b.director(cluster.LBA)
	weights("8", "7", "10", "10", "10", "10")
	say("drain", 0, 255)
	weights("0", "0", "253", "10", "10", "10")
	say("down # disk full", -1, 1)
	shown.Store(wrong)
	call.SetServingStatus("shop.v1", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	mail.Kill()
	weights("", "", "", "", "", "")
	n.wait(removed, "virtual_server=secured", `err="certificate is for mail.example.org, want www.example.org"`)
	for name, want := range map[string]string{
		"agent": "check agent: agent: down # disk full", "file": "weight in the file is negative: -1", "script": "exit status 1",
		"secured": "certificate is for mail.example.org, want www.example.org",
		"call":    "grpc status NOT_SERVING", "mail": "connect refused",
	} {
		for _, vs := range b.status(cluster.LBA).VirtualServers {
			if got := vs.RealServers[0].Cause; vs.Name == name && got != want {
				t.Errorf("%s is down because of %q, want %q", name, got, want)
			}
		}
	}

	// What an agent that does not answer any more has said stays, and the host's end does not.
	say("50%", 10, 2)
	weights("5", "10", "0", "", "", "")
	line.Store("")
	b.run(cluster.RS1, "ip", "link", "set", "eth0", "down")
	weights("", "10", "0", "", "", "")
}
