package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/ipvs"
)

// connsTOML has a virtual server of every kind that connections are told apart by.
const connsTOML = `
[virtual_server.web]
address = "10.0.0.100:80"
protocol = "tcp"
scheduler = "wrr"
sorry_server = { address = "10.0.0.9:80" }
[virtual_server.web.real_server]
web-1 = { address = "10.0.0.21:80" }
web-2 = { address = "10.0.0.22:80" }

[virtual_server.range]
address = "10.0.0.101:8000-8002"
protocol = "tcp"
scheduler = "wrr"
forward = "nat"
[virtual_server.range.real_server]
a = { address = "10.0.0.21:8080" }
b = { address = "10.0.0.21:8081" }

[virtual_server.six]
address = "[fd00::100]:80"
protocol = "tcp"
scheduler = "wrr"
[virtual_server.six.real_server]
c = { address = "[fd00::21]:80" }

[virtual_server.every]
address = "10.0.0.101:0"
protocol = "tcp"
scheduler = "wrr"
persistence = "300s"
[virtual_server.every.real_server]
one = { address = "10.0.0.23:0" }

[virtual_server.dns]
address = "10.0.0.100:53"
protocol = "udp"
scheduler = "wrr"
[virtual_server.dns.real_server]
dns-1 = { address = "10.0.0.53:53" }

[virtual_server.marked]
fwmark = 10
mark = ["10.0.0.100:443"]
protocol = "tcp"
scheduler = "wrr"
persistence = "300s"
[virtual_server.marked.real_server]
web-1 = { address = "10.0.0.21:443" }

[virtual_server.foreign-mark]
fwmark = 11
scheduler = "wrr"
[virtual_server.foreign-mark.real_server]
other = { address = "10.0.0.99:25" }
`

const connsLines = `TCP 0A000001 E0F2 0A000064 0050 0A000015 0050 ESTABLISHED     898
TCP 0A000002 E0F3 0A000064 0050 0A000016 0050 FIN_WAIT         61
TCP 0A000003 0001 0A000064 0050 0A000009 0050 ESTABLISHED       1
TCP 0A000001 0002 0A000064 0050 0A0000C8 0050 ESTABLISHED     900
TCP 0A000001 0003 0A000065 1F42 0A000015 1F91 SYN_RECV         59
TCP fd00:0000:0000:0000:0000:0000:0000:0001 AB12 fd00:0000:0000:0000:0000:0000:0000:0100 0050 fd00:0000:0000:0000:0000:0000:0000:0021 0050 ESTABLISHED     899
TCP 0A000001 0004 0A000065 0016 0A000017 0016 ESTABLISHED     900
TCP 0A000001 0000 0A000065 0000 0A000017 0000 NONE            300
UDP 0A000001 0005 0A000064 0035 0A000035 0035 UDP             299
IP  0A000001 0000 0000000A 0000 0A000015 0000 NONE            300
TCP 0A000001 0006 0A000064 01BB 0A000015 01BB ESTABLISHED     900
TCP 0A000001 0007 0A0000C9 0019 0A000063 0019 ESTABLISHED     900
IP  0A000001 0000 0000000C 0000 0A000015 0000 NONE          86400
TCP 0A000001 0008 0A0000CA 0050 0A000015 0050 ESTABLISHED     900
`

