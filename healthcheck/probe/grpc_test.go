package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/hadirector/hadirector/healthcheck"
)

func grpcSpec(service string) healthcheck.Spec {
	sp := tcpSpec()
	sp.Type, sp.GRPC.Service = healthcheck.GRPC, service
	return sp
}

// grpcServer is one of google.golang.org/grpc, until the test has ended.
func grpcServer(t testing.TB, withHealth bool, options ...grpc.ServerOption) healthcheck.Target {
	t.Helper()
	s := grpc.NewServer(options...)
	if withHealth {
		h := health.NewServer()
		for service, status := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{
			"up": grpc_health_v1.HealthCheckResponse_SERVING, "down": grpc_health_v1.HealthCheckResponse_NOT_SERVING,
			"odd": grpc_health_v1.HealthCheckResponse_UNKNOWN, "gone": grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN,
		} {
			h.SetServingStatus(service, status)
		}
		grpc_health_v1.RegisterHealthServer(s, h)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	return healthcheck.Target{Addr: l.Addr().(*net.TCPAddr).AddrPort()}
}

// grpcRealTests are asked of a real server of google.golang.org/grpc.
var grpcRealTests = []struct{ service, want string }{
	{"", ""},
	{"up", ""},
	{"down", "grpc status NOT_SERVING"},
	{"odd", "grpc status UNKNOWN"},
	{"gone", "grpc status SERVICE_UNKNOWN"},
	{"nobody", "grpc error NOT_FOUND: unknown service"},
}

func TestGRPCAgainstTheRealServer(t *testing.T) {
	a := newAuthority(t, "known", nil)
	good := a.issue(t, nil)
	ca := pemFile(t, certBlock(a.cert))
	clear := grpcServer(t, true)
	secure := grpcServer(t, true, grpc.Creds(credentials.NewServerTLSFromCert(&good)))
	check := func(sp healthcheck.Spec, target healthcheck.Target, want string) {
		t.Helper()
		c, err := New(sp, target)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := c.Check(t.Context()); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("service %q, TLS %t: cause (-want +got):\n%s", sp.GRPC.Service, sp.GRPC.TLS, diff)
		}
	}
	withTLS := func(service string) healthcheck.Spec {
		sp := grpcSpec(service)
		sp.GRPC.TLS, sp.GRPC.Host, sp.TLS.CA = true, "www.example.com:443", ca
		return sp
	}
	for _, tt := range grpcRealTests {
		check(grpcSpec(tt.service), clear, tt.want)
		check(withTLS(tt.service), secure, tt.want)
	}
	stranger := withTLS("")
	stranger.GRPC.Host = "www.example.org"
	check(stranger, secure, "certificate is for www.example.com, want www.example.org")
	check(grpcSpec("up"), grpcServer(t, false), "grpc error UNIMPLEMENTED: unknown service grpc.health.v1.Health")
	check(withTLS("up"), clear, `TLS handshake: server answered with something else, "\x00\x00\x06\x04\x00"`)
	check(grpcSpec("up"), listen(t, says("HTTP/1.1 400 Bad Request\r\n\r\n")), "not HTTP/2: server answered with HTTP/1")
}

// h2 writes frames.
func h2(write func(fr *http2.Framer)) string {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	_ = fr.WriteSettings()
	write(fr)
	return b.String()
}

func h2Headers(ended bool, fields ...string) func(fr *http2.Framer) {
	return func(fr *http2.Framer) {
		var b bytes.Buffer
		encoder := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: ended})
	}
}

// grpcAnswerOf is an answer with a message.
func grpcAnswerOf(message string) string {
	return h2(func(fr *http2.Framer) {
		h2Headers(false, ":status", "200", "content-type", "application/grpc")(fr)
		_ = fr.WriteData(1, false, []byte(message))
		h2Headers(true, "grpc-status", "0")(fr)
	})
}

