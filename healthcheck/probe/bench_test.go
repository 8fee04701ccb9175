package probe

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/hadirector/hadirector/healthcheck"
)

func BenchmarkTCP(b *testing.B) {
	c, err := New(tcpSpec(), listen(b, untilClosedTCP))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Check(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHTTP compares the probe with the same request through an http.Transport
// that is set up for one connection per request. The figures include the server,
// which is the same for both.
func BenchmarkHTTP(b *testing.B) {
	target := listen(b, says(ok+"Content-Length: 2\r\n\r\nok"))
	b.Run("probe", func(b *testing.B) {
		c, err := newHTTP(httpSpec(), direct(target), nil)
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
	b.Run("transport", func(b *testing.B) {
		dial := dialWithin(direct(target), 0)
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives:  true,
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := dial(ctx)
				if err == nil {
					err = conn.(*net.TCPConn).SetLinger(0)
				}
				return conn, err
			},
		}}
		check := healthcheck.CheckerFunc(func(ctx context.Context) error {
			r, err := http.NewRequestWithContext(ctx, "GET", "http://"+target.Addr.String()+"/health", nil)
			if err != nil {
				return err
			}
			answer, err := client.Do(r)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			_, err = io.Copy(io.Discard, answer.Body)
			return err
		})
		b.ReportAllocs()
		for b.Loop() {
			if err := check(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHTTPS asks a server whose certificate it verifies. The figures include the
// server's half of the handshake.
func BenchmarkHTTPS(b *testing.B) {
	a := newAuthority(b, "known", nil)
	c, err := New(httpsSpec(pemFile(b, certBlock(a.cert))), listen(b, shows(a.issue(b, nil), fine)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Check(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
