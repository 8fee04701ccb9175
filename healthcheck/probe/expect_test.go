package probe

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// bodyTests are answers of a healthy server, and what is expected of their bodies.
var bodyTests = []struct {
	name  string
	want  func(*healthcheck.HTTPSpec)
	serve func(*net.TCPConn)
	cause string // "" is healthy
}{
	{"a text", expects("alive"), says(ok + "Content-Length: 16\r\n\r\ndb=up, alive=yes"), ""},
	{"a text in a chunked body", expects("alive"), says(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nali\r\n2\r\nve\r\n0\r\n\r\n"), ""},
	{"a text in a body that ends with the connection", expects("alive"), says("HTTP/1.0 200 OK\r\n\r\nalive"), ""},
	{"a text with a line end", expects("a\nb"), says(ok + "Content-Length: 3\r\n\r\na\nb"), ""},
	{"a text in the headers does not count", expects("alive"), says(ok + "X-State: alive\r\nContent-Length: 4\r\n\r\ndead"), `no "alive" in the body`},
	{"an empty body", expects("alive"), says("HTTP/1.1 204 No Content\r\n\r\n"), `no "alive" in the body`},
	{"case counts", expects("alive"), says(ok + "Content-Length: 5\r\n\r\nAlive"), `no "alive" in the body`},
	{"a long text, not ASCII", expects(strings.Repeat("é", 100)), says(ok + "Content-Length: 1\r\n\r\nx"), `no "` + strings.Repeat(`\u00e9`, 30) + `..." in the body`},
	{"a text within the bound of a long body", expects("alive"), repeats(ok+"\r\nalive", strings.Repeat("x", 1000)), ""},
	{"a text beyond the bound", expects("alive"), says(ok + "Content-Length: 100005\r\n\r\n" + strings.Repeat("x", 100000) + "alive"), `no "alive" in the first 64 KiB of the body`},
	{"a regular expression", matches(`^db=(up|idle)$`), says(ok + "Content-Length: 7\r\n\r\ndb=idle"), ""},
	{"a regular expression that does not match", matches(`^db=(up|idle)$`), says(ok + "Content-Length: 7\r\n\r\ndb=down"), `no match of "^db=(up|idle)$" in the body`},
	{"an empty body is wanted", matches(`^$`), says(ok + "Content-Length: 0\r\n\r\n"), ""},
	{"both", func(h *healthcheck.HTTPSpec) { h.Expect, h.ExpectRegex = "up", "[0-9]" }, says(ok + "Content-Length: 2\r\n\r\nup"), `no match of "[0-9]" in the body`},
	{"a digest", digest("sha256:2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df"), says(ok + "Content-Length: 2\r\n\r\nok"), ""},
	{"keepalived's digest", digest("md5:444bcb3a3fcf8389296c49467f27e1d6"), says(ok + "Content-Length: 2\r\n\r\nok"), ""},
	{"another digest", digest("md5:444bcb3a3fcf8389296c49467f27e1d7"), says(ok + "Content-Length: 2\r\n\r\nok"), "digest md5:444bcb3a3fcf8389296c49467f27e1d6, want md5:444bcb3a3fcf8389296c49467f27e1d7"},
	{"the digest of a body as long as the bound", digest(fmt.Sprintf("md5:%x", md5.Sum(bytes.Repeat([]byte("x"), 64<<10)))),
		says(ok + "Content-Length: 65536\r\n\r\n" + strings.Repeat("x", 64<<10)), ""},
	{"the digest of a longer body", digest("md5:444bcb3a3fcf8389296c49467f27e1d7"), repeats(ok+"\r\n", strings.Repeat("x", 1000)), "body longer than 64 KiB, of which no digest is taken"},
}

func expects(text string) func(*healthcheck.HTTPSpec) {
	return func(h *healthcheck.HTTPSpec) { h.Expect = text }
}

func matches(re string) func(*healthcheck.HTTPSpec) {
	return func(h *healthcheck.HTTPSpec) { h.ExpectRegex = re }
}

func digest(d string) func(*healthcheck.HTTPSpec) {
	return func(h *healthcheck.HTTPSpec) { h.ExpectDigest = d }
}

func TestBody(t *testing.T) {
	for _, tt := range bodyTests {
		t.Run(tt.name, func(t *testing.T) {
			sp := httpSpec()
			tt.want(&sp.HTTP)
			c, err := New(sp, listen(t, tt.serve))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := c.Check(t.Context()); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.cause, got); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzBody: the verdict on any body is that of the words, and a cause is short and
// printable.
func FuzzBody(f *testing.F) {
	f.Add([]byte("alive"), "alive", "al(i|y)ve", true)
	f.Add([]byte(""), "", "^$", false)
	f.Add([]byte("\xff\x00"), "\xff", `\x00`, true)
	f.Fuzz(func(t *testing.T, body []byte, text, expression string, whole bool) {
		if len(expression) > 100 {
			return
		}
		re, err := regexp.Compile(expression)
		if err != nil {
			return
		}
		e, err := newExpectation(healthcheck.HTTPSpec{Expect: text, ExpectRegex: expression})
		if err != nil {
			t.Fatal(err)
		}
		err = e.judge(body, whole)
		if want := strings.Contains(string(body), text) && (expression == "" || re.Match(body)); (err == nil) != want {
			t.Errorf("%q, text %q, expression %q: %v, want a success: %t", body, text, expression, err, want)
		}
		if err == nil {
			return
		}
		if said := err.Error(); len(said) > 800 || strings.ContainsFunc(said, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("cause %q", said)
		}
	})
}

// What goes out with headers and a body, as net/http's server reads it.
func TestRequestAsAServerReadsIt(t *testing.T) {
	requests := make(chan *http.Request, 1)
	bodies := make(chan string, 1)
	target := listen(t, func(conn *net.TCPConn) {
		r := readRequest(conn)
		var b bytes.Buffer
		if r != nil {
			_, _ = b.ReadFrom(r.Body)
		}
		requests <- r
		bodies <- b.String()
		_, _ = conn.Write([]byte(fine))
	})
	sp := httpSpec()
	sp.HTTP.Method, sp.HTTP.Body = "POST", "{\"q\": \"é\"}\n"
	sp.HTTP.Headers = "Authorization: Bearer x: y\nUser-Agent: tester/1"
	c, err := New(sp, target)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	if diff := cmp.Diff(http.Header{"Authorization": {"Bearer x: y"}, "User-Agent": {"tester/1"}, "Connection": {"close"}, "Content-Length": {"12"}}, r.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got := <-bodies; got != sp.HTTP.Body {
		t.Errorf("body %q, want %q", got, sp.HTTP.Body)
	}
}
