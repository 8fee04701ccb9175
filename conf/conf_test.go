package conf_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// sameValues compares configurations: addresses are comparable values, and where a
// text came from is not what it says.
var sameValues = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}),
	cmpopts.IgnoreFields(conf.Config{}, "File", "Warnings"),
}

func parse(t *testing.T, text string) *conf.Config {
	t.Helper()
	c, err := conf.Parse([]byte(text), "f")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// defaultTiming is a check with the defaults of the keys of all types.
func defaultTiming(s healthcheck.Spec) healthcheck.Spec {
	s.Interval, s.FastInterval, s.DownInterval = 5*time.Second, 5*time.Second, 5*time.Second
	s.Jitter, s.Timeout, s.Rise, s.Fall = 10, 2*time.Second, 1, 3
	return s
}

// The pair of the documentation, value by value.
func TestPair(t *testing.T) {
	c, err := conf.Load("testdata/pair.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings:\n%v", c.Warnings)
	}
	dr := ipvs.ForwardDirect
	want := &conf.Config{
		Directors: []conf.Director{
			{Name: "lb-a", Address: netip.MustParseAddr("10.0.0.11"), Priority: 150},
			{Name: "lb-b", Address: netip.MustParseAddr("10.0.0.12"), Priority: 100},
		},
		VirtualRouters: []conf.VirtualRouter{{
			Name: "web", Interface: "eth0", VRID: 51, Version: vrrp.Version3, AdvertInterval: 100 * time.Millisecond,
			VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")},
			Preempt:          conf.PreemptWhenReady,
			Priority:         map[string]vrrp.Priority{"lb-a": 150, "lb-b": 100},
			UnicastTTL:       255,
			UnicastMinTTL:    255,
			Accept:           true,
			Announce:         vrrp.Announcements{Rounds: 5, Spacing: 1100 * time.Millisecond, Refresh: time.Minute},
		}},
		VirtualServers: []conf.VirtualServer{{
			Name: "web",
			Service: ipvs.Service{
				Key:       ipvs.ServiceKey{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("10.0.0.100:80")},
				Scheduler: "wrr",
			},
			Addresses: []ipvs.Ports{{Addr: netip.MustParseAddr("10.0.0.100"), First: 80, Last: 80}},
			Forward:   dr, Checks: []string{"front-page"}, Quorum: 1, DrainTimeout: 30 * time.Second,
			RealServers: []conf.RealServer{
				{Name: "web-1", Address: netip.MustParseAddrPort("10.0.0.21:80"), Weight: 1, Forward: dr, Checks: []string{"front-page"}},
				{Name: "web-2", Address: netip.MustParseAddrPort("10.0.0.22:80"), Weight: 2, Forward: dr, Checks: []string{"front-page"}},
			},
		}},
		Checks: []healthcheck.Spec{defaultTiming(healthcheck.Spec{
			Name: "front-page", Type: healthcheck.HTTP, ConnectTimeout: 2 * time.Second,
			HTTP: healthcheck.HTTPSpec{Method: "GET", Path: "/", Status: "200-299"},
		})},
		IPVS: conf.IPVS{ProbeMarks: 0x68000000},
		Sync: &conf.Sync{Mode: conf.SyncRelay, Interface: "eth1", KeyFile: "/etc/hadirector/cluster.key", Port: 9651,
			StreamPort: 9652, MaxWait: 30 * time.Second, MaxConnections: 1 << 20},
		Admin: conf.Admin{Socket: "/run/hadirector/admin.sock", Metrics: netip.MustParseAddrPort("127.0.0.1:9650")},
		Log:   conf.Log{Level: slog.LevelInfo, Format: "text"},
	}
	if diff := cmp.Diff(want, c, sameValues); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// everything gives every key a value that is not its default.
const everything = `
[director.lb-a]
address = "2001:db8::11"
priority = 20
sync_addresses = ["10.1.0.11", "2001:db8:1::11"]
[director."lb-b.example"]
address = "2001:db8::12"
sync_addresses = ["10.1.0.12", "2001:db8:1::12"]
[vrrp.web]
interface = "eth0.100"
vrid = 255
virtual_addresses = ["10.0.0.101", "10.0.0.100/24"]
version = 3
advert_interval = "40.95s"
preempt = false
preempt_delay = "0s"
priority = { "lb-b.example" = 254 }
[vrrp.mail]
interface = "eth0.100"
vrid = 1
virtual_addresses = ["10.0.0.102/31"]
preempt = true
preempt_delay = "1.5s"
[vrrp.old]
interface = "eth0.100"
vrid = 2
version = 2
advert_interval = "255s"
virtual_addresses = ["10.0.0.104/24"]
password = "s3cr\u00e9 x"
[virtual_server.web]
address = "10.0.0.100:0"
protocol = "udp"
scheduler = "mh"
forward = "tun"
persistence = "1h0m1s"
quorum = 2
sync = "templates"
sorry_server = { address = "10.0.0.9:0", forward = "dr" }
[virtual_server.web.real_server]
w-2 = { address = "10.0.0.22:0", weight = 0, forward = "nat" }
w-1 = { address = "10.0.0.21:0", weight = 2147483647 }
[virtual_server.mail]
address = "10.0.0.101:25"
protocol = "tcp"
check = "tcp"
[virtual_server.mail.real_server]
m = { address = "10.0.0.31:25", check = "page" }
n = { address = "10.0.0.32:2525", forward = "nat" }
[check.tcp]
type = "tcp"
interval = "100ms"
timeout = "50ms"
rise = 2
fall = 5
[check.page]
type = "http"
method = "HEAD"
path = "/a?b=%22c"
host = "www.example.org:8080"
status = "204"
port = 8080
headers = { x-b = "1", Accept = "*/*", X-A = "\u00e9 \"2\"" }
[check.secure]
type = "https"
tls_ca = "/etc/ca.pem"
tls_name = "2001:db8::1"
tls_certificate = "/etc/client.pem"
tls_key = "/etc/client.pem"
tls_min_version = "1.0"
tls_expiry_warning = "0s"
[check.calls]
type = "grpc"
service = "a.b/\u00e9"
host = "rpc.example.org"
tls = true
tls_min_version = "1.3"
[check.lax]
type = "https"
tls_verify = false
method = "POST"
request_body = "a\u0000\r\n\u007f\u0080"
status = ["301", "200-204", "203-299"]
expect = "\t\"\\\u0007\u2028"
expect_regex = '^\d+"$'
expect_digest = "MD5:444BCB3A3FCF8389296C49467F27E1D6"
[sync]
mode = "relay"
interface = "eth1"
sync_id = 7
key_file = "/etc/key \"x\""
port = 1
stream_port = 2
max_wait = "0s"
max_connections = 16777216
[admin]
socket = "/tmp/s"
metrics = "[::1]:1"
[log]
level = "debug"
format = "json"
`

func TestEverything(t *testing.T) {
	c, err := conf.Parse([]byte(everything), "f")
	if err != nil {
		t.Fatal(err)
	}
	web := c.VirtualServers[0]
	wantService := ipvs.Service{
		Key:       ipvs.ServiceKey{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("10.0.0.100:0")},
		Scheduler: "mh", Flags: ipvs.FlagPersistent, Persistence: 3601 * time.Second, PersistenceBits: 32,
	}
	if diff := cmp.Diff(wantService, web.Service, sameValues); diff != "" {
		t.Errorf("service, -want +got:\n%s", diff)
	}
	wantSorry := &conf.RealServer{Name: "sorry_server", Address: netip.MustParseAddrPort("10.0.0.9:0"), Weight: 1, Forward: ipvs.ForwardDirect}
	if diff := cmp.Diff(wantSorry, web.SorryServer, sameValues); diff != "" {
		t.Errorf("sorry server, -want +got:\n%s", diff)
	}
	wantServers := []conf.RealServer{
		{Name: "w-2", Address: netip.MustParseAddrPort("10.0.0.22:0"), Weight: 0, Forward: ipvs.ForwardMasq},
		{Name: "w-1", Address: netip.MustParseAddrPort("10.0.0.21:0"), Weight: 2147483647, Forward: ipvs.ForwardTunnel},
	}
	if diff := cmp.Diff(wantServers, web.RealServers, sameValues); diff != "" {
		t.Errorf("real servers, -want +got:\n%s", diff)
	}
	mail := c.VirtualServers[1]
	if got := slices.Concat(mail.RealServers[0].Checks, mail.RealServers[1].Checks); !slices.Equal(got, []string{"page", "tcp"}) {
		t.Errorf("checks %q: one's own, then the virtual server's", got)
	}
	if got := mail.RealServers[0].Weight; got != 1 {
		t.Errorf("default weight %d", got)
	}
	if got := mail.Forward; got != ipvs.ForwardDirect {
		t.Errorf("default forward %d", got)
	}
	router := c.VirtualRouters[0]
	if diff := cmp.Diff(map[string]vrrp.Priority{"lb-a": 20, "lb-b.example": 254}, router.Priority); diff != "" {
		t.Errorf("priorities, -want +got:\n%s", diff)
	}
	if got := router.VirtualAddresses[0].String(); got != "10.0.0.101/32" {
		t.Errorf("address without a length: %s", got)
	}
	wantTLS := []healthcheck.TLSSpec{
		{CA: "/etc/ca.pem", Name: "2001:db8::1", Certificate: "/etc/client.pem", Key: "/etc/client.pem", MinVersion: "1.0"},
		{SkipVerify: true, MinVersion: "1.2", ExpiryWarning: 14 * 24 * time.Hour},
	}
	if diff := cmp.Diff(wantTLS, []healthcheck.TLSSpec{c.Checks[2].TLS, c.Checks[4].TLS}); diff != "" {
		t.Errorf("TLS, -want +got:\n%s", diff)
	}
	wantHTTP := []healthcheck.HTTPSpec{
		{Method: "HEAD", Path: "/a?b=%22c", Host: "www.example.org:8080", Headers: "Accept: */*\nX-A: é \"2\"\nx-b: 1", Status: "204"},
		{Method: "POST", Path: "/", Body: "a\x00\r\n\x7f\u0080", Status: "200-299,301", Expect: "\t\"\\\a\u2028", ExpectRegex: `^\d+"$`,
			ExpectDigest: "md5:444bcb3a3fcf8389296c49467f27e1d6"},
	}
	if diff := cmp.Diff(wantHTTP, []healthcheck.HTTPSpec{c.Checks[1].HTTP, c.Checks[4].HTTP}); diff != "" {
		t.Errorf("HTTP, -want +got:\n%s", diff)
	}
	wantGRPC := healthcheck.GRPCSpec{Service: "a.b/é", Host: "rpc.example.org", TLS: true}
	if got := c.Checks[3]; got.GRPC != wantGRPC || got.TLS.MinVersion != "1.3" {
		t.Errorf("gRPC: %+v", got)
	}
	if got := c.Checks[1].Port; got != 8080 {
		t.Errorf("port %d", got)
	}
	old := c.VirtualRouters[2]
	if want := vrrp.Password("s3cr\xc3\xa9 x"); old.Version != vrrp.Version2 || old.AdvertInterval != 255*time.Second || old.Auth != want {
		t.Errorf("version 2: %+v", old)
	}
}

func TestWarnings(t *testing.T) {
	if c := parse(t, good); len(c.Warnings) > 0 {
		t.Fatalf("the good text: %v", c.Warnings)
	}
	for _, tt := range slices.Concat(poolWarnings, syncWarnings, []mistake{
		{"equal priorities", "priority = 150\n", "",
			`6:7: vrrp.web: warning: lb-a and lb-b have the same priority 100: the one with the higher address wins`},
		{"equal priorities of one instance", "vrid = 51", "vrid = 51\npriority = { lb-b = 150 }",
			`10:1: vrrp.web.priority: warning: lb-a and lb-b have the same priority 150: the one with the higher address wins`},
		{"owner", "priority = 150", "priority = 255",
			`3:12: director.lb-a.priority: warning: 255 is for the owner of the virtual addresses: it takes them at once, ready or not; want 1 to 254`},
		{"one director", "[director.lb-b]\naddress = \"10.0.0.12\"\n", "",
			`5:7: vrrp.web: warning: there is no second director to take over`},
		{"password", "vrid = 51", "vrid = 51\nversion = 2\npassword = \"secret12\"",
			`11:12: vrrp.web.password: warning: is sent in clear: it keeps apart routers that were given the same vrid by mistake, and nobody else`},
		{"first IPv6 address", "", "[vrrp.six]\ninterface = \"eth0\"\nvrid = 51\nvirtual_addresses = [\"2001:db8::100/64\", \"fe80::100/64\"]\n",
			`27:22: vrrp.six.virtual_addresses[1]: warning: the first IPv6 virtual address should be link-local, such as "fe80::100/64" (RFC 9568 section 5.2.9): 2001:db8::100 is not`},
		{"delay without preemption", "vrid = 51", "vrid = 51\npreempt = false\npreempt_delay = \"5s\"",
			`11:17: vrrp.web.preempt_delay: warning: has no effect with preempt = false`},
		{"timeout above interval", `path = "/health"`, `timeout = "6s"`,
			`23:11: check.front-page.timeout: warning: the timeout 6s is longer than the interval 5s: a real server that does not answer is asked every 6s only`},
		{"connect timeout above the timeout", `path = "/health"`, `connect_timeout = "3s"`,
			`23:19: check.front-page.connect_timeout: warning: the connect timeout 3s is longer than the timeout 2s of the whole probe, which comes first`},
		{"fast interval above the interval", `path = "/health"`, `fast_interval = "6s"`,
			`23:17: check.front-page.fast_interval: warning: the fast interval 6s is longer than the interval 5s: a real server that begins to fail is asked less often`},
		{"unused check", "", "[check.other]\ntype = \"tcp\"\n",
			`24:8: check.other: warning: no virtual server uses this check`},
		{"no check", "check = \"front-page\"\n", "",
			"12:17: virtual_server.web: warning: has no check: its real servers count as up, whatever happens to them\n" +
				`20:8: check.front-page: warning: no virtual server uses this check`},
		{"no real servers", "", "[virtual_server.x]\naddress = \"10.0.0.101:80\"\nprotocol = \"tcp\"\n",
			`24:17: virtual_server.x: warning: has no real servers`},
		{"weights 0", "web-1 = { address = \"10.0.0.21:80\", weight = 1 }\nweb-2 = { address = \"10.0.0.22:80\" }",
			"web-1 = { address = \"10.0.0.21:80\", weight = 0 }",
			`12:17: virtual_server.web: warning: every real server has weight 0: no connection is accepted`},
		{"virtual address as a real server", "web-2 = { address = \"10.0.0.22:80\" }", "web-2 = { address = \"10.0.0.101:80\" }",
			`19:21: virtual_server.web.real_server.web-2.address: warning: 10.0.0.101 is a virtual address: the director that has it serves such connections itself, not through another virtual server`},
		{"answers to single packets", "protocol = \"tcp\"\nforward = \"dr\"", "protocol = \"udp\"\nforward = \"nat\"\none_packet = true",
			`16:14: virtual_server.web.one_packet: warning: with forward = "nat" answers come from the real server's own address, which clients do not expect: ` +
				`the kernel keeps no connections with one_packet; right for packets that nobody answers, or with persistence_engine = "sip"`},
		{"answers of the sorry server alone", "protocol = \"tcp\"\nforward = \"dr\"", "protocol = \"udp\"\none_packet = true\nsorry_server = { address = \"10.0.0.9:80\", forward = \"nat\" }",
			`15:14: virtual_server.web.one_packet: warning: with forward = "nat" answers come from the real server's own address, which clients do not expect: ` +
				`the kernel keeps no connections with one_packet; right for packets that nobody answers, or with persistence_engine = "sip"`},
		{"metrics for everyone", "", "[admin]\nmetrics = \"0.0.0.0:9650\"\n",
			`25:11: admin.metrics: warning: 0.0.0.0:9650 serves metrics to everyone who can reach this machine`},
		{"metrics of one machine", "", "[admin]\nmetrics = \"10.0.0.11:9650\"\n",
			`25:11: admin.metrics: warning: 10.0.0.11 is the address of one machine, and this file is for 2 directors`},
		{"cut short", "path = \"/health\"\n", `path = "/he"`,
			`23:13: warning: the last line has no end: the file may have been cut short`},
	}) {
		t.Run(tt.name, func(t *testing.T) {
			if tt.old != "" && strings.Count(good, tt.old) != 1 {
				t.Fatalf("%q is not in the good text exactly once", tt.old)
			}
			text := good + tt.new
			if tt.old != "" {
				text = strings.Replace(good, tt.old, tt.new, 1)
			}
			c := parse(t, text)
			if len(c.Warnings) == 0 {
				t.Fatal("no warning")
			}
			if diff := cmp.Diff(tt.want, said(t, c.Warnings)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for name, single := range map[string]string{
		"the engine sip makes a connection of the answer": "forward = \"nat\"\npersistence = \"60s\"\npersistence_engine = \"sip\"",
		"real servers answer themselves":                  "forward = \"dr\"\npersistence = \"60s\"",
	} {
		text := strings.Replace(good, "protocol = \"tcp\"\nforward = \"dr\"", "protocol = \"udp\"\none_packet = true\n"+single, 1)
		if c := parse(t, text); len(c.Warnings) > 0 {
			t.Errorf("%s: %v", name, c.Warnings)
		}
	}
	c := parse(t, "[log]\n")
	if diff := cmp.Diff(`1:1: warning: there is neither a [virtual_server.NAME] nor a [vrrp.NAME]: nothing to do`, said(t, c.Warnings)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// One file with twelve mistakes gives twelve errors, no more and no fewer, in the
// lines that say "mistake".
func TestTwelveMistakes(t *testing.T) {
	data, err := os.ReadFile("testdata/twelve.toml")
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for i, line := range strings.Split(string(data), "\n") {
		if strings.Contains(line, "# mistake") {
			want = append(want, i+1)
		}
	}
	_, err = conf.Load("testdata/twelve.toml")
	es, _ := errors.AsType[conf.Errors](err)
	var got []int
	for _, e := range es {
		got = append(got, e.Line)
	}
	if len(want) != 12 || !slices.Equal(want, got) {
		t.Errorf("mistakes in lines %v, found in %v:\n%v", want, got, err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := write("huge", nil)
	if err := os.Truncate(huge, 100<<20); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), ": cannot be opened: no such file or directory"},
		{"through a file", filepath.Join(huge, "x"), ": cannot be opened: not a directory"},
		{"directory", dir, ": is a directory, want a file"},
		{"pipe without a writer", fifo, ": is not a regular file (p---------)"},
		{"device", "/dev/null", ": is not a regular file (Dc---------)"},
		{"huge", huge, ": is 104857600 bytes long, the limit is 16777216 (16 MiB)"},
		{"empty", write("empty", nil), ": is empty: there is nothing to configure"},
		{"comments only", write("comments", []byte("# nothing\n\n")), ": is empty: there is nothing to configure"},
		{"UTF-16", write("utf16", []byte("\xff\xfe[\x00a\x00")), ":1:1: the byte 0xff is not UTF-8: a configuration is written in UTF-8 (it looks like UTF-16)"},
		{"UTF-8 mark", write("bom", []byte("\xef\xbb\xbf[vrrp.x]\n")), "" +
			":1:7: vrrp.x.interface: missing: want the interface's name, such as \"eth0\"\n" +
			":1:7: vrrp.x.vrid: missing: want an integer from 1 to 255\n" +
			":1:7: vrrp.x.virtual_addresses: missing: want an array such as [\"10.0.0.100/24\"]\n" +
			":1:7: vrrp.x: needs [director.NAME] tables: who takes part, with which priority"},
		{"line ends of a foreign system", write("crlf", []byte("[log]\r\nlevel = \"inf\"\r\n")), ":2:9: log.level: \"inf\" is not a log level; did you mean \"info\"?"},
		{"carriage returns only", write("cr", []byte("[log]\rlevel = 1\r")), ":1:6: a carriage return without a line feed has no place here"},
		{"cut in a string", write("cut", []byte("[log]\nlevel = \"in")), ":2:11: unexpected EOF; expected '\"'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := conf.Load(tt.path)
			if err == nil {
				t.Fatal("no error")
			}
			if _, ok := errors.AsType[conf.Errors](err); !ok {
				t.Errorf("the error is a %T", err)
			}
			want := tt.path + strings.ReplaceAll(tt.want, "\n", "\n"+tt.path)
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// large writes n virtual servers of four real servers each, every line of which that
// can be wrong is wrong if asked for.
func large(n int, wrong bool) []byte {
	check, key := "port", "weight"
	if wrong {
		check, key = "prot", "wieght"
	}
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[virtual_server.vs-%d]\naddress = \"10.%d.%d.1:80\"\nprotocol = \"tcp\"\ncheck = \"%s\"\n[virtual_server.vs-%d.real_server]\n",
			i, i/250, i%250, check, i)
		for j := range 4 {
			fmt.Fprintf(&b, "rs-%d = { address = \"192.168.%d.%d:80\", %s = 1 }\n", j, i%250, j+1, key)
		}
	}
	b.WriteString("[check.port]\ntype = \"tcp\"\n")
	return []byte(b.String())
}

// Finding places takes time in proportion to the file, not to its square: 12 500
// places by the library's own search would take minutes.
func TestLargeFile(t *testing.T) {
	start := time.Now()
	_, err := conf.Parse(large(2500, true), "f")
	es, _ := errors.AsType[conf.Errors](err)
	if len(es) != 12_500 {
		t.Errorf("%d mistakes, want 12500", len(es))
	}
	if lines := strings.Count(es.Error(), "\n") + 1; lines != 12_500 {
		t.Errorf("%d lines", lines)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, wrong := range []bool{false, true} {
		data := large(10_000, wrong)
		b.Run(fmt.Sprintf("wrong=%v", wrong), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := conf.Parse(data, "f"); (err != nil) != wrong {
					b.Fatal(err)
				}
			}
		})
	}
}