// grpcTests are servers that say what they want. The deadline of a row with stall passes when
// the probe has read so many bytes.
var grpcTests = []struct {
	name   string
	answer string
	stall  bool
	want   string
}{
	{"serving", grpcAnswerOf("\x00\x00\x00\x00\x02\x08\x01"), false, ""},
	{"fields that nobody knows", grpcAnswerOf("\x00\x00\x00\x00\x17\x12\x03abc\x08\x00\x19........\x25....\x08\x01"), false, ""},
	{"a status that nobody knows", grpcAnswerOf("\x00\x00\x00\x00\x02\x08\x09"), false, "grpc status 9"},
	{"an empty message", grpcAnswerOf("\x00\x00\x00\x00\x00"), false, "grpc status UNKNOWN"},
	{"questions before the answer", h2(func(fr *http2.Framer) {
		_ = fr.WritePing(false, [8]byte{1})
		_ = fr.WriteWindowUpdate(0, 1000)
		_ = fr.WriteRawFrame(0x7f, 0, 0, []byte("unknown"))
	}) + grpcAnswerOf("\x00\x00\x00\x00\x02\x08\x01"), false, ""},
	{"a server that is about to stop", h2(func(fr *http2.Framer) { _ = fr.WriteGoAway(1, http2.ErrCodeNo, nil) }) + grpcAnswerOf("\x00\x00\x00\x00\x02\x08\x01"), false, ""},

	{"an error", h2(h2Headers(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "14", "grpc-message", "db%20down%0a")), false, "grpc error UNAVAILABLE: db down?"},
	{"an error without a text", h2(h2Headers(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "16")), false, "grpc error UNAUTHENTICATED"},
	{"an error that nobody knows", h2(h2Headers(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "99")), false, "grpc error 99"},
	{"HTTP and no gRPC", h2(h2Headers(true, ":status", "404", "content-type", "text/html")), false, "not gRPC: HTTP status 404"},
	{"a page", h2(h2Headers(true, ":status", "200", "content-type", "text/html; charset=utf-8")), false, `not gRPC: content of type "text/html; charset=utf-8"`},
	{"a page after its headers", h2(func(fr *http2.Framer) {
		h2Headers(false, ":status", "404", "content-type", "text/html")(fr)
		_ = fr.WriteData(1, true, []byte("<html>"))
	}), false, "not gRPC: HTTP status 404"},
	{"no end of the call", h2(h2Headers(true, ":status", "200", "content-type", "application/grpc+proto")), false, "malformed gRPC answer"},
	{"a message before its headers", h2(func(fr *http2.Framer) { _ = fr.WriteData(1, true, []byte("\x00\x00\x00\x00\x02\x08\x01")) }), false, "malformed gRPC answer"},
	{"an interim answer in place of one", h2(h2Headers(true, ":status", "103")), false, "malformed gRPC answer"},
	{"an interim answer before one", h2(h2Headers(false, ":status", "103")) + strings.TrimPrefix(grpcAnswerOf("\x00\x00\x00\x00\x02\x08\x01"), h2(func(*http2.Framer) {})), false, ""},
	{"an error whose text is no text", h2(h2Headers(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "2", "grpc-message", "%1b[2J%00%zz")), false, "grpc error UNKNOWN: %1b[2J%00%zz"},
	{"an error with control characters in its text", h2(h2Headers(true, ":status", "200", "content-type", "application/grpc", "grpc-status", "2", "grpc-message", "%1b[2J%00%e2%80%ae%ff"+strings.Repeat("x", 200))), false,
		"grpc error UNKNOWN: ?[2J??" + strings.Repeat("x", 91) + "..."},
	{"headers that do not end", h2(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
		for range 8000 {
			_ = fr.WriteContinuation(1, false, nil)
		}
	}), false, "answer longer than 64 KiB"},
	{"a pushed answer", h2(func(fr *http2.Framer) {
		_ = fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
	}), false, "malformed HTTP/2: PROTOCOL_ERROR"},
	{"a message that is cut", grpcAnswerOf("\x00\x00\x00\x00\x02\x08"), false, "malformed gRPC answer"},
	{"a compressed message", grpcAnswerOf("\x01\x00\x00\x00\x02\x08\x01"), false, "malformed gRPC answer"},
	{"a message of 4 GB", h2(func(fr *http2.Framer) {
		h2Headers(false, ":status", "200", "content-type", "application/grpc")(fr)
		_ = fr.WriteData(1, false, []byte("\x00\xff\xff\xff\xff\x08"))
	}), false, "gRPC message longer than 4 KiB"},
	{"a frame of 16 MB", h2(func(fr *http2.Framer) { _ = fr.WriteRawFrame(0, 0, 1, make([]byte, 1<<24-1)) }), false, "malformed HTTP/2: frame too large"},
	{"the call is refused", h2(func(fr *http2.Framer) { _ = fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) }), false, "server ended the call: REFUSED_STREAM"},
	{"the connection is refused", h2(func(fr *http2.Framer) { _ = fr.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("busy")) }), false, "server ended the connection: ENHANCE_YOUR_CALM"},
	{"another stream", h2(func(fr *http2.Framer) { _ = fr.WriteData(3, false, nil) }), false, "malformed HTTP/2: PROTOCOL_ERROR"},
	{"headers that cannot be", h2(h2Headers(true, "Upper", "case")), false, "malformed HTTP/2: PROTOCOL_ERROR"},
	{"headers that grow when they are unpacked", h2(h2Headers(true, slices.Repeat([]string{"x", strings.Repeat("y", 3900)}, 10)...)), false, "headers longer than 32 KiB"},
	{"frames without end", h2(func(fr *http2.Framer) {
		for range 8000 {
			_ = fr.WriteSettingsAck()
		}
	}), false, "answer longer than 64 KiB"},
	{"HTTP/1", "HTTP/1.1 400 Bad Request\r\n\r\n", false, "not HTTP/2: server answered with HTTP/1"},
	{"a TLS server", "\x15\x03\x01\x00\x02\x02\x46", false, "not HTTP/2: a TLS alert in its place"},
	{"another protocol", "220 mail.example.com ESMTP\r\n", false, `not HTTP/2: "220 mail.example.com"`},
	{"zeros", strings.Repeat("\x00", 20), false, `not HTTP/2: "` + strings.Repeat(`\x00`, 20) + `"`},
	{"silence", "", true, "timeout after 2s waiting for the gRPC answer"},
	{"nothing but settings", h2(func(*http2.Framer) {}), true, "timeout after 2s waiting for the gRPC answer"},
	{"closed", h2(func(*http2.Framer) {}), false, "closed by peer while waiting for the gRPC answer"},
}

