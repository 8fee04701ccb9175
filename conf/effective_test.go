package conf_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

const effective = `[director.lb-a]
address = "10.0.0.11"
priority = 150

[director.lb-b]
address = "10.0.0.12"
priority = 100

[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24", "10.0.0.101/24"]
version = 3
checksum = "pseudo-header"
advert_interval = "100ms"
start_delay = "0s"
preempt = "when-ready"
preempt_delay = "0s"
priority = { lb-a = 150, lb-b = 100 }
on_split = "take"
unicast = false
vmac = false
accept = true
announce = { rounds = 5, spacing = "1.1s", refresh = "1m" }
link_up_delay = "0s"
link_down_delay = "0s"

[virtual_server.web]
address = "10.0.0.100:80"
protocol = "tcp"
scheduler = "wlc"
forward = "dr"
check = "front-page"
quorum = 1
quorum_hysteresis = 0
on_down = "remove"
slow_start = "0s"
panic_threshold = "0%"
drain_timeout = "30s"
sync = "all"

[virtual_server.web.real_server]
web-1 = { address = "10.0.0.21:80", weight = 1, forward = "dr", check = "front-page" }
web-2 = { address = "10.0.0.22:80", weight = 1, forward = "dr", check = "front-page" }

[check.front-page]
type = "http"
interval = "5s"
fast_interval = "5s"
down_interval = "5s"
jitter = "10%"
timeout = "2s"
connect_timeout = "2s"
rise = 1
fall = 3
initial = "up"
via = "server"
method = "GET"
path = "/health"
status = "200-299"

[ipvs]
on_stop = "release"
probe_marks = 0x68000000

[admin]
socket = "/run/hadirector/admin.sock"

[log]
level = "info"
format = "text"
`

// What is not given has no default: it is left as the kernel has it.
func TestEffectiveKernelParameters(t *testing.T) {
	c := parse(t, good+"\n[ipvs]\nsloppy_tcp = true\nconn_reuse_mode = 0\nconntrack = false\n")
	want := "[ipvs]\non_stop = \"release\"\nprobe_marks = 0x68000000\nconn_reuse_mode = 0\nconntrack = false\nsloppy_tcp = true\n\n"
	if !strings.Contains(c.String(), want) {
		t.Errorf("effective text\n%s\nwant in it\n%s", c, want)
	}
	if diff := cmp.Diff(map[string]int64{"sloppy_tcp": 1, "conn_reuse_mode": 0, "conntrack": 0}, c.IPVS.Parameters); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if keys := conf.DiffKeys(parse(t, good).Canonical(), c.Canonical()); !slices.Equal(keys, []string{"ipvs.conn_reuse_mode", "ipvs.conntrack", "ipvs.sloppy_tcp"}) {
		t.Errorf("differing keys %q", keys)
	}
}

// What a request carries may be a secret. The effective text and its differences do not
// tell it, but tell that it is another.
func TestRequestIsHidden(t *testing.T) {
	with := func(token, body string) *conf.Config {
		return parse(t, good+"method = \"POST\"\nheaders = { X-Token = \""+token+"\", Accept = \"text/plain\" }\nrequest_body = \""+body+"\"\n")
	}
	a := with("s3cret", "s3cret body")
	// From printf 'hadirector check header x-token s3cret' | sha256sum, and the like for the
	// body: directors of different builds have to agree on it.
	want := "headers = { Accept = \"text/plain\", X-Token = \"(hidden 4037d098)\" }\nrequest_body = \"(hidden 85275c7e)\"\n"
	if !strings.Contains(a.String(), want) {
		t.Errorf("want %s in\n%s", want, a)
	}
	if text := a.String() + a.Canonical(); strings.Contains(text, "s3cret") {
		t.Errorf("a secret is told:\n%s", text)
	}
	for _, b := range []*conf.Config{with("other", "s3cret body"), with("s3cret", "other body")} {
		if keys := conf.DiffKeys(a.Canonical(), b.Canonical()); len(keys) != 1 || a.Fingerprint() == b.Fingerprint() {
			t.Errorf("another secret: differences %q, equal fingerprints %t", keys, a.Fingerprint() == b.Fingerprint())
		}
	}
}

func TestEffectiveSecureCheck(t *testing.T) {
	c := parse(t, good+"[check.secure]\ntype = \"https\"\nport = 8443\nhost = \"www.example.org\"\ntls_ca = \"/etc/ca.pem\"\n")
	const want = `port = 8443
method = "GET"
path = "/"
host = "www.example.org"
status = "200-299"
tls_verify = true
tls_ca = "/etc/ca.pem"
tls_min_version = "1.2"
tls_expiry_warning = "336h"

`
	if !strings.Contains(c.String(), want) {
		t.Errorf("effective text\n%s\nwant in it\n%s", c, want)
	}
}

