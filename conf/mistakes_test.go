package conf_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
)

// good is the text that the rows below spoil.
const good = `[director.lb-a]
address = "10.0.0.11"
priority = 150
[director.lb-b]
address = "10.0.0.12"

[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24", "10.0.0.101/24"]

[virtual_server.web]
address = "10.0.0.100:80"
protocol = "tcp"
forward = "dr"
check = "front-page"
[virtual_server.web.real_server]
web-1 = { address = "10.0.0.21:80", weight = 1 }
web-2 = { address = "10.0.0.22:80" }

[check.front-page]
type = "http"
path = "/health"
`

// Each row replaces one part of the good text, or adds to its end, and states what
// is said about the result, without the file's name.
type mistake struct{ name, old, new, want string }

var mistakes = slices.Concat(shapeMistakes, valueMistakes, serviceMistakes, poolMistakes, wordMistakes, tunnelMistakes, fullNATMistakes, routerMistakes, ownCheckMistakes, webMistakes, talkMistakes, viaMistakes, syncMistakes)

// checkTypes are the types of checks as a message lists them.
const checkTypes = "tcp, http, https, grpc, dns, smtp, udp, icmp, script, file, agent"

// vrrpKeys are the keys of [vrrp.NAME] as a message lists them.
const vrrpKeys = "interface, vrid, virtual_addresses, excluded_addresses, version, checksum, advert_interval, start_delay, " +
	"preempt, preempt_delay, priority, track, sync_group, on_split, unicast, unicast_ttl, unicast_min_ttl, source, password, hmac, " +
	"vmac, vmac_transmit_base, accept, announce, link_up_delay, link_down_delay, virtual_routes, virtual_rules"

