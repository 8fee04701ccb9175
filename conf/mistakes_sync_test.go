package conf_test

// withAddresses is the good text's directors with sync addresses.
const (
	directors     = "priority = 150\n[director.lb-b]\naddress = \"10.0.0.12\"\n"
	withAddresses = "sync_addresses = [\"10.1.0.11\", \"2001:db8:1::11\"]\n[director.lb-b]\naddress = \"10.0.0.12\"\n"
)

// syncMistakes are in how the directors synchronise connections.
var syncMistakes = []mistake{
	{"mode", ``, "[sync]\nmode = \"rely\"\nkey_file = \"/k\"\n",
		`25:8: sync.mode: "rely" is not a mode of [sync]; did you mean "relay"?`},
	{"mode, nothing near", ``, "[sync]\nmode = \"tcp\"\nkey_file = \"/k\"\n",
		`25:8: sync.mode: "tcp" is not a mode of [sync]: want one of kernel, relay`},
	{"mode in other words", ``, "[sync]\nmode = \"multicast\"\n",
		`25:8: sync.mode: "multicast" is not a mode of [sync]; did you mean "kernel"?`},
	{"mode, a boolean", ``, "[sync]\nmode = true\n",
		`25:8: sync.mode: want a mode of [sync] (kernel, relay), found the boolean true`},
	{"relay without a key", ``, "[sync]\nmode = \"relay\"\n",
		`25:8: sync.mode: relay needs a key_file, by which the directors know each other: make one with "hadirector keygen FILE", and copy it to the others`},
	{"stream port out of range", ``, "[sync]\nkey_file = \"/k\"\nstream_port = 65536\n",
		`26:15: sync.stream_port: 65536 is out of range: want an integer from 1 to 65535`},
	{"stream port 0", ``, "[sync]\nkey_file = \"/k\"\nstream_port = 0\n",
		`26:15: sync.stream_port: 0 is out of range: want an integer from 1 to 65535`},
	{"stream port of the membership", ``, "[sync]\nkey_file = \"/k\"\nport = 7000\nstream_port = 7000\n",
		`27:15: sync.stream_port: 7000 is already port: the membership and the stream of connections need one each`},
	{"stream port of the membership by default", ``, "[sync]\nkey_file = \"/k\"\nstream_port = 9651\n",
		`26:15: sync.stream_port: 9651 is already port: the membership and the stream of connections need one each`},
	{"port of the stream by default", ``, "[sync]\nkey_file = \"/k\"\nport = 9652\n",
		`26:8: sync.port: 9652 is already stream_port, by its default: the membership and the stream of connections need one each`},
	{"max_wait out of range", ``, "[sync]\nkey_file = \"/k\"\nmax_wait = \"10m1s\"\n",
		`26:12: sync.max_wait: 10m1s is out of range: want 0s to 10m`},
	{"max_wait without a unit", ``, "[sync]\nkey_file = \"/k\"\nmax_wait = 30\n",
		`26:12: sync.max_wait: 30 has no unit: write "30s"`},
	{"max_connections 0", ``, "[sync]\nkey_file = \"/k\"\nmax_connections = 0\n",
		`26:19: sync.max_connections: 0 is out of range: want an integer from 1 to 16777216`},
	{"max_connections out of range", ``, "[sync]\nkey_file = \"/k\"\nmax_connections = 16777217\n",
		`26:19: sync.max_connections: 16777217 is out of range: want an integer from 1 to 16777216`},
	// What is said to have no effect is no good all the same.
	{"keys of the relay in kernel mode", ``, "[sync]\nmode = \"kernel\"\nkey_file = \"/k\"\nstream_port = 0\nmax_wait = \"11m\"\n",
		`27:15: sync.stream_port: 0 is out of range: want an integer from 1 to 65535` + "\n" +
			`28:12: sync.max_wait: 11m is out of range: want 0s to 10m`},
	{"unknown key of [sync]", ``, "[sync]\nkey_file = \"/k\"\nttl = 1\n",
		`26:1: sync.ttl: unknown key "ttl": want one of mode, interface, sync_id, key_file, port, stream_port, max_wait, max_connections`},

	{"sync address without brackets", `priority = 150`, `sync_addresses = "10.1.0.11"`,
		`3:18: director.lb-a.sync_addresses: want an array of addresses, such as ["10.1.0.11"], found the string "10.1.0.11": write ["10.1.0.11"]` + "\n" +
			`4:11: director.lb-b.sync_addresses: missing: want as many addresses as lb-a has: each place in the list is one link between all directors`},
	{"no sync addresses", directors, "sync_addresses = []\n[director.lb-b]\naddress = \"10.0.0.12\"\nsync_addresses = [\"10.1.0.12\"]\n",
		`3:18: director.lb-a.sync_addresses: want 1 to 4 addresses, one for each network between the directors, found 0`},
	{"too many sync addresses", directors, "sync_addresses = [\"10.1.0.1\", \"10.1.0.2\", \"10.1.0.3\", \"10.1.0.4\", \"10.1.0.5\"]\n[director.lb-b]\naddress = \"10.0.0.12\"\nsync_addresses = [\"10.1.0.12\"]\n",
		`3:18: director.lb-a.sync_addresses: want 1 to 4 addresses, one for each network between the directors, found 5`},
	{"sync addresses that are none", directors, withAddresses + "sync_addresses = [\"lb-b\", 7]\n",
		`6:19: director.lb-b.sync_addresses[1]: "lb-b" is not an IP address: host names are not looked up` + "\n" +
			`6:27: director.lb-b.sync_addresses[2]: want an IP address, such as "10.0.0.11", found the integer 7`},
	{"sync addresses of one director alone", `priority = 150`, `sync_addresses = ["10.1.0.11"]`,
		`4:11: director.lb-b.sync_addresses: missing: want as many addresses as lb-a has: each place in the list is one link between all directors`},
	{"sync addresses of the second director alone", `address = "10.0.0.12"`, "address = \"10.0.0.12\"\nsync_addresses = [\"10.1.0.12\"]",
		`1:11: director.lb-a.sync_addresses: missing: want as many addresses as lb-b has: each place in the list is one link between all directors`},
	{"fewer sync addresses", directors, withAddresses + "sync_addresses = [\"10.1.0.12\"]\n",
		`6:18: director.lb-b.sync_addresses: want as many addresses as lb-a has, 2, found 1: each place in the list is one link between all directors`},
	{"more sync addresses", directors, withAddresses + "sync_addresses = [\"10.1.0.12\", \"2001:db8:1::12\", \"10.2.0.12\"]\n",
		`6:18: director.lb-b.sync_addresses: want as many addresses as lb-a has, 2, found 3: each place in the list is one link between all directors`},
	{"sync addresses of two families at one place", directors, withAddresses + "sync_addresses = [\"10.1.0.12\", \"10.2.0.12\"]\n",
		`6:32: director.lb-b.sync_addresses[2]: 10.2.0.12 is IPv4, and lb-a has 2001:db8:1::11 at this place: each place in the list is one link between all directors`},
	{"sync address twice", directors, "sync_addresses = [\"10.1.0.11\", \"10.1.0.11\"]\n[director.lb-b]\naddress = \"10.0.0.12\"\nsync_addresses = [\"10.1.0.12\", \"10.2.0.12\"]\n",
		`3:32: director.lb-a.sync_addresses[2]: 10.1.0.11 is named twice`},
	{"sync address of two directors", directors, withAddresses + "sync_addresses = [\"10.1.0.11\", \"2001:db8:1::12\"]\n",
		`6:19: director.lb-b.sync_addresses[1]: 10.1.0.11 is already a sync address of lb-a`},
	{"sync address that is another director's address", directors, withAddresses + "sync_addresses = [\"10.0.0.11\", \"2001:db8:1::12\"]\n",
		`6:19: director.lb-b.sync_addresses[1]: 10.0.0.11 is already the address of lb-a`},
	{"sync address that moves", directors, withAddresses + "sync_addresses = [\"10.0.0.101\", \"2001:db8:1::12\"]\n",
		`11:39: vrrp.web.virtual_addresses[2]: 10.0.0.101 is a sync address of the director lb-b: a virtual address moves, that one must not`},
	{"sync address with a port", directors, withAddresses + "sync_addresses = [\"10.1.0.12:9652\", \"2001:db8:1::12\"]\n",
		`6:19: director.lb-b.sync_addresses[1]: "10.1.0.12:9652" has a port: want the address alone, "10.1.0.12"`},

	{"scope", `forward = "dr"`, `sync = "template"`,
		`15:8: virtual_server.web.sync: "template" is not a scope of sync; did you mean "templates"?`},
	{"scope in other words", `forward = "dr"`, `sync = "none"`,
		`15:8: virtual_server.web.sync: "none" is not a scope of sync; did you mean "off"?`},
	{"scope, nothing near", `forward = "dr"`, `sync = "zebra"`,
		`15:8: virtual_server.web.sync: "zebra" is not a scope of sync: want one of all, established, templates, off`},
	{"scope, a boolean", `forward = "dr"`, `sync = false`,
		`15:8: virtual_server.web.sync: want a scope of sync (all, established, templates, off), found the boolean false`},
}

