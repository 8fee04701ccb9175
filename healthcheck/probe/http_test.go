package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

const ok = "HTTP/1.1 200 OK\r\n"

// never is the stall of a server that never keeps the probe waiting.
const never = -1

// httpTests are real servers on 127.0.0.1. The deadline of a row with stall passes when
// the probe has read so many bytes and waits for more; the others never reach theirs.
// A want with a star is a prefix.
var httpTests = []struct {
	name  string
	serve func(*net.TCPConn)
	stall int
	want  string // "" is healthy
}{
	{"200", says(ok + "Content-Length: 2\r\n\r\nok"), never, ""},
	{"204 without a body", says("HTTP/1.1 204 No Content\r\n\r\n"), never, ""},
	{"304 is not accepted", says("HTTP/1.1 304 Not Modified\r\n\r\n"), never, "status 304, want 200-299"},
	{"101 is final", saysAndWaits("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), never, "status 101, want 200-299"},
	{"503", says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), never, "status 503, want 200-299"},
	{"a redirect is not followed", says("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), never, "status 302, want 200-299"},
	{"HTTP/1.0 and a body that ends with the connection", says("HTTP/1.0 200 OK\r\n\r\nhello"), never, ""},
	{"no reason", says("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), never, ""},
	{"bare line feeds", says("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), never, ""},
	{"a chunked body", says(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), never, ""},
	{"early hints come first", says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n"), never, ""},
	{"the body is there and the connection stays open", saysAndWaits(ok + "Content-Length: 2\r\n\r\nok"), never, ""},
	{"an endless body is cut at the bound", repeats(ok+"\r\n", strings.Repeat("x", 1000)), never, ""},
	{"an endless chunked body too", repeats(ok+"Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), never, ""},
	{"a body much longer than the bound", repeats(ok+"Content-Length: 99999999999\r\n\r\n", strings.Repeat("x", 1000)), never, ""},

	{"silence", saysAndWaits(""), 0, "timeout after 2s waiting for the status line"},
	{"a status line that does not end", saysAndWaits("HTTP/1.1 20"), 11, "timeout after 2s waiting for the status line"},
	{"headers that stop", saysAndWaits(ok + "Server: x\r\n"), 28, "timeout after 2s reading the headers"},
	{"a header that stops", saysAndWaits(ok + "Serv"), 21, "timeout after 2s reading the headers"},
	{"a body that stops", saysAndWaits(ok + "Content-Length: 10\r\n\r\nabc"), 42, "timeout after 2s reading the body"},
	{"a body that nothing ends", saysAndWaits(ok + "\r\nabc"), 22, "timeout after 2s reading the body"},

	{"closed at once", says(""), never, "closed by peer while waiting for the status line"},
	{"closed in the status line", says("HTTP/1.1 2"), never, "closed by peer while waiting for the status line"},
	{"closed in the headers", says(ok + "Server: x\r\n"), never, "closed by peer while reading the headers"},
	{"closed in a header", says(ok + "Serv"), never, "closed by peer while reading the headers"},
	{"closed in the body", says(ok + "Content-Length: 10\r\n\r\nabc"), never, "closed by peer while reading the body"},
	{"closed in a chunk", says(ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nab"), never, "closed by peer while reading the body"},
	{"reset at once", func(conn *net.TCPConn) {
		readRequest(conn)
		_ = conn.SetLinger(0)
	}, never, "reset by peer while waiting for the status line"},

	{"another protocol that speaks first", saysAndWaits("SSH-2.0-OpenSSH_9.2\r\n"), never, `not HTTP: malformed status line "SSH-2.0-OpenSSH_9.2"`},
	{"another protocol without a line end", saysAndWaits("\x00\x00\x12\x04"), never, `not HTTP: malformed status line "\x00\x00\x12\x04"`},
	{"an HTTP/2 preface in answer", says("PRI * HTTP/2.0\r\n\r\n"), never, `not HTTP: malformed status line "PRI * HTTP/2.0"`},
	{"a status of two digits", says("HTTP/1.1 20 OK\r\n\r\n"), never, `not HTTP: malformed status line "HTTP/1.1 20 OK"`},
	{"a status below 100", says("HTTP/1.1 099 Odd\r\n\r\n"), never, `not HTTP: malformed status line "HTTP/1.1 099 Odd"`},
	{"a status that is no number", says("HTTP/1.1 abc OK\r\n\r\n"), never, `not HTTP: malformed status line "HTTP/1.1 abc OK"`},
	{"a long garbage line is cut", says(strings.Repeat("é", 100) + "\n"), never, `not HTTP: malformed status line "` + strings.Repeat(`\u00e9`, 20) + `"...`},
	{"a status line without end", repeats("HTTP/1.1 200 ", strings.Repeat("x", 1000)), never, `not HTTP: malformed status line "HTTP/1.1 200 ` + strings.Repeat("x", 27) + `"...`},
	{"garbage without end", repeats("", "\xff\xfe\xfd\xfc"), never, "*not HTTP: malformed status line \"\\xff\\xfe\\xfd\\xfc"},
	{"a TLS server", says("\x15\x03\x01\x00\x02\x02\x46"), never, "not HTTP: a TLS alert in place of a status line"},
	{"a header that is none", says(ok + "no colon\r\n\r\n"), never, "not HTTP: malformed headers"},
	{"contradicting lengths", says(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), never, "not HTTP: malformed headers"},
	{"headers without end", repeats(ok, "X-Filler: 0123456789\r\n"), never, "headers longer than 32 KiB"},
	{"one header without end", repeats(ok+"X-Filler: ", "0123456789"), never, "headers longer than 32 KiB"},
	{"interim answers without end", repeats("", "HTTP/1.1 103 Early Hints\r\n\r\n"), never, "headers longer than 32 KiB"},
	{"an unknown trailer", says(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"), never, ""},
	{"closed before the end of the last chunk", says(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"), never, "closed by peer while reading the body"},
	{"no end of the last chunk", saysAndWaits(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"),
		len(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"), "timeout after 2s reading the body"},
	{"no end of the trailers", saysAndWaits(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n"),
		len(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n"), "timeout after 2s reading the body"},
	{"trailers without end", repeats(ok+"Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-Filler: 0123456789\r\n"), never, "not HTTP: malformed body"},
	{"a chunk size that is no number", says(ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), never, "not HTTP: malformed body"},
}

func TestHTTP(t *testing.T) {
	for _, tt := range httpTests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newHTTP(httpSpec(), direct(listen(t, tt.serve)), nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx := newDeadlineContext(t.Context())
			if tt.stall != never {
				c.dial = stall(c.dial, ctx, tt.stall)
			}
			got := ""
			if err := c.Check(ctx); err != nil {
				got = err.Error()
			}
			if prefix, ok := strings.CutPrefix(tt.want, "*"); ok && strings.HasPrefix(got, prefix) {
				return // how much of the line has come is the network's affair
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
		})
	}
}

// A server that sends a byte now and then, for ever: every byte is progress, and the
// whole probe is still over at its deadline.
func TestHTTPDripDoesNotProlongTheProbe(t *testing.T) {
	stopped := make(chan struct{})
	target := listen(t, func(conn *net.TCPConn) {
		defer close(stopped)
		readRequest(conn)
		_, err := conn.Write([]byte(ok + "X-Drip: "))
		for err == nil {
			time.Sleep(time.Millisecond)
			_, err = conn.Write([]byte("x"))
		}
	})
	c, err := New(httpSpec(), target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	got := fmt.Sprint(c.Check(ctx))
	if diff := cmp.Diff("timeout after 2s reading the headers", got); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
	<-stopped // the server notices, so the connection is closed
}

// In virtual time: the probe ends at its deadline to the nanosecond, and when it has
// ended the context has no hold on it any more.
func TestHTTPContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := newHTTP(httpSpec(), direct(healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")}), new(tlsStore))
		if err != nil {
			t.Fatal(err)
		}
		var conn *countingConn
		c.dial = func(context.Context) (net.Conn, error) {
			probe, server := net.Pipe()
			conn = &countingConn{Conn: probe}
			go func() {
				defer server.Close()
				readRequest(server)
				untilClosed(server)
			}()
			return conn, nil
		}
		started := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if diff := cmp.Diff("timeout after 2s waiting for the status line", fmt.Sprint(c.Check(ctx))); diff != "" {
			t.Errorf("cause (-want +got):\n%s", diff)
		}
		if took := time.Since(started); took != 2*time.Second {
			t.Errorf("the probe took %v, want 2s", took)
		}

		ctx, cancel = context.WithCancel(t.Context())
		c.dial = func(context.Context) (net.Conn, error) {
			probe, server := net.Pipe()
			conn = &countingConn{Conn: probe}
			go func() {
				defer server.Close()
				readRequest(server)
				_, _ = io.WriteString(server, ok+"Content-Length: 0\r\n\r\n")
			}()
			return conn, nil
		}
		if err := c.Check(ctx); err != nil {
			t.Errorf("cause %q, want healthy", err)
		}
		cancel()
		synctest.Wait()
		if n := conn.deadlines.Load(); n != 0 {
			t.Errorf("%d deadlines set on a connection after its probe, want 0", n)
		}
	})
}

// countingConn counts the deadlines set on it.
type countingConn struct {
	net.Conn
	deadlines atomic.Int32
}

func (c *countingConn) SetDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetDeadline(t)
}

// Hostile answers cost a bounded amount of memory, whatever they send.
func TestHTTPMemoryIsBounded(t *testing.T) {
	distinct := func(conn *net.TCPConn) {
		readRequest(conn)
		_, err := conn.Write([]byte(ok))
		for i := 0; err == nil; i++ {
			_, err = fmt.Fprintf(conn, "%x:\r\n", i)
		}
	}
	tests := []struct {
		name  string
		serve func(*net.TCPConn)
	}{
		{"endless body", repeats(ok+"\r\n", strings.Repeat("x", 64<<10))},
		{"endless header", repeats(ok+"X: ", strings.Repeat("x", 64<<10))},
		{"endless empty headers", distinct},
		{"endless garbage", repeats("", strings.Repeat("x", 64<<10))},
		{"a body said to be huge", repeats(ok+"Content-Length: 9223372036854775807\r\n\r\n", strings.Repeat("x", 64<<10))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(httpSpec(), listen(t, tt.serve))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_ = c.Check(t.Context())
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("one probe allocated %d KiB, want 2 MiB at most", n>>10)
			}
		})
	}
}

// The request, byte by byte.
func TestHTTPRequest(t *testing.T) {
	with := func(change func(*healthcheck.HTTPSpec)) healthcheck.Spec {
		sp := httpSpec()
		change(&sp.HTTP)
		return sp
	}
	noHost := with(func(h *healthcheck.HTTPSpec) { h.Host = "" })
	secureNoHost := noHost
	secureNoHost.Type = healthcheck.HTTPS
	const tail = "\r\nUser-Agent: hadirector\r\nConnection: close\r\n\r\n"
	tests := []struct {
		name string
		sp   healthcheck.Spec
		addr string
		want string
	}{
		{"as configured", httpSpec(), "192.0.2.1:8080", "GET /health HTTP/1.1\r\nHost: www.example.com" + tail},
		{"HEAD", with(func(h *healthcheck.HTTPSpec) { h.Method = "HEAD" }), "192.0.2.1:80", "HEAD /health HTTP/1.1\r\nHost: www.example.com" + tail},
		{"the path goes out as it is written", with(func(h *healthcheck.HTTPSpec) { h.Path = "//a/../b?q=%zz" }), "192.0.2.1:80", "GET //a/../b?q=%zz HTTP/1.1\r\nHost: www.example.com" + tail},
		{"OPTIONS", with(func(h *healthcheck.HTTPSpec) { h.Method = "OPTIONS" }), "192.0.2.1:80", "OPTIONS /health HTTP/1.1\r\nHost: www.example.com" + tail},
		{"headers of the check's own", with(func(h *healthcheck.HTTPSpec) { h.Headers = "Accept: text/plain\nX-A: b" }), "192.0.2.1:80",
			"GET /health HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: hadirector\r\nAccept: text/plain\r\nX-A: b\r\nConnection: close\r\n\r\n"},
		{"POST without a body", with(func(h *healthcheck.HTTPSpec) { h.Method = "POST" }), "192.0.2.1:80",
			"POST /health HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: hadirector\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		{"no host, port 80", noHost, "192.0.2.1:80", "GET /health HTTP/1.1\r\nHost: 192.0.2.1" + tail},
		{"no host, another port", noHost, "192.0.2.1:8080", "GET /health HTTP/1.1\r\nHost: 192.0.2.1:8080" + tail},
		{"no host, https", secureNoHost, "192.0.2.1:443", "GET /health HTTP/1.1\r\nHost: 192.0.2.1" + tail},
		{"no host, https on the port of http", secureNoHost, "192.0.2.1:80", "GET /health HTTP/1.1\r\nHost: 192.0.2.1:80" + tail},
		{"no host, IPv6", noHost, "[2001:db8::1]:80", "GET /health HTTP/1.1\r\nHost: [2001:db8::1]" + tail},
		{"no host, IPv6 with a zone", noHost, "[fe80::1%eth0]:8080", "GET /health HTTP/1.1\r\nHost: [fe80::1]:8080" + tail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newHTTP(tt.sp, direct(healthcheck.Target{Addr: netip.MustParseAddrPort(tt.addr)}), new(tlsStore))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(c.request)); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// The independent reader: net/http's server understands the request.
func TestHTTPAgainstNetHTTP(t *testing.T) {
	type request struct{ Method, Host, URI string }
	requests := make(chan request, 10)
	served := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- request{r.Method, r.Host, r.RequestURI}
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/health", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "healthy\n")
	})}
	go func() { defer close(served); _ = server.Serve(l) }()
	defer func() { server.Close(); <-served }()

	tests := []struct {
		name         string
		method, path string
		want         string
	}{
		{"GET", "GET", "/health?full=1", ""},
		{"HEAD", "HEAD", "/health", ""},
		{"a redirect is asked for once", "GET", "/moved", "status 302, want 200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sp := httpSpec()
			sp.HTTP.Method, sp.HTTP.Path, sp.HTTP.Status = tt.method, tt.path, "200"
			c, err := New(sp, healthcheck.Target{Addr: l.Addr().(*net.TCPAddr).AddrPort()})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := c.Check(t.Context()); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(request{tt.method, "www.example.com", tt.path}, <-requests); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if n := len(requests); n != 0 {
				t.Errorf("%d more requests, want none", n)
			}
		})
	}
}
