package probe

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/hadirector/hadirector/healthcheck"
)

// FuzzHTTP has a server answer arbitrary bytes, and then close or fall silent. The
// probe always comes to a verdict: at the deadline, which passes when it waits for
// bytes that do not come, if not before.
func FuzzHTTP(f *testing.F) {
	for _, answer := range []string{
		"",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTrailer: x\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200\n\nbody",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 503 no\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
		"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
		"\x15\x03\x01\x00\x02\x02\x46",
		"SSH-2.0-OpenSSH_9.2\r\n",
	} {
		f.Add([]byte(answer), true, false)
		f.Add([]byte(answer), false, true)
	}
	target := healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")} // never dialed
	f.Fuzz(func(t *testing.T, answer []byte, closes, head bool) {
		sp := httpSpec()
		if head {
			sp.HTTP.Method = "HEAD"
		}
		c, err := newHTTP(sp, direct(target), nil)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		ctx := newDeadlineContext(t.Context())
		c.dial = func(context.Context) (net.Conn, error) {
			probe, server := net.Pipe()
			go func() {
				defer close(served)
				defer server.Close()
				readRequest(server)
				_, err := server.Write(answer)
				if err == nil && !closes {
					untilClosed(server)
				}
			}()
			return &stallingConn{Conn: probe, after: len(answer), pass: func() {
				if !closes {
					ctx.pass()
				}
			}}, nil
		}
		err = c.Check(ctx)
		<-served
		ctx.pass()
		if err == nil {
			if !bytes.HasPrefix(answer, []byte("HTTP/1.")) || !bytes.Contains(answer, []byte(" 2")) {
				t.Errorf("healthy after %q", answer)
			}
			return
		}
		text := err.Error()
		if len(text) > 300 {
			t.Errorf("cause of %d bytes: %q", len(text), text)
		}
		for _, r := range text {
			if r < ' ' || r > '~' {
				t.Errorf("cause %q has a character that does not print", text)
			}
		}
	})
}