// shapeMistakes are in the syntax, the keys and the types.
var shapeMistakes = []mistake{
	{"no value", `priority = 150`, `priority =`,
		`3:11: expected value but found '\n' instead`},
	{"unquoted address", `address = "10.0.0.11"`, `address = 10.0.0.11`,
		`2:11: invalid float value: "10.0.0.11"; a string needs quotes: "10.0.0.11"`},
	{"unquoted duration", `vrid = 51`, "vrid = 51\nadvert_interval = 100ms",
		`10:22: expected a top-level item to end with a newline, comment, or EOF, but got 'm' instead; a string needs quotes: "100ms"`},
	{"unquoted word", `forward = "dr"`, `forward = dr`,
		`15:11: expected value but found "dr" instead; a string needs quotes: "dr"`},
	{"open string", `type = "http"`, `type = "http`,
		`22:13: strings cannot contain newlines`},
	{"open array", `"10.0.0.101/24"]`, `"10.0.0.101/24"`,
		`12:1: expected a comma (',') or array terminator (']'), but got '['`},
	{"open inline table", `weight = 1 }`, `weight = 1`,
		`19:1: expected a comma or an inline table terminator '}', but got 'w' instead`},
	{"open header", `[vrrp.web]`, `[vrrp.web`,
		`7:10: expected '.' or ']' to end table name, but got '\n' instead`},
	{"control character", `type = "http"`, "type = \"ht\x01tp\"",
		`22:11: the control character 0x01 has no place here`},
	{"not UTF-8", `type = "http"`, "type = \"é\xfftp\"",
		`22:10: the byte 0xff is not UTF-8: a configuration is written in UTF-8`},
	{"integer too large", `vrid = 51`, `vrid = 99999999999999999999`,
		`9:8: 99999999999999999999 is out of range for int64`},
	{"key twice", `priority = 150`, "priority = 150\naddress = \"10.0.0.13\"",
		`4:1: director.lb-a.address: already defined in line 2`},
	{"key twice in an inline table", `weight = 1 }`, `weight = 1, weight = 2 }`,
		`18:49: virtual_server.web.real_server.web-1.weight: already defined in line 18`},
	{"table twice", ``, "[vrrp.web]\ninterface = \"eth1\"\nvrid = 300\n",
		`24:7: vrrp.web: already defined in line 7`},
	{"table over a value", `vrid = 51`, "vrid = 51\nvrid.a = 1",
		`10:6: vrrp.web.vrid: already defined in line 9`},
	{"value over a table", ``, "[a.b]\n[a]\nb = 1\n",
		`25:2: a: unknown key "a": want one of director, vrrp, virtual_server, check, track, ipvs, sync, admin, log` + "\n" +
			`26:1: a.b: already defined in line 24`},
	{"nested too deep", ``, "a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
		`24:37: nested more than 32 deep`},
	{"unknown table", ``, "[virtual_servers.mail]\naddress = \"10.0.0.101:25\"\nprotocol = \"tpc\"\n",
		`24:2: virtual_servers: unknown key "virtual_servers"; did you mean "virtual_server"?`},
	{"unknown table, nothing near", ``, "[zebra]\nx = 1\n",
		`24:2: zebra: unknown key "zebra": want one of director, vrrp, virtual_server, check, track, ipvs, sync, admin, log`},
	{"wrong case of a table", `[director.lb-a]`, `[Director.lb-a]`,
		`1:2: Director: unknown key "Director"; did you mean "director"?`},
	{"wrong case of a key", `interface = "eth0"`, `Interface = "eth0"`,
		`8:1: vrrp.web.Interface: unknown key "Interface"; did you mean "interface"?`},
	{"misspelt required key", `interface = "eth0"`, `inteface = "eth0"`,
		`8:1: vrrp.web.inteface: unknown key "inteface"; did you mean "interface"?`},
	{"misspelt key in an inline table", `weight = 1`, `wieght = 1`,
		`18:37: virtual_server.web.real_server.web-1.wieght: unknown key "wieght"; did you mean "weight"?`},
	{"quoted unknown key", `vrid = 51`, "vrid = 51\n\"track me\" = 1",
		`10:1: vrrp.web."track me": unknown key "track me": want one of ` + vrrpKeys},
	{"dotted unknown key", `vrid = 51`, "vrid = 51\nadvert.interval = \"1s\"",
		`10:1: vrrp.web.advert: unknown key "advert": want one of ` + vrrpKeys},
	{"name with a dot, director", `[director.lb-b]`, `[director.lb-b.example]`,
		`4:16: director.lb-b.example: unknown key "example"; a name with a dot needs quotes, "lb-b.example"`},
	{"name with a dot, virtual server", `[check.front-page]`, "[virtual_server.web.example]\n[check.front-page]",
		`21:21: virtual_server.web.example: unknown key "example"; a name with a dot needs quotes, "web.example"`},
	{"name with a dot, real server", `web-2 = {`, `web.2 = {`,
		`19:5: virtual_server.web.real_server.web.2: unknown key "2"; a name with a dot needs quotes, "web.2"`},
	{"name with a space", `[vrrp.web]`, `[vrrp."we b"]`,
		`7:7: vrrp."we b": a name holds letters, digits, ".", "_" and "-" only, not "we b"`},
	{"empty name", `[vrrp.web]`, `[vrrp.""]`,
		`7:7: vrrp."": a name cannot be empty`},
	{"name too long", `[vrrp.web]`, `[vrrp.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]`,
		`7:7: vrrp.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: a name has at most 63 characters, this one has 64`},
	{"name left out", `[vrrp.web]`, `[vrrp]`,
		`8:1: vrrp.interface: the name is missing: write [vrrp.NAME]`},
	{"array of tables without a name", ``, "[[virtual_server]]\naddress = \"10.0.0.101:80\"\n",
		`24:3: virtual_server: already defined in line 12, and an array of tables has no place here: each table has a name`},
	{"array of tables with a name", `[vrrp.web]`, `[[vrrp.web]]`,
		`7:8: vrrp.web: an array of tables has no place here: write it once, [vrrp.NAME]`},
	{"array of tables for one table", ``, "[[admin]]\n",
		`24:3: admin: an array of tables has no place here: write [admin] once`},
	{"array of real servers", "[virtual_server.web.real_server]\n", "[[virtual_server.web.real_server]]\n",
		`17:22: virtual_server.web.real_server: an array of tables has no place here: each has a name, NAME = { address = "10.0.0.21:80" }`},
	{"value for a table", ``, "[virtual_server.web.real_server.web-3]\naddress = \"10.0.0.23:80\"\n[virtual_server.x]\nreal_server = \"10.0.0.24:80\"\naddress = \"10.0.0.101:80\"\nprotocol = \"tcp\"\n",
		`27:15: virtual_server.x.real_server: want tables with names, NAME = { address = "10.0.0.21:80" }, found the string "10.0.0.24:80"`},
	{"value for a real server", `web-2 = { address = "10.0.0.22:80" }`, `web-2 = "10.0.0.22:80"`,
		`19:9: virtual_server.web.real_server.web-2: want a table, NAME = { address = "10.0.0.21:80" }, found the string "10.0.0.22:80"`},
	{"value for [sync]", `[director.lb-a]`, "sync = true\n[director.lb-a]",
		`1:8: sync: want a table, found the boolean true`},
	{"missing in a table", "interface = \"eth0\"\n", ``,
		`7:7: vrrp.web.interface: missing: want the interface's name, such as "eth0"`},
	{"missing in an inline table", `{ address = "10.0.0.22:80" }`, `{ weight = 2 }`,
		`19:1: virtual_server.web.real_server.web-2.address: missing: want ADDRESS:PORT, such as "10.0.0.21:80"`},
	{"missing protocol", "protocol = \"tcp\"\n", ``,
		`12:17: virtual_server.web.protocol: missing: want tcp, udp or sctp`},
	{"missing type", "type = \"http\"\n", ``,
		`21:8: check.front-page.type: missing: want ` + checkTypes},
	{"missing directors", "[director.lb-a]\naddress = \"10.0.0.11\"\npriority = 150\n[director.lb-b]\naddress = \"10.0.0.12\"\n", ``,
		`2:7: vrrp.web: needs [director.NAME] tables: who takes part, with which priority`},
	{"string for an integer", `vrid = 51`, `vrid = "51"`,
		`9:8: vrrp.web.vrid: want an integer from 1 to 255, found the string "51": write 51 without quotes`},
	{"float for an integer", `vrid = 51`, `vrid = 51.0`,
		`9:8: vrrp.web.vrid: want an integer from 1 to 255, found the float 51.0`},
	{"integer for a string", `interface = "eth0"`, `interface = 0`,
		`8:13: vrrp.web.interface: want an interface's name, such as "eth0", found the integer 0`},
	{"date for a string", `interface = "eth0"`, `interface = 2026-01-02`,
		`8:13: vrrp.web.interface: want an interface's name, such as "eth0", found a date or time`},
	{"string for a boolean", `vrid = 51`, "vrid = 51\nunicast = \"true\"",
		`10:11: vrrp.web.unicast: want true or false, found the string "true": write true without quotes`},
	{"string for an array", `["10.0.0.100/24", "10.0.0.101/24"]`, `"10.0.0.100/24"`,
		`10:21: vrrp.web.virtual_addresses: want an array of addresses, such as ["10.0.0.100/24"], found the string "10.0.0.100/24": write ["10.0.0.100/24"]`},
	{"integer in an array", `"10.0.0.101/24"]`, `7]`,
		`10:39: vrrp.web.virtual_addresses[2]: want an address with its prefix length, such as "10.0.0.100/24", found the integer 7`},
	{"integer for a table", `vrid = 51`, "vrid = 51\npriority = 150",
		`10:12: vrrp.web.priority: want a table of directors, such as { lb-a = 150, lb-b = 100 }; one priority for every instance stands in [director.NAME], found the integer 150`},
	{"table for a string", `forward = "dr"`, `forward = { method = "dr" }`,
		`15:1: virtual_server.web.forward: want a forwarding method (dr, nat, tun, fullnat), found a table`},
	{"array for a string", `type = "http"`, `type = ["http"]`,
		`22:8: check.front-page.type: want a check's type (` + checkTypes + `), found an array`},
}

func TestMistakes(t *testing.T) {
	if _, err := conf.Parse([]byte(good), "f"); err != nil {
		t.Fatalf("the good text: %v", err)
	}
	for _, tt := range mistakes {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(good, tt.old) != 1 && tt.old != "" {
				t.Fatalf("%q is not in the good text exactly once", tt.old)
			}
			text := good + tt.new
			if tt.old != "" {
				text = strings.Replace(good, tt.old, tt.new, 1)
			}
			_, err := conf.Parse([]byte(text), "f")
			if diff := cmp.Diff(tt.want, said(t, err)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// said returns the mistakes of an error, one per line, without the file's name.
func said(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	es, ok := errors.AsType[conf.Errors](err)
	if !ok {
		t.Fatalf("the error is a %T, want conf.Errors", err)
	}
	lines := strings.Split(es.Error(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(l, "f:"), " ")
	}
	return strings.Join(lines, "\n")
}
