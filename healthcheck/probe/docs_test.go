package probe

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// tableRows returns the rows of the Markdown table in docs/healthchecks.md that has
// the given first column.
func tableRows(t *testing.T, column string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/healthchecks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n| "+column+" | ")
	if !ok {
		t.Fatalf("no table of %q in docs/healthchecks.md", column)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var rows [][]string
	for line := range strings.SplitSeq(table, "\n") {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.Split(strings.Trim(line, "|"), "|"))
		}
	}
	return rows
}

// placeholders are the words in capitals of the causes tables, as patterns.
func placeholders(steps ...string) *strings.Replacer {
	return strings.NewReplacer(
		"STEP", "("+strings.Join(steps, "|")+")", "TIMEOUT", "2s",
		"CODE", `\d{3}`, "DATE", `\d{4}-\d{2}-\d{2}`, "RANGES", `\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*`, "DIGEST", "(sha256|md5):[0-9a-f]+", "TEXT", ".*", "ERROR", "[a-z/ ]+",
		"NUMBER", `-?\d+`, "PATH", `/[^ ]*`, "NAME", ".+", "WORD", "[a-z]+", "STATE", "[A-Z_]+", "SIGNAL", "SIG[A-Z]+", "ADDRESS", "[0-9a-f.:]+")
}

// checkCausesTable holds the table whose first column is that to the causes that tests
// see: it names all of them, and no others.
func checkCausesTable(t *testing.T, column string, causes []string, words *strings.Replacer) {
	t.Helper()
	rows := tableRows(t, column)
	seen := make([]int, len(rows))
	for _, c := range causes {
		documented := false
		for i, row := range rows {
			pattern := words.Replace(regexp.QuoteMeta(strings.Trim(row[0], " `")))
			if documented = regexp.MustCompile("^" + pattern + `(\.\.\.)?$`).MatchString(c); documented {
				seen[i]++
				break
			}
		}
		if !documented {
			t.Errorf("cause %q is not documented", c)
		}
	}
	for i, row := range rows {
		if seen[i] == 0 {
			t.Errorf("no test sees the documented cause %s", row[0])
		}
	}
}

func TestDocumentedCauses(t *testing.T) {
	var causes []string
	for _, tt := range httpTests {
		if tt.want != "" {
			want, cut := strings.CutPrefix(tt.want, "*")
			if cut {
				want += `"`
			}
			causes = append(causes, want)
		}
	}
	for _, tt := range explainTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range bodyTests {
		if tt.cause != "" {
			causes = append(causes, tt.cause)
		}
	}
	for _, tt := range grpcTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range grpcRealTests {
		causes = append(causes, tt.want)
	}
	causes = slices.DeleteFunc(causes, func(c string) bool { return c == "" })
	_, secure := httpsTests(t)
	for _, tt := range secure {
		if tt.want != "" {
			causes = append(causes, tt.want)
		}
	}
	causes = append(causes, "canceled while reading the body", // TestExplainCanceled
		"not asked: /etc/ca.pem is longer than 4 MiB",                                                          // TestTLSFileTooLong
		"not asked: this director has no certificates of authorities (install ca-certificates, or set tls_ca)", // TestSystemWithoutRoots
		"not asked: this director cannot read the system's certificates of authorities")                        // as above

	steps := []string{string(connecting), string(handshaking), string(sending), string(awaitingStatus), string(readingHeaders), string(readingBody), string(awaitingGRPC),
		string(awaitingAgent), string(awaitingEcho)}
	text, err := os.ReadFile("../../docs/healthchecks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range steps {
		if !strings.Contains(strings.ReplaceAll(string(text), "\n", " "), "`"+st+"`") {
			t.Errorf("step %q is not documented", st)
		}
	}
	checkCausesTable(t, "cause", causes, placeholders(steps...))
}

func TestDocumentedCausesOfTracks(t *testing.T) {
	causes := []string{
		"not asked: too many processes on this director",                     // TestForkTroubleIsNoVerdict
		"not asked: no memory for a process on this director",                // as above
		"not run as root: others than root can write /opt/check",             // TestScriptAsRootHasToBeRoots
		"not asked: /nonexistent cannot be read: no such file or directory",  // TestProcessListThatCannotBeReadIsNoVerdict
		"cannot run /nonexistent/check as nobody: no such file or directory", // TestScriptThatCannotRun
		"no such user: nosuchuser",                                           // as above
		"timeout after 2s, killed", "timeout after 2s, killed: y",            // TestScriptThatSaysTooMuch
		"canceled while the script ran", "file not readable: input/output error", // TestScriptCanceled, TestFileThatTheDirectorCannotOpen
	}
	for _, tt := range scriptTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range fileTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range processTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range pingExplainTests {
		causes = append(causes, tt.want)
	}
	elsewhere := []string{"", "no route to host", "not asked: too many open files on this director", // the other table's
		"not asked: no memory for sockets on this director", "operation not permitted while sending the request"}
	causes = slices.DeleteFunc(causes, func(c string) bool { return slices.Contains(elsewhere, c) })
	checkCausesTable(t, "cause of a track", causes, placeholders())
}

