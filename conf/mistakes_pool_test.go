package conf_test

// poolMistakes are in what a virtual server makes of its real servers' health.
var poolMistakes = []mistake{
	{"on_down in other words", `forward = "dr"`, `on_down = "weight-zero"`,
		`15:11: virtual_server.web.on_down: "weight-zero" is not an end: want one of remove, weight-0`},
	{"hysteresis as large as the quorum", `forward = "dr"`, "quorum = 2\nquorum_hysteresis = 2",
		`16:21: virtual_server.web.quorum_hysteresis: 2 is not less than the quorum, 2`},
	{"hysteresis without a quorum", `forward = "dr"`, "quorum_hysteresis = 1",
		`15:21: virtual_server.web.quorum_hysteresis: 1 is not less than the quorum, 1`},
	{"hysteresis that the real servers do not reach", `forward = "dr"`, "quorum = 2\nquorum_hysteresis = 1",
		`16:21: virtual_server.web.quorum_hysteresis: a quorum that is lost comes back with 3, more than the 2 real servers there are`},
	{"quorum of backups", `forward = "dr"
check = "front-page"
[virtual_server.web.real_server]
web-1 = {`, `quorum = 2
check = "front-page"
[virtual_server.web.real_server]
web-1 = { backup = true,`,
		`15:10: virtual_server.web.quorum: 2 is more than the 1 real servers that are no backups`},
	{"backups of nothing", `web-1 = { address = "10.0.0.21:80", weight = 1 }
web-2 = {`, `web-1 = { address = "10.0.0.21:80", backup = true }
web-2 = { backup = true,`,
		`17:21: virtual_server.web.real_server: every real server is a backup: of what?`},
	{"backup, quoted", `weight = 1`, `backup = "yes"`,
		`18:46: virtual_server.web.real_server.web-1.backup: want true or false, found the string "yes"`},
	{"slow_start without a unit", `forward = "dr"`, `slow_start = 30`,
		`15:14: virtual_server.web.slow_start: 30 has no unit: write "30s"`},
	{"slow_start too long", `forward = "dr"`, `slow_start = "25h"`,
		`15:14: virtual_server.web.slow_start: 25h is out of range: want 0s to 24h`},
	{"panic_threshold without a percent sign", `forward = "dr"`, `panic_threshold = "50"`,
		`15:19: virtual_server.web.panic_threshold: "50" is not a part, such as "50%" or 0.5`},
	{"panic_threshold without digits", `forward = "dr"`, `panic_threshold = "%"`,
		`15:19: virtual_server.web.panic_threshold: "%" is not a part, such as "50%" or 0.5`},
	{"panic_threshold above the whole", `forward = "dr"`, `panic_threshold = 50`,
		`15:19: virtual_server.web.panic_threshold: the integer 50 is out of range: want a part, such as "50%" or 0.5, from 0 to 1`},
	{"panic_threshold too fine", `forward = "dr"`, `panic_threshold = "33.333%"`,
		`15:19: virtual_server.web.panic_threshold: the string "33.333%" is too fine: want a multiple of 0.01%`},
	{"panic_threshold, a boolean", `forward = "dr"`, `panic_threshold = true`,
		`15:19: virtual_server.web.panic_threshold: want a part, such as "50%" or 0.5, found the boolean true`},
	{"hook as a line for a shell", `forward = "dr"`, `on_quorum_up = "/usr/bin/logger up"`,
		`15:16: virtual_server.web.on_quorum_up: want an array of the program and its arguments, such as ["/usr/lib/hadirector/check", "eth1"], found the string "/usr/bin/logger up": write ["/usr/bin/logger up"]`},
	{"hook without a path", `forward = "dr"`, `on_quorum_down = ["logger", "down"]`,
		`15:19: virtual_server.web.on_quorum_down[1]: "logger" is not an absolute path: it has to begin with "/"`},
	{"hook of nothing", `forward = "dr"`, `on_quorum_down = []`,
		`15:18: virtual_server.web.on_quorum_down: want an array of the program and its arguments, such as ["/usr/lib/hadirector/check", "eth1"], found an empty array`},
	{"hook without a command", `forward = "dr"`, `on_quorum_down = { user = "root" }`,
		`15:1: virtual_server.web.on_quorum_down.command: missing: want the program and its arguments, such as ["/usr/lib/hadirector/quorum", "web"]`},
	{"hook with another key", `forward = "dr"`, `on_quorum_down = { command = ["/bin/true"], interval = "5s" }`,
		`15:45: virtual_server.web.on_quorum_down.interval: unknown key "interval": want one of command, user, timeout`},
	{"hook of no user", `forward = "dr"`, `on_quorum_down = { command = ["/bin/true"], user = "no body" }`,
		`15:52: virtual_server.web.on_quorum_down.user: "no body" cannot be a user's name`},
	{"hook that may run too long", `forward = "dr"`, `on_quorum_down = { command = ["/bin/true"], timeout = "1h" }`,
		`15:55: virtual_server.web.on_quorum_down.timeout: 1h is out of range: want 10ms to 10m`},
	{"hook in keepalived's words", `forward = "dr"`, `quorum_down = ["/bin/true"]`,
		`15:1: virtual_server.web.quorum_down: unknown key "quorum_down"; did you mean "on_quorum_down"?`},
}

// poolWarnings are questionable.
var poolWarnings = []mistake{
	{"on_down with a scheduler that refuses", `forward = "dr"`, "scheduler = \"dh\"\non_down = \"weight-0\"",
		`16:11: virtual_server.web.on_down: warning: the scheduler dh refuses clients for the sake of a real server of weight 0: those that are down are removed all the same`},
	{"on_down with persistence", `forward = "dr"`, "persistence = \"60s\"\non_down = \"weight-0\"",
		`16:11: virtual_server.web.on_down: warning: persistence sends clients to a real server of weight 0 as before, so they stick to one that is down: want [ipvs] expire_quiescent_template = true`},
	{"slow_start with a scheduler without weights", `forward = "dr"`, "scheduler = \"rr\"\nslow_start = \"30s\"",
		`16:14: virtual_server.web.slow_start: warning: the scheduler rr does not look at weights: slow_start changes nothing`},
	{"slow_start of weights of 1", `forward = "dr"`, "slow_start = \"30s\"",
		`15:14: virtual_server.web.slow_start: warning: a weight of 1 has no parts: slow_start changes nothing without greater weights, such as 100`},
	{"panic_threshold beside a sorry server", `forward = "dr"`, "panic_threshold = 0.5\nsorry_server = { address = \"10.0.0.9:80\" }",
		`15:19: virtual_server.web.panic_threshold: warning: failing checks leave the last good real servers in: the sorry server serves only if those are fewer than the quorum`},
}