// connsFrom yields the connections of a listing, as the kernel does, waiting before each.
func connsFrom(t *testing.T, text string, before func()) func() iter.Seq2[ipvs.Connection, error] {
	return func() iter.Seq2[ipvs.Connection, error] {
		return func(yield func(ipvs.Connection, error) bool) {
			for line := range strings.Lines(text) {
				c, err := ipvs.ParseConnection(strings.TrimSpace(line))
				if err != nil {
					t.Fatal(err)
				}
				before()
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// conns runs "hadirector conns" with a file for the names.
func conns(t *testing.T, tool *connsTool, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hadirector.toml")
	if err := os.WriteFile(file, []byte(connsTOML), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t.Context(), tool, append([]string{"-c", file}, args...)...)
}

func run(ctx context.Context, tool *connsTool, args ...string) (stdout, stderr string, err error) {
	if tool.now == nil {
		tool.now = func() time.Time { return time.Time{} }
	}
	cmd := tool.command()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func nothing() {}

// The daemon's own tick is no client's connection.
func TestConnsWithoutTheTick(t *testing.T) {
	const tick = "TCP A9FE5831 8000 A9FE5832 2290 A9FE5831 2290 ESTABLISHED     900\n"
	stdout, stderr, err := conns(t, &connsTool{connections: connsFrom(t, tick, nothing)}, "--summary")
	if strings.Contains(stdout, "169.254") || stderr != "" || err != nil {
		t.Errorf("%v, %s\n%s", err, stderr, stdout)
	}
}

func TestConns(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, `PROT  EXPIRES  STATE        VIRTUAL SERVER  REAL SERVER   CLIENT
tcp     14:58  ESTABLISHED  web             web-1         10.0.0.1:57586
tcp     01:01  FIN_WAIT     web             web-2         10.0.0.2:57587
tcp     00:01  ESTABLISHED  web             sorry_server  10.0.0.3:1
tcp     15:00  ESTABLISHED  web             10.0.0.200:80  10.0.0.1:2
tcp     00:59  SYN_RECV     range           b             10.0.0.1:3
tcp     14:59  ESTABLISHED  six             c             [fd00::1]:43794
tcp     15:00  ESTABLISHED  every           one           10.0.0.1:4
tcp     05:00  template     every           one           10.0.0.1
udp     04:59  UDP          dns             dns-1         10.0.0.1:5
ip      05:00  template     marked          web-1         10.0.0.1
tcp     15:00  ESTABLISHED  marked          web-1         10.0.0.1:6
tcp     15:00  ESTABLISHED  foreign-mark    other         10.0.0.1:7
ip    1440:00  template     fwmark 12       10.0.0.21:0   10.0.0.1
tcp     15:00  ESTABLISHED  10.0.0.202:80   10.0.0.21:80  10.0.0.1:8
`},
		{[]string{"--virtual-server", "web", "--client", "10.0.0.2/31"}, `PROT  EXPIRES  STATE        VIRTUAL SERVER  REAL SERVER   CLIENT
tcp     01:01  FIN_WAIT     web             web-2         10.0.0.2:57587
tcp     00:01  ESTABLISHED  web             sorry_server  10.0.0.3:1
`},
		{[]string{"--real-server", "web-1", "--client", "10.0.0.1"}, `PROT  EXPIRES  STATE        VIRTUAL SERVER  REAL SERVER   CLIENT
tcp     14:58  ESTABLISHED  web             web-1         10.0.0.1:57586
ip      05:00  template     marked          web-1         10.0.0.1
tcp     15:00  ESTABLISHED  marked          web-1         10.0.0.1:6
`},
		{[]string{"--client", "192.0.2.0/24"}, "PROT  EXPIRES  STATE        VIRTUAL SERVER  REAL SERVER   CLIENT\n"},
		{[]string{"--summary"}, `VIRTUAL SERVER  REAL SERVER    ESTABLISHED  OTHER  TEMPLATES
10.0.0.202:80   10.0.0.21:80   1            0      0
dns             dns-1          1            0      0
every           one            1            0      1
foreign-mark    other          1            0      0
fwmark 12       10.0.0.21:0    0            0      1
marked          web-1          1            0      1
range           b              0            1      0
six             c              1            0      0
web             10.0.0.200:80  1            0      0
web             sorry_server   1            0      0
web             web-1          1            0      0
web             web-2          0            1      0
`},
		{[]string{"--summary", "--json", "--virtual-server", "every"}, `{"virtual_server":"every","real_server":"one","established":1,"other":0,"templates":1}
`},
		{[]string{"--json", "--virtual-server", "range"}, `{"protocol":"tcp","client":"10.0.0.1:3","virtual_server":"range","virtual":"10.0.0.101:8002","real_server":"b","destination":"10.0.0.21:8081","state":"SYN_RECV","expires_seconds":59}
`},
		{[]string{"--json", "--virtual-server", "six"}, `{"protocol":"tcp","client":"[fd00::1]:43794","virtual_server":"six","virtual":"[fd00::100]:80","real_server":"c","destination":"[fd00::21]:80","state":"ESTABLISHED","expires_seconds":899}
`},
		{[]string{"--json", "--virtual-server", "every", "--client", "10.0.0.1"}, `{"protocol":"tcp","client":"10.0.0.1:4","virtual_server":"every","virtual":"10.0.0.101:22","real_server":"one","destination":"10.0.0.23:22","state":"ESTABLISHED","expires_seconds":900}
{"protocol":"tcp","client":"10.0.0.1:0","virtual_server":"every","virtual":"10.0.0.101:0","real_server":"one","destination":"10.0.0.23:0","state":"NONE","template":true,"expires_seconds":300}
`},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			out, errs, err := conns(t, &connsTool{connections: connsFrom(t, connsLines, nothing)}, tt.args...)
			if diff := cmp.Diff(tt.want, out); err != nil || errs != "" || diff != "" {
				t.Errorf("%v: %s -want +got:\n%s", err, errs, diff)
			}
			for line := range strings.Lines(out) {
				if len(line) > 81 && !strings.Contains(strings.Join(tt.args, " "), "--json") {
					t.Errorf("%d characters: %s", len(line)-1, line)
				}
			}
		})
	}
}

func TestConnsMistakes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--virtual-server", "wbe"}, `no virtual server is named "wbe"; did you mean "web"?`},
		{[]string{"--real-server", "web-3"}, `no virtual server has a real server "web-3"; did you mean "web-1"?`},
		{[]string{"--virtual-server", "dns", "--real-server", "dns-2"}, `virtual server dns has no real server "dns-2"; did you mean "dns-1"?`},
		{[]string{"--client", "10.0.0"}, `--client "10.0.0" is neither an address nor a network such as 10.0.0.0/24`},
	} {
		out, _, err := conns(t, &connsTool{connections: connsFrom(t, connsLines, nothing)}, tt.args...)
		if out != "" || err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v, want %s\n%s", tt.args, err, tt.want, out)
		}
	}
}