func TestEffective(t *testing.T) {
	if diff := cmp.Diff(effective, parse(t, good).String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// whole returns the effective text with the passwords and keys that it hides. Until they
// are put back, Parse refuses it in their places and nowhere else.
func whole(t *testing.T, c *conf.Config) string {
	t.Helper()
	text := c.String()
	var secrets []string // TOML, in the order of the text
	for _, vr := range c.VirtualRouters {
		if vr.Auth.Type == vrrp.AuthPassword {
			secrets = append(secrets, strconv.Quote(strings.TrimRight(string(vr.Auth.Data[:]), "\x00")))
		}
		if vr.HMAC != nil {
			for _, k := range vr.HMAC.Keys {
				secrets = append(secrets, fmt.Sprintf(`"hex:%x"`, k.Secret))
			}
		}
	}
	for _, s := range c.Checks {
		for line := range strings.Lines(s.HTTP.Headers) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if !slices.Contains(plainHeaders, strings.ToLower(name)) {
				secrets = append(secrets, toml(t, value))
			}
		}
		if s.HTTP.Body != "" {
			secrets = append(secrets, toml(t, s.HTTP.Body))
		}
	}
	if len(secrets) == 0 {
		return text
	}
	_, err := conf.Parse([]byte(text), "effective")
	es, _ := errors.AsType[conf.Errors](err)
	if len(es) != len(secrets) {
		t.Fatalf("%d secrets, but the effective text gives: %v", len(secrets), err)
	}
	lines := strings.Split(text, "\n")
	for i, e := range slices.Backward(es) {
		line := []rune(lines[e.Line-1])
		before, hidden := string(line[:e.Col-1]), string(line[e.Col-1:])
		if !secretPath.MatchString(e.Path) || !hiddenSecret.MatchString(hidden) {
			t.Fatalf("the effective text is refused: %v", e)
		}
		lines[e.Line-1] = before + hiddenSecret.ReplaceAllLiteralString(hidden, secrets[i])
	}
	return strings.Join(lines, "\n")
}

// toml writes a string with whatever it has in it: but for one character, as JSON.
func toml(t *testing.T, s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\x7f", `\u007f`)
}

// plainHeaders are those whose values are told.
var plainHeaders = []string{
	"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-type", "origin", "pragma",
	"referer", "user-agent", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip",
}

var secretPath = regexp.MustCompile(`\.(password|hmac\.keys\..*|headers\..*|request_body)$`)

var hiddenSecret = regexp.MustCompile(`^"\(hidden [0-9a-f]{8}\)"`)

// The effective text and its differences do not tell a password, but tell that it is
// another.
func TestPasswordIsHidden(t *testing.T) {
	with := func(password string) *conf.Config {
		return parse(t, strings.Replace(good, "vrid = 51", "vrid = 51\nversion = 2\npassword = \""+password+"\"", 1))
	}
	a, b := with("secret12"), with("secret13")
	// From printf 'hadirector vrrp password secret12' | sha256sum: directors of different
	// builds have to agree on it.
	if want := "password = \"(hidden 4db47776)\"\n"; !strings.Contains(a.String(), want) {
		t.Errorf("want %s in\n%s", want, a)
	}
	for _, text := range []string{a.String(), a.Canonical(), a.Warnings.Error()} {
		if strings.Contains(text, "secret") {
			t.Errorf("the password is told:\n%s", text)
		}
	}
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("another password does not change the fingerprint")
	}
	if diff := cmp.Diff([]string{"vrrp.web.password"}, conf.DiffKeys(a.String(), b.String())); diff != "" {
		t.Errorf("differences, -want +got:\n%s", diff)
	}
}

