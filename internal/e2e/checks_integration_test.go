//go:build integration

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/healthcheck/probe"
	"github.com/hadirector/hadirector/lab/cluster"
)

// checkServers are checks of the servers that Debian has, and of one port that none of them
// has. %[1]s is a directory.
const checkServers = `
[director.lb-a]
address = "10.0.0.11"

[check.redis]
type   = "tcp"
send   = "PING\r\n"
expect = "+PONG"

[check.redis-as-another]
type         = "tcp"
send         = "PING\r\n"
expect_regex = '^-NOAUTH'

[check.zone]
type = "dns"
name = "example.org"

[check.zone-over-tcp]
type      = "dns"
name      = "example.org"
transport = "tcp"

[check.www]
type   = "dns"
name   = "www.example.org"
record = "A"
answer = "192.0.2.1"

[check.www-elsewhere]
type   = "dns"
name   = "www.example.org"
record = "A"
answer = "192.0.2.2"

[check.no-name]
type = "dns"
name = "nobody.example.org"

[check.root]
type = "dns"

[check.broken]
type = "dns"
name = "broken.example"

[check.datagram]
type    = "udp"
payload = "hex:abcd 0100 0001 0000 0000 0000 00 0006 0001"
reply   = "hex:abcd 8XX5"

[check.open]
type    = "udp"
payload = "hex:00"

[check.mail]
type = "smtp"

[check.mail-as-text]
type         = "tcp"
expect_regex = '^220[ -].*ESMTP'
`

// nameServer is the configuration of NSD: one process that writes nothing outside its
// directory, a zone, and one without its file.
const nameServer = `server:
  ip-address: 10.0.0.21
  username: ""
  chroot: ""
  zonesdir: "%[1]s"
  pidfile: "%[1]s/nsd.pid"
  xfrdfile: "%[1]s/xfrd.state"
  xfrdir: "%[1]s"
  zonelistfile: "%[1]s/zone.list"
  cookie-secret-file: ""
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: example.org
  zonefile: example.zone
zone:
  name: broken.example
  zonefile: missing.zone
`

const zone = `$ORIGIN example.org.
@ 60 IN SOA ns hostmaster 1 3600 600 86400 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
www 60 IN A 192.0.2.1
`

// prober asks from the first director what the checks of a configuration ask.
type prober struct {
	b      *bed
	checks map[string]healthcheck.Spec
	probes probe.Prober
}

func newProber(b *bed, text string) *prober {
	b.t.Helper()
	cfg, err := conf.Parse([]byte(text), "hadirector.toml")
	if err != nil {
		b.t.Fatal(err)
	}
	p := &prober{b: b, checks: make(map[string]healthcheck.Spec)}
	for _, sp := range cfg.Checks {
		p.checks[sp.Name] = sp
	}
	return p
}

// ask makes one probe and returns its cause.
func (p *prober) ask(check, address string, timeout time.Duration) string {
	p.b.t.Helper()
	sp, ok := p.checks[check]
	if !ok {
		p.b.t.Fatalf("no check is named %s", check)
	}
	c, err := p.probes.New(sp, healthcheck.Target{Addr: netip.MustParseAddrPort(address), Check: check})
	if err != nil {
		p.b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.b.ctx, timeout)
	defer cancel()
	if err := p.b.Do(cluster.LBA, func() error { return c.Check(ctx) }); err != nil {
		return err.Error()
	}
	return ""
}

// expect holds checks of an address to their causes. What has to time out is not waited for
// as long as the check would.
func (p *prober) expect(state, address string, causes map[string]string) {
	p.b.t.Helper()
	for check, want := range causes {
		timeout := 30 * time.Second
		if strings.HasPrefix(want, "timeout") {
			timeout = 300 * time.Millisecond
		}
		if got := p.ask(check, address, timeout); got != want {
			p.b.t.Errorf("%s, %s: cause %q, want %q", check, state, got, want)
		}
	}
}

// signalAll reaches a server and what it started.
func (b *bed) signalAll(p *cluster.Process, s syscall.Signal) {
	b.t.Helper()
	if err := syscall.Kill(-p.PID(), s); err != nil {
		b.t.Fatal(err)
	}
}