func TestConnsWithoutNames(t *testing.T) {
	const line = "TCP 0A000001 E0F2 0A000064 0050 0A000015 0050 ESTABLISHED     898\n"
	args := []string{"--socket", "nowhere.sock"}
	tool := func() *connsTool { return &connsTool{connections: connsFrom(t, line, nothing)} }
	const why = "the names are not known: no hadirector is running: nothing answers on nowhere.sock; and /etc/hadirector/hadirector.toml: cannot be opened: no such file or directory"
	out, errs, err := run(t.Context(), tool(), args...)
	if want := "PROT  EXPIRES  STATE        VIRTUAL SERVER  REAL SERVER  CLIENT\ntcp     14:58  ESTABLISHED  10.0.0.100:80   10.0.0.21:80  10.0.0.1:57586\n"; err != nil || out != want || errs != "addresses are shown, "+why+"\n" {
		t.Errorf("%v, says %q and prints\n%s", err, errs, out)
	}
	if _, _, err := run(t.Context(), tool(), append(args, "--real-server", "web-1")...); err == nil || err.Error() != why {
		t.Errorf("with a name: %v", err)
	}
	if _, errs, err := run(t.Context(), tool(), "-c", "none.toml"); !errors.Is(err, errReported) || errs != "none.toml: cannot be opened: no such file or directory\n" {
		t.Errorf("a file that is not there: %v, %q", err, errs)
	}
}