func TestGRPC(t *testing.T) {
	for _, tt := range grpcTests {
		t.Run(tt.name, func(t *testing.T) {
			target := listen(t, func(conn *net.TCPConn) {
				_, _ = io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
				_, _ = io.WriteString(conn, tt.answer)
				if !tt.stall {
					_ = conn.CloseWrite()
				}
				untilClosed(conn)
			})
			c, err := newGRPC(grpcSpec("x"), direct(target), nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx := newDeadlineContext(t.Context())
			if tt.stall {
				c.dial = stall(c.dial, ctx, len(tt.answer))
			}
			got := ""
			if err := c.Check(ctx); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
		})
	}
}

// What goes out, as a server reads it.
func TestGRPCRequest(t *testing.T) {
	request, err := grpcRequest("https", "www.example.com", "käse.v1")
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := bytes.CutPrefix(request, []byte(http2.ClientPreface))
	if !ok {
		t.Fatalf("no preface in %q", request)
	}
	fr := http2.NewFramer(io.Discard, bytes.NewReader(rest))
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var got []string
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			break
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				got = append(got, h.Name+": "+h.Value)
			}
		case *http2.DataFrame:
			got = append(got, fmt.Sprintf("%q ended %t", f.Data(), f.StreamEnded()))
		default:
			got = append(got, fmt.Sprint(frame.Header()))
		}
	}
	want := []string{
		"[FrameHeader SETTINGS len=6]",
		":method: POST", ":scheme: https", ":path: /grpc.health.v1.Health/Check", ":authority: www.example.com",
		"content-type: application/grpc", "te: trailers", "user-agent: hadirector",
		`"\x00\x00\x00\x00\n\n\bkäse.v1" ended true`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

// Hostile servers cost a bounded amount of memory.
func TestGRPCMemoryIsBounded(t *testing.T) {
	settings := h2(func(*http2.Framer) {})
	block := h2(h2Headers(false, ":status", "200", "x", strings.Repeat("y", 1000)))
	for name, again := range map[string]string{
		"settings": settings, "headers": block, "garbage": strings.Repeat("\x00", 4096),
		"continuations": "\x00\x00\x04\x01\x00\x00\x00\x00\x01aaaa" + strings.Repeat("\x00\x00\x04\x09\x00\x00\x00\x00\x01aaaa", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(grpcSpec(""), listen(t, repeatsAtOnce(settings+again)))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := c.Check(t.Context()); err == nil {
				t.Error("healthy")
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("one probe allocated %d KiB, want 2 MiB at most", n>>10)
			}
		})
	}
}

