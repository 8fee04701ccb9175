package conf_test

import (
	"errors"
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
var mistakes = []struct {
	name, old, new string
	want           string
}{
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
		`25:2: a: unknown key "a": want one of director, vrrp, virtual_server, check, sync, admin, log` + "\n" +
			`26:1: a.b: already defined in line 24`},
	{"nested too deep", ``, "a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
		`24:37: nested more than 32 deep`},
	{"unknown table", ``, "[virtual_servers.mail]\naddress = \"10.0.0.101:25\"\nprotocol = \"tpc\"\n",
		`24:2: virtual_servers: unknown key "virtual_servers"; did you mean "virtual_server"?`},
	{"unknown table, nothing near", ``, "[zebra]\nx = 1\n",
		`24:2: zebra: unknown key "zebra": want one of director, vrrp, virtual_server, check, sync, admin, log`},
	{"wrong case of a table", `[director.lb-a]`, `[Director.lb-a]`,
		`1:2: Director: unknown key "Director"; did you mean "director"?`},
	{"wrong case of a key", `interface = "eth0"`, `Interface = "eth0"`,
		`8:1: vrrp.web.Interface: unknown key "Interface"; did you mean "interface"?`},
	{"misspelt required key", `interface = "eth0"`, `inteface = "eth0"`,
		`8:1: vrrp.web.inteface: unknown key "inteface"; did you mean "interface"?`},
	{"misspelt key in an inline table", `weight = 1`, `wieght = 1`,
		`18:37: virtual_server.web.real_server.web-1.wieght: unknown key "wieght"; did you mean "weight"?`},
	{"quoted unknown key", `vrid = 51`, "vrid = 51\n\"track me\" = 1",
		`10:1: vrrp.web."track me": unknown key "track me": want one of interface, vrid, virtual_addresses, version, advert_interval, preempt, preempt_delay, unicast, priority`},
	{"dotted unknown key", `vrid = 51`, "vrid = 51\nadvert.interval = \"1s\"",
		`10:1: vrrp.web.advert: unknown key "advert": want one of interface, vrid, virtual_addresses, version, advert_interval, preempt, preempt_delay, unicast, priority`},
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
		`12:17: virtual_server.web.protocol: missing: want tcp or udp`},
	{"missing type", "type = \"http\"\n", ``,
		`21:8: check.front-page.type: missing: want tcp or http`},
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
		`15:1: virtual_server.web.forward: want a forwarding method (dr, nat, tun), found a table`},
	{"array for a string", `type = "http"`, `type = ["http"]`,
		`22:8: check.front-page.type: want a check's type (tcp, http), found an array`},
	{"vrid", `vrid = 51`, `vrid = 256`,
		`9:8: vrrp.web.vrid: 256 is out of range: want an integer from 1 to 255`},
	{"priority 0", `priority = 150`, `priority = 0`,
		`3:12: director.lb-a.priority: 0 is out of range: want an integer from 1 to 255`},
	{"weight", `weight = 1`, `weight = -1`,
		`18:46: virtual_server.web.real_server.web-1.weight: -1 is out of range: want an integer from 0 to 2147483647`},
	{"interval without a unit", `vrid = 51`, "vrid = 51\nadvert_interval = \"5\"",
		`10:19: vrrp.web.advert_interval: 5 has no unit: write "5s"`},
	{"interval as an integer", `vrid = 51`, "vrid = 51\nadvert_interval = 5",
		`10:19: vrrp.web.advert_interval: 5 has no unit: write "5s"`},
	{"interval with a space", `vrid = 51`, "vrid = 51\nadvert_interval = \"1 s\"",
		`10:19: vrrp.web.advert_interval: "1 s" is not a duration: write "1s"`},
	{"interval in days", `path = "/health"`, `interval = "1d"`,
		`23:12: check.front-page.interval: "1d" is not a duration: want a duration with its unit, such as "5s" or "100ms"`},
	{"interval out of range", `vrid = 51`, "vrid = 51\nadvert_interval = \"41s\"",
		`10:19: vrrp.web.advert_interval: 41s is out of range: want 10ms to 40.95s`},
	{"interval too fine", `vrid = 51`, "vrid = 51\nadvert_interval = \"15ms\"",
		`10:19: vrrp.web.advert_interval: 15ms is too fine: want a multiple of 10ms`},
	{"negative interval", `vrid = 51`, "vrid = 51\npreempt_delay = \"-1s\"",
		`10:17: vrrp.web.preempt_delay: -1s is out of range: want 0s to 16m40s`},
	{"bare zero", `vrid = 51`, "vrid = 51\npreempt_delay = \"0\"",
		`10:17: vrrp.web.preempt_delay: 0 has no unit: write "0s"`},
	{"persistence below a second", `forward = "dr"`, "forward = \"dr\"\npersistence = \"1500ms\"",
		`16:15: virtual_server.web.persistence: 1500ms is too fine: want a multiple of 1s`},
	{"persistence zero", `forward = "dr"`, "forward = \"dr\"\npersistence = \"0s\"",
		`16:15: virtual_server.web.persistence: 0s is out of range: want 1s to 744h`},
	{"rise", `path = "/health"`, `rise = 0`,
		`23:8: check.front-page.rise: 0 is out of range: want an integer from 1 to 1000`},
	{"sync_id", ``, "[sync]\nsync_id = 256\nkey_file = \"/k\"\n",
		`25:11: sync.sync_id: 256 is out of range: want an integer from 0 to 255`},
	{"port", ``, "[sync]\nport = 0\nkey_file = \"/k\"\n",
		`25:8: sync.port: 0 is out of range: want an integer from 1 to 65535`},
	{"scheduler", `forward = "dr"`, `scheduler = "wr"`,
		`15:13: virtual_server.web.scheduler: "wr" is not a scheduler; did you mean "wrr"?`},
	{"scheduler, nothing near", `forward = "dr"`, `scheduler = "fastest"`,
		`15:13: virtual_server.web.scheduler: "fastest" is not a scheduler: want one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, mh, fo, ovf, twos`},
	{"scheduler's case", `forward = "dr"`, `scheduler = "WLC"`,
		`15:13: virtual_server.web.scheduler: "WLC" is not a scheduler; did you mean "wlc"?`},
	{"forward in ipvsadm's words", `forward = "dr"`, `forward = "gatewaying"`,
		`15:11: virtual_server.web.forward: "gatewaying" is not a forwarding method; did you mean "dr"?`},
	{"forward of a real server", `weight = 1`, `forward = "DR"`,
		`18:47: virtual_server.web.real_server.web-1.forward: "DR" is not a forwarding method; did you mean "dr"?`},
	{"protocol", `protocol = "tcp"`, `protocol = "tpc"`,
		`14:12: virtual_server.web.protocol: "tpc" is not a protocol; did you mean "tcp"?`},
	{"preempt", `vrid = 51`, "vrid = 51\npreempt = \"when_ready\"",
		`10:11: vrrp.web.preempt: "when_ready" is none of "when-ready", true or false; did you mean "when-ready"?`},
	{"preempt, quoted", `vrid = 51`, "vrid = 51\npreempt = \"false\"",
		`10:11: vrrp.web.preempt: "false" is none of "when-ready", true or false: write false without quotes`},
	{"preempt, a number", `vrid = 51`, "vrid = 51\npreempt = 1",
		`10:11: vrrp.web.preempt: want "when-ready", true or false, found the integer 1`},
	{"type of a check", `type = "http"`, `type = "htp"`,
		`22:8: check.front-page.type: "htp" is not a check's type; did you mean "http"?`},
	{"method", `path = "/health"`, `method = "POST"`,
		`23:10: check.front-page.method: "POST" is not a method: want one of GET, HEAD`},
	{"log", ``, "[log]\nlevel = \"warning\"\nformat = \"jsn\"\n",
		`25:9: log.level: "warning" is not a log level; did you mean "warn"?` + "\n" +
			`26:10: log.format: "jsn" is not a log format; did you mean "json"?`},
	{"fullnat", `forward = "dr"`, `forward = "fullnat"`,
		`15:11: virtual_server.web.forward: fullnat is not supported yet: want one of dr, nat, tun`},
	{"fwmark", `address = "10.0.0.100:80"`, `fwmark = 10`,
		`13:1: virtual_server.web.fwmark: fwmark is not supported yet`},
	{"fwmark and address", `protocol = "tcp"`, "protocol = \"tcp\"\nfwmark = 10",
		`15:1: virtual_server.web.fwmark: fwmark is not supported yet` + "\n" +
			`15:10: virtual_server.web.fwmark: address and fwmark exclude each other`},
	{"track", `vrid = 51`, "vrid = 51\ntrack = { uplink = -60 }",
		`10:1: vrrp.web.track: track is not supported yet`},
	{"version 2", `vrid = 51`, "vrid = 51\nversion = 2\nadvert_interval = \"1500ms\"",
		`10:11: vrrp.web.version: VRRP version 2 is not supported yet: want 3` + "\n" +
			`11:19: vrrp.web.advert_interval: 1500ms is too fine: want a multiple of 1s`},
	{"version 4", `vrid = 51`, "vrid = 51\nversion = 4",
		`10:11: vrrp.web.version: 4 is not a version of VRRP: want 3`},
	{"https check", `type = "http"`, "type = \"https\"\nverify = false",
		`22:8: check.front-page.type: https is not supported yet: want one of tcp, http`},
	{"IPv6 virtual address", `"10.0.0.101/24"]`, `"2001:db8::100/64"]`,
		`10:39: vrrp.web.virtual_addresses[2]: 2001:db8::100/64: IPv6 virtual addresses are not supported yet`},
	{"sctp", `protocol = "tcp"`, `protocol = "sctp"`,
		`14:12: virtual_server.web.protocol: sctp is not supported yet: want one of tcp, udp`},
	{"director with a port", `"10.0.0.12"`, `"10.0.0.12:80"`,
		`5:11: director.lb-b.address: "10.0.0.12:80" has a port: want the address alone, "10.0.0.12"`},
	{"director with a prefix length", `"10.0.0.12"`, `"10.0.0.12/24"`,
		`5:11: director.lb-b.address: "10.0.0.12/24" has a prefix length: want the address alone, "10.0.0.12"`},
	{"director's host name", `"10.0.0.12"`, `"lb-b.example"`,
		`5:11: director.lb-b.address: "lb-b.example" is not an IP address: host names are not looked up`},
	{"director, leading zero", `"10.0.0.12"`, `"10.0.0.012"`,
		`5:11: director.lb-b.address: "10.0.0.012" is not an IP address`},
	{"IPv4 in IPv6", `"10.0.0.12"`, `"::ffff:10.0.0.12"`,
		`5:11: director.lb-b.address: ::ffff:10.0.0.12 is an IPv4 address in IPv6 form: write "10.0.0.12"`},
	{"link-local with a zone", `"10.0.0.12"`, `"fe80::1%eth0"`,
		`5:11: director.lb-b.address: fe80::1%eth0 has a zone: link-local addresses have no place here`},
	{"unspecified", `"10.0.0.12"`, `"0.0.0.0"`,
		`5:11: director.lb-b.address: 0.0.0.0 is no machine's address`},
	{"multicast", `"10.0.0.12"`, `"224.0.0.18"`,
		`5:11: director.lb-b.address: 224.0.0.18 is not a unicast address`},
	{"real server without a port", `"10.0.0.22:80"`, `"10.0.0.22"`,
		`19:21: virtual_server.web.real_server.web-2.address: "10.0.0.22" has no port: want ADDRESS:PORT, such as "10.0.0.22:80"`},
	{"IPv6 without brackets", `"10.0.0.22:80"`, `"2001:db8::22"`,
		`19:21: virtual_server.web.real_server.web-2.address: "2001:db8::22" has no port: want ADDRESS:PORT, such as "[2001:db8::22]:80"`},
	{"real server's host name", `"10.0.0.22:80"`, `"web-2:80"`,
		`19:21: virtual_server.web.real_server.web-2.address: "web-2:80" is not ADDRESS:PORT, such as "10.0.0.100:80" or "[2001:db8::1]:80": host names are not looked up`},
	{"port too large", `"10.0.0.22:80"`, `"10.0.0.22:65536"`,
		`19:21: virtual_server.web.real_server.web-2.address: "10.0.0.22:65536" is not ADDRESS:PORT, such as "10.0.0.100:80" or "[2001:db8::1]:80"`},
	{"virtual address is no address", `"10.0.0.101/24"]`, `"10.0.0.101/33"]`,
		`10:39: vrrp.web.virtual_addresses[2]: "10.0.0.101/33" is not an address with its prefix length, such as "10.0.0.100/24"`},
	{"virtual address is the network", `"10.0.0.101/24"]`, `"10.0.0.0/24"]`,
		`10:39: vrrp.web.virtual_addresses[2]: 10.0.0.0/24 is the network's own address`},
	{"virtual address is the broadcast", `"10.0.0.101/24"]`, `"10.0.0.255/24"]`,
		`10:39: vrrp.web.virtual_addresses[2]: 10.0.0.255/24 is the network's broadcast address`},
	{"no virtual address", `["10.0.0.100/24", "10.0.0.101/24"]`, `[]`,
		`10:21: vrrp.web.virtual_addresses: want 1 to 255 addresses, as many as an advertisement carries, found 0`},
	{"virtual address twice", `"10.0.0.101/24"]`, `"10.0.0.100/32"]`,
		`10:39: vrrp.web.virtual_addresses[2]: 10.0.0.100 is named twice`},
	{"interface's name", `interface = "eth0"`, `interface = "a-very-long-name0"`,
		`8:13: vrrp.web.interface: "a-very-long-name0" is too long: an interface's name has at most 15 bytes`},
	{"interface with a slash", `interface = "eth0"`, `interface = "eth/0"`,
		`8:13: vrrp.web.interface: "eth/0" cannot be an interface's name`},
	{"relative path", ``, "[sync]\nkey_file = \"cluster.key\"\n",
		`25:12: sync.key_file: "cluster.key" is not an absolute path: it has to begin with "/"`},
	{"metrics without an address", ``, "[admin]\nmetrics = \":9650\"\n",
		`25:11: admin.metrics: ":9650" is not ADDRESS:PORT, such as "127.0.0.1:9650"`},
	{"path without a slash", `path = "/health"`, `path = "health"`,
		`23:8: check.front-page.path: "health" has to begin with "/"`},
	{"path with a space", `path = "/health"`, `path = "/a b"`,
		`23:8: check.front-page.path: "/a b" has a character that no request can carry: want it percent-encoded`},
	{"status", `path = "/health"`, `status = "2xx"`,
		`23:10: check.front-page.status: "2xx" is not a status or a range of them, such as "200-299", with numbers from 100 to 599`},
	{"status, reversed", `path = "/health"`, `status = "299-200"`,
		`23:10: check.front-page.status: "299-200" is an empty range: write "200-299"`},
	{"status as a number", `path = "/health"`, `status = 200`,
		`23:10: check.front-page.status: want a status or a range of them, such as "200-299", found the integer 200: write "200"`},
	{"unknown check", `check = "front-page"`, `check = "front-pag"`,
		`16:9: virtual_server.web.check: no check is named "front-pag"; did you mean "front-page"?`},
	{"unknown check of a real server", `weight = 1`, `check = "zebra"`,
		`18:45: virtual_server.web.real_server.web-1.check: no check is named "zebra"`},
	{"unknown director in priority", `vrid = 51`, "vrid = 51\npriority = { lb-c = 10 }",
		`10:14: vrrp.web.priority.lb-c: no director is named "lb-c"; did you mean "lb-a"?`},
	{"vrid twice on an interface", ``, "[vrrp.mail]\ninterface = \"eth0\"\nvrid = 51\nvirtual_addresses = [\"10.0.0.102/24\"]\n",
		`26:8: vrrp.mail.vrid: 51 is already the vrid of web on eth0 (line 9)`},
	{"virtual address in two instances", ``, "[vrrp.mail]\ninterface = \"eth0\"\nvrid = 52\nvirtual_addresses = [\"10.0.0.102/24\", \"10.0.0.100/32\"]\n",
		`27:39: vrrp.mail.virtual_addresses[2]: 10.0.0.100 is already a virtual address of web`},
	{"virtual address of a director", `"10.0.0.101/24"]`, `"10.0.0.11/24"]`,
		`10:39: vrrp.web.virtual_addresses[2]: 10.0.0.11 is the address of the director lb-a: a virtual address moves, that one must not`},
	{"two directors with one address", `"10.0.0.12"`, `"10.0.0.11"`,
		`5:11: director.lb-b.address: 10.0.0.11 is already the address of lb-a`},
	{"directors of two families", `"10.0.0.12"`, `"2001:db8::12"`,
		`5:11: director.lb-b.address: 2001:db8::12 is IPv6, but the address of lb-a is IPv4: directors reach each other over one family`},
	{"virtual server twice", ``, "[virtual_server.again]\naddress = \"10.0.0.100:80\"\nprotocol = \"tcp\"\n",
		`25:11: virtual_server.again.address: tcp 10.0.0.100:80 is already the virtual server web (line 13)`},
	{"uncovered virtual server", `address = "10.0.0.100:80"`, `address = "10.0.0.200:80"`,
		`13:11: virtual_server.web.address: no [vrrp] instance has 10.0.0.200 among its virtual_addresses: no director would answer for it`},
	{"dr with another port", `"10.0.0.22:80"`, `"10.0.0.22:8080"`,
		`19:21: virtual_server.web.real_server.web-2.address: port 8080 differs from the virtual server's port 80: forward = "dr" leaves the packet's port as it is (only nat changes it)`},
	{"tun with another port", `web-2 = { address = "10.0.0.22:80"`, `web-2 = { forward = "tun", address = "10.0.0.22:8080"`,
		`19:38: virtual_server.web.real_server.web-2.address: port 8080 differs from the virtual server's port 80: forward = "tun" leaves the packet's port as it is (only nat changes it)`},
	{"port 0 without persistence", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"dr\"\ncheck = \"front-page\"\n[virtual_server.web.real_server]\nweb-1 = { address = \"10.0.0.21:80\", weight = 1 }\nweb-2 = { address = \"10.0.0.22:80\" }", "address = \"10.0.0.100:0\"\nprotocol = \"tcp\"\n[virtual_server.web.real_server]\nweb-1 = { address = \"10.0.0.21:0\" }",
		`13:11: virtual_server.web.address: port 0 needs persistence: without it the kernel balances no port at all`},
	{"port 0 with a check", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"dr\"\ncheck = \"front-page\"\n[virtual_server.web.real_server]\nweb-1 = { address = \"10.0.0.21:80\", weight = 1 }\nweb-2 = { address = \"10.0.0.22:80\" }", "address = \"10.0.0.100:0\"\nprotocol = \"tcp\"\npersistence = \"60s\"\n[virtual_server.web.real_server]\nweb-1 = { address = \"10.0.0.21:0\", check = \"front-page\" }\nweb-2 = { address = \"10.0.0.22:80\" }",
		`17:44: virtual_server.web.real_server.web-1.check: check "front-page" needs a port, and 10.0.0.21:0 has none: checks of port 0 are not supported yet` + "\n" +
			`18:21: virtual_server.web.real_server.web-2.address: port 80: the virtual server takes every port (0), so want port 0 here too`},
	{"real server port 0", `"10.0.0.22:80"`, `"10.0.0.22:0"`,
		`19:21: virtual_server.web.real_server.web-2.address: port 0: the virtual server has port 80, so want a port here too`},
	{"real server twice", `"10.0.0.22:80"`, `"10.0.0.21:80"`,
		`19:21: virtual_server.web.real_server.web-2.address: 10.0.0.21:80 is already the address of web-1`},
	{"real server of another family", `"10.0.0.22:80"`, `"[2001:db8::22]:80"`,
		`19:21: virtual_server.web.real_server.web-2.address: 2001:db8::22 is IPv6, the virtual server's 10.0.0.100 is IPv4`},
	{"real server is the virtual server", `"10.0.0.22:80"`, `"10.0.0.100:80"`,
		`19:21: virtual_server.web.real_server.web-2.address: 10.0.0.100:80 is the virtual server's own address`},
	{"real server named sorry_server", `web-2 =`, `sorry_server =`,
		`19:1: virtual_server.web.real_server.sorry_server: this name is the sorry server's: want another one`},
	{"quorum", `forward = "dr"`, "forward = \"dr\"\nquorum = 3",
		`16:10: virtual_server.web.quorum: 3 is more than the 2 real servers there are`},
	{"sorry server is a real server", `forward = "dr"`, "forward = \"dr\"\nsorry_server = { address = \"10.0.0.21:80\" }",
		`16:28: virtual_server.web.sorry_server.address: 10.0.0.21:80 is the real server web-1: a sorry server stands apart from them`},
	{"sorry server with another port", `forward = "dr"`, "forward = \"dr\"\nsorry_server = { address = \"10.0.0.9:8080\" }",
		`16:28: virtual_server.web.sorry_server.address: port 8080 differs from the virtual server's port 80: forward = "dr" leaves the packet's port as it is (only nat changes it)`},
	{"sorry server as a string", `forward = "dr"`, "forward = \"dr\"\nsorry_server = \"10.0.0.9:80\"",
		`16:16: virtual_server.web.sorry_server: want a table, found the string "10.0.0.9:80": write { address = "10.0.0.9:80" }`},
	{"http key in a tcp check", `type = "http"`, `type = "tcp"`,
		`23:1: check.front-page.path: path is for http checks, and this one has type "tcp"`},
	{"unicast alone", "[director.lb-b]\naddress = \"10.0.0.12\"\n\n[vrrp.web]", "[vrrp.web]\nunicast = true",
		`5:11: vrrp.web.unicast: there is no second director to send to`},
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