func TestDocumentedCausesOfProgramsChecks(t *testing.T) {
	causes := []string{
		"not asked: no echo reply can be received: use of closed file", // TestICMPSocketThatFails
	}
	for _, tt := range agentLines {
		causes = append(causes, tt.want)
	}
	for _, tt := range agentTests {
		causes = append(causes, tt.want)
	}
	for _, tt := range weightTests {
		causes = append(causes, tt.want)
	}
	elsewhere := regexp.MustCompile("^$|while|waiting|^number in") // the other tables'
	causes = slices.DeleteFunc(causes, elsewhere.MatchString)
	checkCausesTable(t, "cause of a program's check", causes, placeholders())
}

// The defaults table says what the configuration's parser fills in.
func TestDocumentedDefaults(t *testing.T) {
	cfg, err := conf.Parse([]byte(`
		[virtual_server.web]
		address = "192.0.2.100:80"
		protocol = "tcp"
		check = "c"
		[virtual_server.web.real_server]
		web-1 = { address = "192.0.2.1:80" }
		[director.a]
		address = "192.0.2.11"
		[check.c]
		type = "https"
		[check.rpc]
		type = "grpc"`), "test.toml")
	if err != nil {
		t.Fatal(err)
	}
	sp, rpc := cfg.Checks[0], cfg.Checks[1].GRPC
	tables := map[string]map[string]string{
		"key": {
			"type":            "",
			"interval":        sp.Interval.String(),
			"fast_interval":   sp.FastInterval.String(),
			"down_interval":   sp.DownInterval.String(),
			"jitter":          strconv.Itoa(sp.Jitter) + "%",
			"timeout":         sp.Timeout.String(),
			"connect_timeout": sp.ConnectTimeout.String(),
			"initial":         sp.Initial.String(),
			"rise":            strconv.Itoa(sp.Rise),
			"fall":            strconv.Itoa(sp.Fall),
			"port":            "",
			"via":             "server",
		},
		"key of http": {
			"method": sp.HTTP.Method,
			"path":   sp.HTTP.Path,
			"host":   sp.HTTP.Host,
			"status": sp.HTTP.Status,

			"headers": sp.HTTP.Headers, "request_body": sp.HTTP.Body,
			"expect": sp.HTTP.Expect, "expect_regex": sp.HTTP.ExpectRegex, "expect_digest": sp.HTTP.ExpectDigest,
		},
		"key of grpc": {
			"service": rpc.Service, "host": rpc.Host, "tls": strconv.FormatBool(rpc.TLS),
		},
		"key of TLS": {
			"tls_verify":         strconv.FormatBool(!sp.TLS.SkipVerify),
			"tls_ca":             sp.TLS.CA,
			"tls_name":           sp.TLS.Name,
			"tls_certificate":    sp.TLS.Certificate,
			"tls_key":            sp.TLS.Key,
			"tls_min_version":    sp.TLS.MinVersion,
			"tls_expiry_warning": strings.TrimSuffix(sp.TLS.ExpiryWarning.String(), "0m0s"),
		},
	}
	for column, want := range tables {
		got := map[string]string{}
		for _, row := range tableRows(t, column) {
			got[strings.Trim(row[0], " `")] = strings.Trim(row[1], " `")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("documented defaults, %s (-parsed +documented):\n%s", column, diff)
		}
	}
	if _, err := New(sp, healthcheck.Target{Addr: cfg.VirtualServers[0].RealServers[0].Address}); err != nil {
		t.Errorf("the defaults make no check: %v", err)
	}
}

func TestDocumentedDefaultsOfProgramsChecks(t *testing.T) {
	cfg, err := conf.Parse([]byte(`
		[check.script]
		type = "script"
		command = ["/check"]
		[check.file]
		type = "file"
		path = "/file"
		[check.agent]
		type = "agent"
		port = 7777`), "test.toml")
	if err != nil {
		t.Fatal(err)
	}
	onNoAnswer := map[bool]string{false: "fail", true: "ignore"}
	want := map[string]string{
		"command":        "",
		"user":           cfg.Checks[0].Script.User,
		"dynamic_weight": strconv.FormatBool(cfg.Checks[0].Script.DynamicWeight),
		"path":           "",
		"port":           "",
		"send":           cfg.Checks[2].Agent.Send,
		"on_no_answer":   onNoAnswer[cfg.Checks[2].Agent.IgnoreSilence],
	}
	got := map[string]string{}
	for _, row := range tableRows(t, "key of a program's check") {
		got[strings.Trim(row[0], " `")] = strings.Trim(row[1], " `")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documented defaults (-parsed +documented):\n%s", diff)
	}
	for _, sp := range cfg.Checks {
		if _, err := New(sp, realServer); err != nil {
			t.Errorf("the defaults make no check: %v", err)
		}
	}
}
