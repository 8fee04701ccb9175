package conf_test

// ownCheckMistakes are in the checks that take a program's or an agent's word.
var ownCheckMistakes = []mistake{
	{"another name of a type", `type = "http"`, `type = "ping"`,
		`22:8: check.front-page.type: "ping" is not a check's type; did you mean "icmp"?`},
	{"script without a command", ``, "[check.x]\ntype = \"script\"\n",
		`24:8: check.x.command: missing: want the program and its arguments, such as ["/usr/lib/hadirector/check", "{address}"]`},
	{"script as a string", ``, "[check.x]\ntype = \"script\"\ncommand = \"/bin/check\"\n",
		`26:11: check.x.command: want an array of the program and its arguments, such as ["/usr/lib/hadirector/check", "eth1"], found the string "/bin/check": write ["/bin/check"]`},
	{"relative script", ``, "[check.x]\ntype = \"script\"\ncommand = [\"check\"]\n",
		`26:12: check.x.command[1]: "check" is not an absolute path: it has to begin with "/"`},
	{"dynamic weight as a number", ``, "[check.x]\ntype = \"script\"\ncommand = [\"/check\"]\ndynamic_weight = 1\n",
		`27:18: check.x.dynamic_weight: want true or false, found the integer 1`},
	{"dynamic weight of another type", `path = "/health"`, "path = \"/health\"\ndynamic_weight = true",
		`24:1: check.front-page.dynamic_weight: dynamic_weight is for script checks, and this one has type "http"`},
	{"file without a path", ``, "[check.x]\ntype = \"file\"\n",
		`24:8: check.x.path: missing: want the file's path, such as "/run/weights/{address}"`},
	{"relative file", ``, "[check.x]\ntype = \"file\"\npath = \"{address}\"\n",
		`26:8: check.x.path: "{address}" is not an absolute path: it has to begin with "/"`},
	{"unknown placeholder", ``, "[check.x]\ntype = \"file\"\npath = \"/run/{name}/{port}\"\n",
		`26:8: check.x.path: {name} is not a placeholder: want {address} or {port}`},
	{"agent without a port", ``, "[check.x]\ntype = \"agent\"\n",
		`24:8: check.x.port: missing: want the port that the agent listens on`},
	{"agent's port", ``, "[check.x]\ntype = \"agent\"\nport = 0\n",
		`26:8: check.x.port: 0 is out of range: want an integer from 1 to 65535`},
	{"agent's request", ``, "[check.x]\ntype = \"agent\"\nport = 7777\nsend = \"hex:7\"\n",
		`27:8: check.x.send: want an even number of hexadecimal digits after "hex:"`},
	{"without an answer", ``, "[check.x]\ntype = \"agent\"\nport = 7777\non_no_answer = \"ignored\"\n",
		`27:16: check.x.on_no_answer: "ignored" is not what to do without an answer; did you mean "ignore"?`},
	{"key of another type", ``, "[check.x]\ntype = \"icmp\"\npath = \"/\"\nport = 7\n",
		`26:1: check.x.path: path is for http, https, file checks, and this one has type "icmp"` + "\n" +
			`27:1: check.x.port: port is for tcp, http, https, grpc, dns, smtp, udp, agent checks, and this one has type "icmp"`},
}