// start starts a server on the first real server, and returns when a check is healthy.
func (p *prober) start(check, address, name string, args ...string) *cluster.Process {
	p.b.t.Helper()
	server, err := p.b.Start(cluster.RS1, name, append([]string{name}, args...)...)
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.b.until(name+" answers", func() bool {
		select {
		case <-server.Done():
			p.b.t.Fatalf("%s has ended:\n%s", name, server.Output())
		default:
		}
		return p.ask(check, address, time.Second) == ""
	})
	return server
}

// states looks at a server as it is, stopped in the midst of its work, going on, and gone.
func (p *prober) states(server *cluster.Process, address string, up, hung, gone map[string]string) {
	p.b.t.Helper()
	p.expect("up", address, up)
	p.b.signalAll(server, syscall.SIGSTOP)
	p.expect("hung", address, hung)
	p.b.signalAll(server, syscall.SIGCONT)
	p.expect("up again", address, up)
	p.b.signalAll(server, syscall.SIGKILL)
	<-server.Done()
	p.expect("gone", address, gone)
}

// The checks of a Redis.
func TestChecksOfRedis(t *testing.T) {
	b := newBed(t)
	p := newProber(b, checkServers)
	const address = "10.0.0.21:6379"
	redis := p.start("redis", address, "redis-server", "--bind", "10.0.0.21", "--protected-mode", "no", "--save", "", "--dir", b.MachineDir(cluster.RS1))
	const silent = "timeout after 2s waiting for the answer" // the kernel takes the connection
	p.states(redis, address, map[string]string{"redis": ""},
		map[string]string{"redis": silent}, map[string]string{"redis": "connect refused", "redis-as-another": "connect refused"})

	closed := p.start("redis-as-another", address, "redis-server", "--bind", "10.0.0.21", "--requirepass", "x", "--save", "", "--dir", b.MachineDir(cluster.RS1))
	defer closed.Kill()
	if got, want := p.ask("redis", address, 500*time.Millisecond), `answer "-NOAUTH Authentication required.\r\n", want "+PONG"`; got != want {
		t.Errorf("a Redis that wants a password: cause %q, want %q", got, want)
	}
}

// The checks of an NSD.
func TestChecksOfNameServer(t *testing.T) {
	b := newBed(t)
	p := newProber(b, checkServers)
	dir := b.MachineDir(cluster.RS1)
	for name, text := range map[string]string{"nsd.conf": fmt.Sprintf(nameServer, dir), "example.zone": zone} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const address = "10.0.0.21:53"
	nsd := p.start("zone", address, "nsd", "-d", "-c", filepath.Join(dir, "nsd.conf"))
	const silent = "timeout after 2s waiting for the answer"
	p.states(nsd, address,
		map[string]string{
			"zone": "", "zone-over-tcp": "", "www": "", "datagram": "", "open": "",
			"www-elsewhere": `A "192.0.2.1", want "192.0.2.2"`,
			"no-name":       "rcode NXDOMAIN, want NOERROR",
			"root":          "rcode REFUSED, want NOERROR",
			"broken":        "rcode SERVFAIL, want NOERROR",
		},
		map[string]string{"zone": silent, "zone-over-tcp": silent, "datagram": silent, "open": ""},
		map[string]string{"zone": "connect refused", "zone-over-tcp": "connect refused", "datagram": "connect refused", "open": "connect refused"})
}

// The checks of an OpenSMTPD.
func TestChecksOfMailServer(t *testing.T) {
	b := newBed(t)
	p := newProber(b, checkServers)
	const address = "10.0.0.21:25"
	smtpd := p.start("mail", address, "sh", b.mailServer(cluster.RS1, "10.0.0.21", 25)...)
	p.states(smtpd, address,
		map[string]string{"mail": "", "mail-as-text": ""},
		map[string]string{"mail": "timeout after 2s waiting for the banner", "mail-as-text": "timeout after 2s waiting for the answer"},
		map[string]string{"mail": "connect refused", "mail-as-text": "connect refused"})
}