const (
	noKey = `24:2: sync: warning: without a key_file the directors cannot see each other's configuration and readiness, ` +
		`and connections travel by the kernel's own multicast, unauthenticated`
	notWithout = `has no effect with mode = "kernel", the default of [sync] without a key_file`
)

// syncWarnings are of keys that change nothing.
var syncWarnings = []mistake{
	{"sync without a key", "", "[sync]\n", noKey},
	{"kernel mode without a key", "", "[sync]\nmode = \"kernel\"\n", noKey},
	{"keys of the relay in kernel mode", "", "[sync]\nmode = \"kernel\"\nkey_file = \"/k\"\nstream_port = 9651\nmax_wait = \"30s\"\nmax_connections = 5\n",
		`27:15: sync.stream_port: warning: has no effect with mode = "kernel"` + "\n" +
			`28:12: sync.max_wait: warning: has no effect with mode = "kernel"` + "\n" +
			`29:19: sync.max_connections: warning: has no effect with mode = "kernel"`},
	{"keys of the relay without a key", "", "[sync]\nstream_port = 9652\nmax_wait = \"0s\"\nmax_connections = 1\n",
		noKey + "\n25:15: sync.stream_port: warning: " + notWithout + "\n26:12: sync.max_wait: warning: " + notWithout +
			"\n27:19: sync.max_connections: warning: " + notWithout},
	{"sync addresses without sync", directors, "priority = 150\n" + withAddresses + "sync_addresses = [\"10.1.0.12\", \"2001:db8:1::12\"]\n",
		`4:18: director.lb-a.sync_addresses: warning: has no effect without [sync]` + "\n" +
			`7:18: director.lb-b.sync_addresses: warning: has no effect without [sync]`},
	{"scope without sync", `forward = "dr"`, `sync = "established"`,
		`15:8: virtual_server.web.sync: warning: has no effect without [sync]`},
	{"scope in kernel mode", `check = "front-page"` + "\n", "check = \"front-page\"\nsync = \"off\"\n[sync]\nmode = \"kernel\"\nkey_file = \"/k\"\n",
		`17:8: virtual_server.web.sync: warning: has no effect with mode = "kernel"`},
	{"templates without persistence", `check = "front-page"` + "\n", "check = \"front-page\"\nsync = \"templates\"\n[sync]\nkey_file = \"/k\"\n",
		`17:8: virtual_server.web.sync: warning: without persistence there are no templates: this is "off"`},
	{"established without states", "protocol = \"tcp\"\nforward = \"dr\"\ncheck = \"front-page\"\n", "protocol = \"udp\"\nsync = \"established\"\ncheck = \"front-page\"\n[sync]\nkey_file = \"/k\"\n",
		`15:8: virtual_server.web.sync: warning: udp has no established connections: this is "off"`},
}
