package conf_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

func TestOwnChecks(t *testing.T) {
	cfg, err := conf.Parse([]byte(`
		[check.script]
		type = "script"
		command = ["/usr/lib/check", "-H", "{address}", "{print}"]
		[check.dynamic]
		type = "script"
		command = ["/usr/lib/check"]
		user = "checker"
		dynamic_weight = true
		[check.file]
		type = "file"
		path = "/run/weights/{address}:{port}"
		[check.icmp]
		type = "icmp"
		[check.agent]
		type = "agent"
		port = 7777
		[check.advice]
		type = "agent"
		port = 7777
		send = "state\r\n"
		on_no_answer = "ignore"`), "f")
	if err != nil {
		t.Fatal(err)
	}
	spec := func(name string, kind healthcheck.Type) healthcheck.Spec {
		return defaultTiming(healthcheck.Spec{Name: name, Type: kind})
	}
	script, dynamic, file := spec("script", healthcheck.Script), spec("dynamic", healthcheck.Script), spec("file", healthcheck.File)
	agent, advice := spec("agent", healthcheck.Agent), spec("advice", healthcheck.Agent)
	script.Script = healthcheck.ScriptSpec{Command: "/usr/lib/check\x00-H\x00{address}\x00{print}", User: "nobody"}
	dynamic.Script = healthcheck.ScriptSpec{Command: "/usr/lib/check", User: "checker", DynamicWeight: true}
	file.File.Path = "/run/weights/{address}:{port}"
	agent.ConnectTimeout, advice.ConnectTimeout = agent.Timeout, advice.Timeout
	agent.Agent.Port = 7777
	advice.Agent = healthcheck.AgentSpec{Port: 7777, Send: "state\r\n", IgnoreSilence: true}
	want := []healthcheck.Spec{script, dynamic, file, spec("icmp", healthcheck.ICMP), agent, advice}
	if diff := cmp.Diff(want, cfg.Checks, sameValues); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again, err := conf.Parse([]byte(cfg.String()), "f")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cfg.Checks, again.Checks, sameValues); diff != "" {
		t.Errorf("the effective configuration read back (-want +got):\n%s", diff)
	}
}

// A check that does not ask the service's port does not need it.
func TestChecksWithoutAPort(t *testing.T) {
	const text = `
[virtual_server.all]
address = "10.0.0.100:0"
protocol = "tcp"
persistence = "5m"
check = "c"
real_server = { web-1 = { address = "10.0.0.21:0" } }
[check.c]
`
	for keys, needs := range map[string]bool{
		`type = "tcp"`: true, `type = "http"`: true, "type = \"https\"\nport = 443": false, `type = "icmp"`: false, "type = \"agent\"\nport = 7777": false,
		"type = \"file\"\npath = \"/run/{address}\"": false, "type = \"script\"\ncommand = [\"/check\"]": false,
	} {
		want := ""
		if needs {
			want = `7:37: virtual_server.all.real_server.web-1.address: check "c" needs a port, and 10.0.0.21:0 has none: ` +
				`write the port that it is to ask, connections keep their own`
		}
		_, err := conf.Parse([]byte(text+keys), "f")
		if diff := cmp.Diff(want, said(t, err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", keys, diff)
		}
	}
}

func TestMisspeltPlaceholder(t *testing.T) {
	cfg, err := conf.Parse([]byte(strings.Replace(good, `type = "http"
path = "/health"`, `type = "script"
command = ["/check", "{adress}", "--port={Port}", "{print}", "{address}{port}"]`, 1)), "f")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range cfg.Warnings {
		got = append(got, w.Error())
	}
	want := []string{
		`f:23:22: check.front-page.command[2]: warning: {adress} is not a placeholder; did you mean "{address}"?`,
		`f:23:34: check.front-page.command[3]: warning: {Port} is not a placeholder; did you mean "{port}"?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An agent whose silence is ignored is for beside another check.
func TestLonelyAgent(t *testing.T) {
	text := strings.Replace(good, `type = "http"
path = "/health"`, `type = "agent"
port = 7777
on_no_answer = "ignore"
[check.port]
type = "tcp"`, 1)
	for check, want := range map[string][]string{
		`"front-page"`: {
			`f:24:16: check.front-page.on_no_answer: warning: web/web-1 has no other check: with "ignore" nobody notices that it has died`,
			`f:25:8: check.port: warning: no virtual server uses this check`,
		},
		`["port", "front-page"]`: nil,
	} {
		cfg, err := conf.Parse([]byte(strings.Replace(text, `check = "front-page"`, `check = `+check, 1)), "f")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range cfg.Warnings {
			got = append(got, w.Error())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", check, diff)
		}
	}
}
