package conf_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
)

// two are virtual routers that the rows below add to the good text, with room for keys.
func two(a, b string) string {
	return "[vrrp.a]\ninterface = \"eth0\"\nvrid = 52\nvirtual_addresses = [\"10.0.0.102/24\"]\n" + a +
		"[vrrp.b]\ninterface = \"eth0\"\nvrid = 53\nvirtual_addresses = [\"10.0.0.103/24\"]\n" + b
}

const tracked = "[track.x]\ntype = \"interface\"\ninterface = \"eth1\"\n"

func TestRouterWarnings(t *testing.T) {
	for _, tt := range []struct{ name, add, want string }{
		{"TTL without unicast", two("unicast_ttl = 64\nunicast_min_ttl = 255\n", "unicast_min_ttl = 64\n"),
			"28:15: vrrp.a.unicast_ttl: warning: has no effect without unicast = true: multicast is sent and taken with 255\n" +
				"34:19: vrrp.b.unicast_min_ttl: warning: has no effect without unicast = true: multicast is sent and taken with 255"},
		{"source of IPv6 multicast", "[vrrp.six]\ninterface = \"eth0\"\nvrid = 51\nvirtual_addresses = [\"fe80::100/64\"]\nsource = { lb-a = \"2001:db8::1\", lb-b = \"fe80::2\" }\n",
			`28:19: vrrp.six.source.lb-a: warning: 2001:db8::1 is not link-local, as the source of IPv6 multicast has to be (RFC 9568 section 5.1.2.1)`},
		{"sync group of one", two("sync_group = \"g\"\n", "sync_group = \"h\"\n"),
			"28:14: vrrp.a.sync_group: warning: no other virtual router is in the sync group \"g\"\n" +
				`33:14: vrrp.b.sync_group: warning: no other virtual router is in the sync group "h"`},
		{"sync group of two minds", two("sync_group = \"g\"\n", "sync_group = \"g\"\npriority = { lb-b = 200 }\n"),
			`33:14: vrrp.b.sync_group: warning: lb-b has the highest priority here, and lb-a has it in a: a sync group is Master on one director, so want the same in all its members`},
		{"sync group of two weights", two("sync_group = \"g\"\ntrack = { x = -60 }\n", "sync_group = \"g\"\ntrack = { x = -61 }\n") + tracked,
			`34:14: vrrp.b.sync_group: warning: the weights in track are not those of a: a sync group is Master on one director, so want the same in all its members`},
		{"owner with weights", two("priority = { lb-a = 255 }\ntrack = { x = -60 }\n", "") + tracked,
			"28:21: vrrp.a.priority.lb-a: warning: 255 is for the owner of the virtual addresses: it takes them at once, ready or not; want 1 to 254\n" +
				`29:1: vrrp.a.track: warning: weights do not change the priority 255 of lb-a: the owner of the addresses leaves by "fault" only`},
		{"weights that change nothing", two("track = { x = -20, y = 29 }\n", "") + tracked + "[track.y]\ntype = \"ping\"\naddress = \"10.0.0.1\"\n",
			`28:1: vrrp.a.track: warning: the weights change nothing: with everything lost lb-a has priority 130, and lb-b with nothing lost has 129`},
		{"unused track", tracked,
			`24:8: track.x: warning: no virtual router tracks this`},
		{"long delay of a link", two("link_down_delay = \"200ms\"\n", "link_down_delay = \"199ms\"\n"),
			`28:19: vrrp.a.link_down_delay: warning: another director takes over while this one still calls its link usable: want less than two advertisement intervals, 200ms`},
		{"unsigned advertisements", two("hmac = { mode = \"receive-only\", keys = { 1 = \"0123456789abcdef0123456789abcdef\" } }\n", ""),
			`28:17: vrrp.a.hmac.mode: warning: advertisements that are not signed are accepted: this is for the time of a change, want enforce after it`},
		{"base without a vmac", two("vmac_transmit_base = true\n", "vmac = false\nvmac_transmit_base = false\n"),
			`28:22: vrrp.a.vmac_transmit_base: warning: has no effect without vmac`},
		{"long timeout", two("track = { x = \"fault\" }\n", "") + "[track.x]\ntype = \"ping\"\naddress = \"10.0.0.1\"\ntimeout = \"2s\"\n",
			`36:11: track.x.timeout: warning: the timeout 2s is longer than the interval 1s: what does not answer is asked every 2s only`},
		{"long name of a process", two("track = { x = \"fault\" }\n", "") + "[track.x]\ntype = \"process\"\nprocess = \"systemd-resolved\"\n",
			`35:11: track.x.process: warning: the kernel keeps 15 bytes of a command's name: every command that begins with "systemd-resolve" counts`},
		{"ping to a virtual address", two("track = { x = \"fault\" }\n", "") + "[track.x]\ntype = \"ping\"\naddress = \"10.0.0.101\"\n",
			`35:11: track.x.address: warning: 10.0.0.101 is a virtual address of web: its Master asks itself`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, said(t, parse(t, good+tt.add).Warnings)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What is close to a warning and sound gives none.
func TestNoRouterWarnings(t *testing.T) {
	for _, tt := range []struct{ name, add string }{
		{"a group that agrees", two("sync_group = \"g\"\ntrack = { x = -60, y = \"fault\" }\n", "sync_group = \"g\"\npriority = { lb-a = 201, lb-b = 200 }\ntrack = { x = -60 }\n") +
			tracked + "[track.y]\ntype = \"file\"\npath = \"/y\"\n"},
		{"weights that change who is Master together", two("track = { x = -30, y = 20 }\n", "") + tracked + "[track.y]\ntype = \"ping\"\naddress = \"10.0.0.1\"\n"},
		{"a file's number can be any", two("track = { x = -1 }\n", "") + "[track.x]\ntype = \"file\"\npath = \"/x\"\n"},
		{"an owner leaves by fault", two("track = { x = \"fault\" }\n", "") + tracked},
		{"the defaults without unicast", two("unicast_ttl = 255\nvmac_transmit_base = false\n", "vmac = true\nvmac_transmit_base = true\n")},
		{"an excluded address covers a virtual server", two("excluded_addresses = [\"10.0.0.104\", \"2001:db8::104\"]\n", "accept = false\n") +
			"[virtual_server.four]\naddress = \"10.0.0.104:80\"\nprotocol = \"tcp\"\ncheck = \"front-page\"\nreal_server = { r = { address = \"10.0.0.21:80\" } }\n" +
			"[virtual_server.six]\naddress = \"[2001:db8::104]:80\"\nprotocol = \"tcp\"\ncheck = \"front-page\"\nreal_server = { r = { address = \"[2001:db8::21]:80\" } }\n"},
		{"sources of another family than the directors'", "[vrrp.six]\ninterface = \"eth0\"\nvrid = 51\nvirtual_addresses = [\"fe80::100/64\"]\nunicast = true\n" +
			"source = { lb-a = \"2001:db8::11\", lb-b = \"2001:db8::12\" }\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c := parse(t, good+tt.add); len(c.Warnings) > 0 {
				t.Errorf("%v", c.Warnings)
			}
		})
	}
}

// No text of ours repeats a key that signs advertisements, wherever it was put.
func TestKeysAreHidden(t *testing.T) {
	const key = "correct-horse-battery-staple-1234"
	c := parse(t, strings.Replace(good, "vrid = 51", "vrid = 51\nhmac = { keys = { 1 = \""+key+"\" } }", 1))
	for _, text := range []string{c.String(), c.Canonical(), c.Warnings.Error()} {
		if strings.Contains(text, "horse") {
			t.Errorf("the key is told:\n%s", text)
		}
	}
	for _, line := range []string{
		`hmac = "` + key + `"`,
		`hmac = ["` + key + `"]`,
		`hmac = { keys = "` + key + `" }`,
		`hmac = { keys = ["` + key + `"] }`,
		`hmac = { keys = { ` + key + ` = 1 } }`,
		`hmac = { keys = { 1 = ["` + key + `"] } }`,
		`hmac = { keys = { 1 = "file:` + key + `" } }`,
		`hmac = { keys = { 1 = "hex:` + key + `" } }`,
		`hmac = { keys = { 1 = "` + key + key + `" } }`,
		`hmac = { keys = { 1 = "é` + key + `" } }`,
		`hmac = { key = "` + key + `" }`,
		`hmac = { active = "` + key + `", keys = { 1 = "` + key + `" } }`,
		`hmac = { active = 1, 1 = "` + key + `" }`,
		`hmac_key = "` + key + `"`,
		`hmac = { keys = { 1 = ` + key + ` } }`,
		`hmac.keys.1 = ` + key,
		`hmac.keys = { 1 = "` + key + `" 2 = "x" }`,
		"hmac = { keys = { 1 =\n" + key + " } }",
		"hmac.keys = [\n" + key + "\n]",
		`haslo = "x"` + "\n" + `passwort = ` + key,
		`Passphrase = ` + key,
		`auth_pass = ` + key,
		`"password" = ` + key,
		`pasword = ` + key,
		`[vrrp.web.hmac.keys]` + "\n" + `first = ` + key,
		`[vrrp.web."hmac"]` + "\n" + `first = ` + key,
	} {
		_, err := conf.Parse([]byte(strings.Replace(good, "vrid = 51", "vrid = 51\n"+line, 1)), "f")
		if err == nil {
			t.Errorf("accepted: %s", line)
		} else if strings.Contains(err.Error(), "horse") {
			t.Errorf("%s\ntells it: %v", line, err)
		}
	}
}