// FuzzParse: no text makes Parse panic; what it refuses it explains, in order, with
// places inside the text; what it accepts has an effective text that says the same.
func FuzzParse(f *testing.F) {
	pair, err := os.ReadFile("testdata/pair.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(pair))
	f.Add(good)
	f.Add(everything)
	f.Add(complete)
	f.Add(conf.Reference())
	f.Add("[log]\nlevel = \"warn\"\n")
	for _, tt := range mistakes {
		if tt.old == "" {
			f.Add(tt.new)
		} else {
			f.Add(strings.Replace(good, tt.old, tt.new, 1))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := conf.Parse([]byte(text), "f")
		if err != nil {
			explains(t, text, err)
			return
		}
		again, err := conf.Parse([]byte(whole(t, c)), "effective")
		if err != nil {
			t.Fatalf("the effective text is refused: %v\n%s", err, c)
		}
		if diff := cmp.Diff(c, again, sameValues); diff != "" {
			t.Errorf("the effective text says something else, -file +effective:\n%s", diff)
		}
		if c.String() != again.String() || c.Fingerprint() != again.Fingerprint() {
			t.Errorf("the effective text is not stable:\n%s\n%s", c, again)
		}
	})
}

func explains(t *testing.T, text string, err error) {
	t.Helper()
	es, _ := errors.AsType[conf.Errors](err)
	if len(es) == 0 {
		t.Fatalf("refused without a reason: %v", err)
	}
	lines := strings.Split(text, "\n")
	last := [2]int{}
	for _, e := range es {
		if e.Text == "" || e.Warning {
			t.Errorf("no reason: %+v", e)
		}
		if e.Line == 0 && len(es) == 1 {
			continue // about the file as a whole
		}
		place := [2]int{e.Line, e.Col}
		if e.Line < 1 || e.Line > len(lines) || e.Col < 1 || e.Col > len(lines[e.Line-1])+1 {
			t.Errorf("%d:%d is not in the text: %v", e.Line, e.Col, e)
		} else if slices.Compare(place[:], last[:]) < 0 {
			t.Errorf("%v is not in its place", e)
		}
		last = place
	}
}

func TestFingerprint(t *testing.T) {
	const reordered = `# the same, told differently
[check."front-page"]
path = '/health' # comment
type = "http"
interval = "5000ms"

[virtual_server]
web.real_server.web-2.address = "10.0.0.22:80"
web.real_server.web-1.address = "10.0.0.21:80"
web.check = "front-page"
web.protocol = "tcp"
web.address = "10.0.0.100:80"

[vrrp.web]
virtual_addresses = [
	"10.0.0.100/24", # one
	"10.0.0.101/24",
]
vrid = 0x33
interface = "eth0"
priority = { lb-a = 150 }

[director]
lb-b = { address = "10.0.0.12" }
lb-a = { priority = 150, address = "10.0.0.11" }
`
	a, b := parse(t, good), parse(t, reordered)
	if a.Fingerprint() != b.Fingerprint() {
		t.Errorf("a file that says the same has another fingerprint; differences: %q", conf.DiffKeys(a.String(), b.String()))
	}
	if got := conf.DiffKeys(a.String(), b.String()); got != nil {
		t.Errorf("differences %q", got)
	}
	for _, change := range [][2]string{
		{"priority = 150", "priority = 151"}, {"10.0.0.21:80", "10.0.0.23:80"}, {"web-1", "web-3"}, {"/health", "/"},
		{`"10.0.0.100/24", "10.0.0.101/24"`, `"10.0.0.101/24", "10.0.0.100/24"`},
	} {
		if c := parse(t, strings.Replace(good, change[0], change[1], 1)); c.Fingerprint() == a.Fingerprint() {
			t.Errorf("%q to %q does not change the fingerprint", change[0], change[1])
		}
	}
	// Directors of different builds have to agree on it.
	if got, want := a.Fingerprint(), parse(t, effective).Fingerprint(); got != want {
		t.Errorf("fingerprint %x, of the effective text %x", got, want)
	}
}

func TestDiffKeys(t *testing.T) {
	a := parse(t, good).String()
	for _, tt := range []struct {
		name, b string
		want    []string
	}{
		{"equal", a, nil},
		{"a value", strings.Replace(a, `scheduler = "wlc"`, `scheduler = "rr"`, 1), []string{"virtual_server.web.scheduler"}},
		{"a real server's value", strings.Replace(a, `"10.0.0.22:80", weight = 1`, `"10.0.0.22:80", weight = 2`, 1),
			[]string{"virtual_server.web.real_server.web-2.weight"}},
		{"a name", strings.ReplaceAll(a, "web-2", "web-3"),
			[]string{"virtual_server.web.real_server.web-2", "virtual_server.web.real_server.web-3"}},
		{"a name with a dot", a + "\n[check.\"a.b\"]\ntype = \"tcp\"\n", []string{`check."a.b"`}},
		{"a table", a + "\n[sync]\nport = 1\n", []string{"sync"}},
		{"no text", "", []string{"admin", "check", "director", "ipvs", "log", "virtual_server", "vrrp"}},
		{"no TOML", "[", []string{"(all)"}},
	} {
		if diff := cmp.Diff(tt.want, conf.DiffKeys(a, tt.b)); diff != "" {
			t.Errorf("%s, -want +got:\n%s", tt.name, diff)
		}
	}
	many := parse(t, string(large(20, false))).String()
	got := conf.DiffKeys(many, strings.ReplaceAll(many, "wlc", "rr"))
	if len(got) != conf.MaxDiffKeys || got[0] != "virtual_server.vs-0.scheduler" || got[1] != "virtual_server.vs-1.scheduler" {
		t.Errorf("of many: %q", got)
	}
}

// IPv6 virtual servers work where no virtual router has to cover them. Their key has
// the form that the kernel's table is read in.
func TestIPv6VirtualServer(t *testing.T) {
	c := parse(t, "[virtual_server.six]\naddress = \"[2001:db8::100]:80\"\nprotocol = \"tcp\"\npersistence = \"5m\"\n"+
		"[virtual_server.six.real_server]\nweb = { address = \"[2001:db8::21]:80\" }\n")
	s := c.VirtualServers[0].Service
	if want := ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("[2001:db8::100]:80")); s.Key != want || s.PersistenceBits != 128 {
		t.Errorf("got %+v", s)
	}
	if s.Canonical() != s {
		t.Errorf("%+v is not canonical", s)
	}
	if again := parse(t, c.String()); again.String() != c.String() {
		t.Errorf("-want +got:\n%s", cmp.Diff(c.String(), again.String()))
	}
}
