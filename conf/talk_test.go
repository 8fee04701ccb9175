package conf_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// talk is a check in place of the good text's.
func talk(check string) string {
	return strings.Replace(good, "type = \"http\"\npath = \"/health\"\n", check, 1)
}

// talkMistakes are in the checks that speak a protocol of their own.
var talkMistakes = []mistake{
	{"keepalived's type", `type = "http"`, `type = "TCP_CHECK"`,
		`22:8: check.front-page.type: "TCP_CHECK" is not a check's type; did you mean "tcp"?`},
	{"keepalived's keys", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\ndelay_loop = \"5s\"\npayload = \"x\"\nrequire_reply = \"pong\"\nmin_reply_length = 4",
		`23:1: check.front-page.delay_loop: unknown key "delay_loop"; did you mean "interval"?` + "\n" +
			`25:1: check.front-page.require_reply: unknown key "require_reply"; did you mean "reply"?` + "\n" +
			`26:1: check.front-page.min_reply_length: unknown key "min_reply_length"; did you mean "reply_min"?`},

	{"tcp: send alone", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nsend = \"PING\\r\\n\"",
		`23:1: check.front-page.send: needs expect or expect_regex: without it nobody would read the answer`},
	{"tcp: two expectations", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = \"a\"\nexpect_regex = \"b\"",
		`24:1: check.front-page.expect_regex: expect is given too: want one of them`},
	{"tcp: empty expect", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = \"\"",
		`23:10: check.front-page.expect: want what the answer has in it, such as "+PONG", found an empty string`},
	{"tcp: no digits", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = \"hex:\"",
		`23:10: check.front-page.expect: want what the answer has in it, such as "+PONG", found an empty string`},
	{"tcp: a digit that is none", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = \"hex:0g\"",
		`23:10: check.front-page.expect: 'g' is not a hexadecimal digit`},
	{"tcp: half a byte", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = \"hex:0\"",
		`23:10: check.front-page.expect: want an even number of hexadecimal digits after "hex:"`},
	{"tcp: any digit", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = \"hex:0X\"",
		`23:10: check.front-page.expect: an X stands for any digit, and these are to be sent as they are`},
	{"tcp: long expect", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = \"" + strings.Repeat("x", 1025) + "\"",
		`23:10: check.front-page.expect: 1025 bytes are too many: want at most 1024`},
	{"tcp: long send", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nsend = \"" + strings.Repeat("x", 4097) + "\"\nexpect = \"x\"",
		`23:8: check.front-page.send: 4097 bytes are too many: want at most 4096`},
	{"tcp: regular expression", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect_regex = \"+PONG\"",
		"23:16: check.front-page.expect_regex: missing argument to repetition operator: \"+\""},
	{"tcp: long regular expression", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect_regex = \"" + strings.Repeat("x", 1025) + "\"",
		`23:16: check.front-page.expect_regex: has 1025 bytes, the limit is 1024`},
	{"tcp: a number to expect", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\nexpect = 220",
		`23:10: check.front-page.expect: want what the answer has in it, such as "+PONG", found the integer 220`},
	{"tcp: a key of another type", "type = \"http\"\npath = \"/health\"", "type = \"tcp\"\npayload = \"x\"",
		`23:1: check.front-page.payload: payload is for udp checks, and this one has type "tcp"`},

	{"dns: empty part of a name", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nname = \"www..example\"",
		`23:8: check.front-page.name: "www..example" is not a domain name: it has nothing between two dots`},
	{"dns: long part of a name", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nname = \"" + strings.Repeat("x", 64) + "\"",
		`23:8: check.front-page.name: "` + strings.Repeat("x", 60) + `…" is not a domain name: a part of it is longer than 63 characters`},
	{"dns: too long a name", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nname = \"" + strings.Repeat("x.", 127) + "y\"",
		`23:8: check.front-page.name: "` + strings.Repeat("x.", 30) + `…" is not a domain name: it is longer than 253 characters`},
	{"dns: letters of a name", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nname = \"müller.example\"",
		`23:8: check.front-page.name: "müller.example" is not a domain name: write it in the form for the wire, xn--…`},
	{"dns: a space in a name", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nname = \"a b\"",
		`23:8: check.front-page.name: "a b" is not a domain name: want letters, digits, "-", "_", "/" and "*", and dots between`},
	{"dns: record", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nrecord = \"soa\"",
		`23:10: check.front-page.record: "soa" is not a type of record; did you mean "SOA"?`},
	{"dns: transport", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\ntransport = \"tls\"",
		`23:13: check.front-page.transport: "tls" is not a transport: want one of udp, tcp`},
	{"dns: connect timeout over udp", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nconnect_timeout = \"1s\"",
		`23:1: check.front-page.connect_timeout: connect_timeout is for the transport "tcp", and this one is "udp"`},
	{"dns: rcode as a string", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nrcode = \"NOERROR\"",
		`23:9: check.front-page.rcode: want an array of response codes, such as ["NOERROR"], found the string "NOERROR": write ["NOERROR"]`},
	{"dns: rcode", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nrcode = [\"NXDOMAIN\", \"NOEROR\", \"NXDOMAIN\"]",
		`23:22: check.front-page.rcode[2]: "NOEROR" is not a response code; did you mean "NOERROR"?` + "\n" +
			`23:32: check.front-page.rcode[3]: NXDOMAIN is named twice`},
	{"dns: no rcode", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nrcode = []",
		`23:9: check.front-page.rcode: is empty: no answer would be good`},
	{"dns: answer of the wrong family", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nrecord = \"A\"\nanswer = \"2001:db8::1\"",
		`24:10: check.front-page.answer: "2001:db8::1" is not the data of a record of type A: want an IPv4 address`},
	{"dns: answer that is no address", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nrecord = \"AAAA\"\nanswer = \"www\"",
		`24:10: check.front-page.answer: "www" is not the data of a record of type AAAA: want an IPv6 address`},
	{"dns: answer without success", "type = \"http\"\npath = \"/health\"", "type = \"dns\"\nrecord = \"TXT\"\nrcode = [\"NXDOMAIN\"]\nanswer = \"www\"",
		`25:1: check.front-page.answer: an answer with records has the rcode NOERROR, which rcode does not accept`},

	{"smtp: keepalived's key", "type = \"http\"\npath = \"/health\"", "type = \"SMTP_CHECK\"\nhelo_name = \"a\"",
		`22:8: check.front-page.type: "SMTP_CHECK" is not a check's type; did you mean "smtp"?` + "\n" +
			`23:1: check.front-page.helo_name: unknown key "helo_name"; did you mean "helo"?`},
	{"smtp: helo", "type = \"http\"\npath = \"/health\"", "type = \"smtp\"\nhelo = \"a b\"",
		`23:8: check.front-page.helo: "a b" is not a domain name: want letters, digits, "-", "_", "/" and "*", and dots between`},
	{"smtp: helo with a dot at the end", "type = \"http\"\npath = \"/health\"", "type = \"smtp\"\nhelo = \"lb.\"",
		`23:8: check.front-page.helo: "lb." is not a domain name: it has nothing between two dots`},
	{"smtp: helo with an address", "type = \"http\"\npath = \"/health\"", "type = \"smtp\"\nhelo = \"[2001:db8::1]\"",
		`23:8: check.front-page.helo: "[2001:db8::1]" is not an address literal: want the form "[192.0.2.1]" or "[IPv6:2001:db8::1]"`},
	{"smtp: keys for TLS without it", "type = \"http\"\npath = \"/health\"", "type = \"smtp\"\ntls_name = \"mail\"",
		`23:1: check.front-page.tls_name: is for starttls = true: without it nothing is encrypted`},

	{"udp: no payload", "type = \"http\"\npath = \"/health\"", "type = \"udp\"",
		`21:8: check.front-page.payload: missing: want the datagram to send, such as "PING" or "hex:00ff"`},
	{"udp: long payload", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\npayload = \"" + strings.Repeat("x", 1233) + "\"",
		`23:11: check.front-page.payload: 1233 bytes are too many: want at most 1232`},
	{"udp: wait beyond the timeout", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\npayload = \"x\"\nwait = \"3s\"",
		`24:8: check.front-page.wait: 3s is out of range: want 1ms to 2s`},
	{"udp: wait and a reply", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\npayload = \"x\"\nwait = \"1s\"\nreply_min = 1",
		`24:1: check.front-page.wait: is for a check that needs no reply, and reply_min asks for one: it is waited for up to the timeout`},
	{"udp: reply pattern", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\npayload = \"x\"\nreply = \"hex:XY\"",
		`24:9: check.front-page.reply: 'y' is not a hexadecimal digit`},
	{"udp: no length", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\npayload = \"x\"\nreply_min = 9\nreply_max = 8",
		`24:13: check.front-page.reply_min: 9 is more than reply_max, 8`},
	{"udp: length below the pattern", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\npayload = \"x\"\nreply = \"pong\"\nreply_max = 3",
		`25:13: check.front-page.reply_max: 3 is less than the 4 bytes that the reply begins with`},
	{"udp: length", "type = \"http\"\npath = \"/health\"", "type = \"udp\"\npayload = \"x\"\nreply_max = 4097",
		`24:13: check.front-page.reply_max: 4097 is out of range: want an integer from 0 to 4096`},
}

// What is said, and what is read as the same again, of checks that speak.
func TestTalkChecks(t *testing.T) {
	tests := []struct {
		name, text string
		want       func(*healthcheck.Spec)
		effective  string // the lines behind fall
	}{
		{"tcp", "type = \"tcp\"\n", func(*healthcheck.Spec) {}, ""},
		{"tcp, redis", "type = \"tcp\"\nsend = \"PING\\r\\n\"\nexpect = \"+PONG\"\n",
			func(s *healthcheck.Spec) { s.TCP = healthcheck.TCPSpec{Send: "PING\r\n", Expect: "+PONG"} },
			"send = \"PING\\r\\n\"\nexpect = \"+PONG\"\n"},
		{"tcp, bytes", "type = \"tcp\"\nsend = \"hex: 00 0D0a\"\nexpect = \"\\u0000\"\n",
			func(s *healthcheck.Spec) { s.TCP = healthcheck.TCPSpec{Send: "\x00\r\n", Expect: "\x00"} },
			"send = \"hex:000d0a\"\nexpect = \"hex:00\"\n"},
		{"tcp, regular expression", "type = \"tcp\"\nexpect_regex = '^SSH-2\\.0-'\n",
			func(s *healthcheck.Spec) { s.TCP.Regexp = `^SSH-2\.0-` },
			"expect_regex = \"^SSH-2\\\\.0-\"\n"},
		{"tcp, regular expression of bytes", "type = \"tcp\"\nexpect_regex = \"\\u0000\\u000b\\u007f\"\n",
			func(s *healthcheck.Spec) { s.TCP.Regexp = "\x00\v\x7f" },
			"expect_regex = \"\\u0000\\u000b\\u007f\"\n"},
		{"dns", "type = \"dns\"\n",
			func(s *healthcheck.Spec) { s.DNS = healthcheck.DNSSpec{Name: ".", Record: "SOA", Codes: "NOERROR"} },
			"name = \".\"\nrecord = \"SOA\"\ntransport = \"udp\"\nrcode = [\"NOERROR\"]\n"},
		{"dns, all keys", "type = \"dns\"\nname = \"www.example.org\"\nrecord = \"AAAA\"\ntransport = \"tcp\"\nrcode = [\"NXDOMAIN\", \"NOERROR\"]\nanswer = \"2001:DB8:0::1\"\n",
			func(s *healthcheck.Spec) {
				s.DNS = healthcheck.DNSSpec{Name: "www.example.org.", Record: "AAAA", TCP: true, Codes: "NXDOMAIN,NOERROR", Answer: "2001:db8::1"}
			},
			"name = \"www.example.org.\"\nrecord = \"AAAA\"\ntransport = \"tcp\"\nrcode = [\"NXDOMAIN\", \"NOERROR\"]\nanswer = \"2001:db8::1\"\n"},
		{"dns, the longest name", "type = \"dns\"\nname = \"" + strings.Repeat("x.", 127) + "\"\n",
			func(s *healthcheck.Spec) {
				s.DNS = healthcheck.DNSSpec{Name: strings.Repeat("x.", 127), Record: "SOA", Codes: "NOERROR"}
			},
			"name = \"" + strings.Repeat("x.", 127) + "\"\nrecord = \"SOA\"\ntransport = \"udp\"\nrcode = [\"NOERROR\"]\n"},
		{"smtp", "type = \"smtp\"\n", func(s *healthcheck.Spec) {}, "starttls = false\n"},
		{"smtp, a name", "type = \"smtp\"\nhelo = \"lb.example.org\"\n",
			func(s *healthcheck.Spec) { s.SMTP.Helo = "lb.example.org" },
			"helo = \"lb.example.org\"\nstarttls = false\n"},
		{"smtp, an address", "type = \"smtp\"\nhelo = \"[IPv6:2001:db8::1]\"\n",
			func(s *healthcheck.Spec) { s.SMTP.Helo = "[IPv6:2001:db8::1]" },
			"helo = \"[IPv6:2001:db8::1]\"\nstarttls = false\n"},
		{"smtp, STARTTLS", "type = \"smtp\"\nstarttls = true\ntls_name = \"mail.example.org\"\n",
			func(s *healthcheck.Spec) {
				s.SMTP.StartTLS = true
				s.TLS = healthcheck.TLSSpec{Name: "mail.example.org", MinVersion: "1.2", ExpiryWarning: 14 * 24 * time.Hour}
			},
			"starttls = true\ntls_verify = true\ntls_name = \"mail.example.org\"\ntls_min_version = \"1.2\"\ntls_expiry_warning = \"336h\"\n"},
		{"udp", "type = \"udp\"\npayload = \"x\"\n",
			func(s *healthcheck.Spec) {
				s.UDP = healthcheck.UDPSpec{Payload: "x", Wait: 500 * time.Millisecond}
			},
			"payload = \"x\"\nwait = \"500ms\"\n"},
		{"udp, a wait", "type = \"udp\"\npayload = \"x\"\nwait = \"2s\"\n",
			func(s *healthcheck.Spec) { s.UDP = healthcheck.UDPSpec{Payload: "x", Wait: 2 * time.Second} },
			"payload = \"x\"\nwait = \"2s\"\n"},
		{"udp, any reply", "type = \"udp\"\npayload = \"x\"\nreply_min = 0\n",
			func(s *healthcheck.Spec) { s.UDP = healthcheck.UDPSpec{Payload: "x", ReplyMax: 4096} },
			"payload = \"x\"\nreply_min = 0\nreply_max = 4096\n"},
		{"udp, a reply", "type = \"udp\"\npayload = \"hex:ff\"\nreply = \"hex:8X61\"\nreply_min = 2\nreply_max = 99\n",
			func(s *healthcheck.Spec) {
				s.UDP = healthcheck.UDPSpec{Payload: "\xff", Reply: healthcheck.Pattern{Value: "\x80a", Mask: "\xf0\xff"}, ReplyMin: 2, ReplyMax: 99}
			},
			"payload = \"hex:ff\"\nreply = \"hex:8X61\"\nreply_min = 2\nreply_max = 99\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, talk(tt.text))
			kind, _, _ := strings.Cut(tt.name, ",")
			want := parse(t, talk("type = \"icmp\"\n")).Checks[0] // which has no keys of its own
			want.Type, want.ConnectTimeout = healthcheck.Type(kind), c.Checks[0].ConnectTimeout
			tt.want(&want)
			if diff := cmp.Diff(want, c.Checks[0], sameValues); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.effective, ownKeys(t, c)); diff != "" {
				t.Errorf("effective text of its keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c, parse(t, c.String()), sameValues); diff != "" {
				t.Errorf("the effective text says something else, -file +effective:\n%s", diff)
			}
			if len(c.Warnings) > 0 {
				t.Errorf("warnings: %v", c.Warnings)
			}
		})
	}
}

// ownKeys are the effective lines of the check that those of all types are not among.
func ownKeys(t *testing.T, c *conf.Config) string {
	section := func(c *conf.Config) []string {
		_, text, _ := strings.Cut(c.String(), "[check.front-page]\n")
		text, _, _ = strings.Cut(text, "\n[")
		return strings.SplitAfter(text, "\n")
	}
	key := func(line string) string { return strings.SplitN(line, " ", 2)[0] }
	common := map[string]bool{"connect_timeout": true, "via": true}
	for _, line := range section(parse(t, talk("type = \"icmp\"\n"))) {
		common[key(line)] = true
	}
	return strings.Join(slices.DeleteFunc(section(c), func(line string) bool { return common[key(line)] }), "")
}

// Single quotes leave a backslash alone: the server would wait for the end of the line.
func TestBackslashInPlaceOfALineEnd(t *testing.T) {
	c := parse(t, talk("type = \"tcp\"\nsend = 'PING\\r\\n'\nexpect = \"+PONG\"\n"))
	const want = `f:23:8: check.front-page.send: warning: has a backslash and a letter in place of a line's end: write it in double quotes, with one backslash`
	if diff := cmp.Diff(want, c.Warnings.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