// What a daemon tells gives the same names as its file.
func TestConnsNamesOfStatus(t *testing.T) {
	cfg, err := conf.Parse([]byte(connsTOML), "f")
	if err != nil {
		t.Fatal(err)
	}
	var s director.Status
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		v := director.VirtualStatus{Name: vs.Name, Protocol: vs.Service.Key.Protocol.String()}
		for _, p := range vs.Ports() {
			v.Addresses = append(v.Addresses, p.String())
		}
		v.Address = strings.Join(v.Addresses, ", ")
		if mark := vs.Service.Key.FWMark; mark != 0 {
			v.Address = fmt.Sprint(mark)
		}
		for _, rs := range vs.RealServers {
			v.RealServers = append(v.RealServers, director.RealStatus{Name: rs.Name, Address: rs.Address.String()})
		}
		if vs.SorryServer != nil {
			v.RealServers = append(v.RealServers, director.RealStatus{Name: vs.SorryServer.Name, Address: vs.SorryServer.Address.String()})
		}
		s.VirtualServers = append(s.VirtualServers, v)
	}
	s.Leaving = []director.LeavingStatus{
		{VirtualServer: "web", Service: "tcp 10.0.0.100:80", RealServer: "web-9", Address: "10.0.0.200:80"},
		{VirtualServer: "old", Service: "tcp 10.0.0.202:80", RealServer: "old-1", Address: "10.0.0.21:80"},
		{VirtualServer: "mark", Service: "fwmark 12", RealServer: "mark-1", Address: "10.0.0.21:0"},
	}
	want := map[string]string{"web 10.0.0.200:80": "web/web-9", " 10.0.0.21:80": "old/old-1", " 10.0.0.21:0": "mark/mark-1"}
	file, status := namesOfConfig(cfg), namesOfStatus(s)
	n := 0
	for c := range connsFrom(t, connsLines, nothing)() {
		fv, fr := file.of(c)
		sv, sr := status.of(c)
		expected := fv + "/" + fr
		if fr == "" {
			expected = want[fv+" "+c.Destination.String()]
			n++
		}
		if got := sv + "/" + sr; got != expected {
			t.Errorf("%v: status says %s, want %s", c, got, expected)
		}
	}
	if n != len(want) {
		t.Errorf("%d connections without a name in the file, want %d", n, len(want))
	}
}

// A great table takes its time, and the operator hears of it; Ctrl-C ends it with what has
// been counted.
func TestConnsOfAGreatTable(t *testing.T) {
	clock := time.Time{}
	ctx, cancel := context.WithCancel(t.Context())
	read := 0
	tool := &connsTool{now: func() time.Time { return clock }}
	tool.connections = connsFrom(t, strings.Repeat(connsLines, 3), func() {
		clock = clock.Add(400 * time.Millisecond)
		if read++; read == 21 {
			cancel()
		}
	})
	file := filepath.Join(t.TempDir(), "hadirector.toml")
	if err := os.WriteFile(file, []byte(connsTOML), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, err := run(ctx, tool, "-c", file, "--summary", "--virtual-server", "web")
	if !errors.Is(err, errReported) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(`VIRTUAL SERVER  REAL SERVER    ESTABLISHED  OTHER  TEMPLATES
web             10.0.0.200:80  2            0      0
web             sorry_server   2            0      0
web             web-1          2            0      0
web             web-2          0            2      0
`, out); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(`8 connections read so far, 4 of them wanted; the kernel takes long to tell a great table
16 connections read so far, 6 of them wanted; the kernel takes long to tell a great table
interrupted after 20 connections: there are more
`, errs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConnsThatCannotBeRead(t *testing.T) {
	broken := errors.New("read the IPVS connections: broken")
	tool := &connsTool{connections: func() iter.Seq2[ipvs.Connection, error] {
		return func(yield func(ipvs.Connection, error) bool) { yield(ipvs.Connection{}, broken) }
	}}
	if _, _, err := conns(t, tool); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestConnsCompletesNames(t *testing.T) {
	cfg, err := conf.Parse([]byte(connsTOML), "f")
	if err != nil {
		t.Fatal(err)
	}
	names := namesOfConfig(cfg)
	if diff := cmp.Diff([]string{"web", "range", "six", "every", "dns", "marked", "foreign-mark"}, names.virtuals()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"web-1", "web-2", "sorry_server"}, names.reals("web")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"web-1", "web-2", "sorry_server", "a", "b", "c", "one", "dns-1", "other"}, names.reals("")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	out, _, err := run(t.Context(), &connsTool{}, "__complete", "--socket", "nowhere.sock", "--virtual-server", "")
	if err != nil || out != ":4\n" {
		t.Errorf("without a daemon: %v, %q", err, out)
	}
}

func FuzzParsePorts(f *testing.F) {
	for _, text := range []string{"10.0.0.100:80", "10.0.0.100:8000-8010", "[fd00::100]:0", "[fe80::1%a-b]:80", "10.0.0.100:80-", "10"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePorts(text)
		if !ok {
			return
		}
		if again, ok := parsePorts(p.String()); !ok || again != p {
			t.Errorf("%q is read as %v, and that as %v, %v", text, p, again, ok)
		}
	})
}