// FuzzGRPC has a server answer arbitrary bytes and close.
func FuzzGRPC(f *testing.F) {
	for _, tt := range grpcTests {
		if len(tt.answer) < 1<<16 {
			f.Add([]byte(tt.answer))
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		c, err := newGRPC(grpcSpec(""), direct(healthcheck.Target{}), nil)
		if err != nil {
			t.Fatal(err)
		}
		c.dial = func(context.Context) (net.Conn, error) { return &script{Reader: bytes.NewReader(answer)}, nil }
		err = c.Check(t.Context())
		switch {
		case err == nil && !bytes.Contains(answer, []byte{0, 0, 0, 0}):
			t.Errorf("healthy after %q", answer)
		case err != nil && (len(err.Error()) > 300 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f })):
			t.Errorf("cause %q", err)
		}
	})
}

// script is a connection that says what is written down, and takes whatever it is told.
type script struct {
	net.Conn
	io.Reader
}

func (s *script) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s *script) Write(b []byte) (int, error) { return len(b), nil }
func (s *script) Close() error                { return nil }

// FuzzHealthResponse: what is accepted is what protobuf makes of it.
func FuzzHealthResponse(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x17\x12\x03abc\x08\x00\x19........\x25....\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		status, err := parseHealthResponse(b)
		if err != nil {
			return
		}
		if again, err := parseHealthResponse(healthResponse(status)); err != nil || again != status {
			t.Errorf("%x: status %d, and again %d, error %v", b, status, again, err)
		}
	})
}

func healthResponse(status uint64) []byte {
	m := []byte{0, 0, 0, 0, 0, 1 << 3}
	for ; status >= 0x80; status >>= 7 {
		m = append(m, byte(status)|0x80)
	}
	m = append(m, byte(status))
	m[4] = byte(len(m) - 5)
	return m
}

func BenchmarkGRPC(b *testing.B) {
	target := grpcServer(b, true)
	a := newAuthority(b, "known", nil)
	good := a.issue(b, nil)
	secure := grpcServer(b, true, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{good}})))
	withTLS := grpcSpec("up")
	withTLS.GRPC.TLS, withTLS.GRPC.Host, withTLS.TLS.CA = true, "www.example.com", pemFile(b, certBlock(a.cert))
	for _, bb := range []struct {
		name   string
		sp     healthcheck.Spec
		target healthcheck.Target
	}{{"h2c", grpcSpec("up"), target}, {"tls", withTLS, secure}} {
		b.Run(bb.name, func(b *testing.B) {
			c, err := New(bb.sp, bb.target)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Check(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
