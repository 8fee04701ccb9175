package probe

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func httpsSpec(ca string) healthcheck.Spec {
	sp := httpSpec()
	sp.Type, sp.TLS.CA = healthcheck.HTTPS, ca
	return sp
}

// shows serves one answer to every request over TLS, with one certificate.
func shows(c tls.Certificate, answer string) func(*net.TCPConn) {
	return secureWith(&tls.Config{Certificates: []tls.Certificate{c}}, answer)
}

func secureWith(config *tls.Config, answer string) func(*net.TCPConn) {
	return overTLS(config, func(conn net.Conn) {
		readRequest(conn)
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	})
}

// bytesOf answers whatever comes with bytes, and waits for the other end to close.
func bytesOf(answer string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		var b [1]byte
		_, _ = conn.Read(b[:])
		_, _ = io.WriteString(conn, answer)
		untilClosed(conn)
	}
}

const fine = ok + "Content-Length: 2\r\n\r\nok"

var (
	longPast  = time.Date(2020, 1, 2, 23, 59, 59, 0, time.UTC)
	farFuture = time.Date(2120, 3, 4, 0, 0, 0, 0, time.UTC)
)

// httpsTest is a server, and what the check of it says. The check trusts known, which is
// the authority of the certificates that good and bad make.
type httpsTest struct {
	name   string
	change func(*healthcheck.Spec)
	serve  func(*net.TCPConn)
	want   string // "" is healthy
}

func httpsTests(t *testing.T) (ca string, tests []httpsTest) {
	known := newAuthority(t, "known", nil)
	stranger := newAuthority(t, "stranger", nil)
	expired := newAuthority(t, "expired", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = longPast.AddDate(-1, 0, 0), longPast })
	itself := newAuthority(t, "itself", func(c *x509.Certificate) { c.DNSNames = []string{"www.example.com"} })
	between := known.between(t, nil)
	pastBetween := known.between(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = longPast.AddDate(-1, 0, 0), longPast })
	good := known.issue(t, nil)
	bad := func(change func(*x509.Certificate)) func(*net.TCPConn) { return shows(known.issue(t, change), fine) }
	client := known.issue(t, nil)
	clientFiles := func(sp *healthcheck.Spec) {
		sp.TLS.Certificate = pemFile(t, certBlock(client.Leaf))
		sp.TLS.Key = pemFile(t, keyBlock(t, client))
	}
	clientPool := x509.NewCertPool()
	clientPool.AddCert(known.cert)
	mutual := func(version uint16) func(*net.TCPConn) {
		return secureWith(&tls.Config{
			Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clientPool, MaxVersion: version,
		}, fine)
	}
	skip := func(sp *healthcheck.Spec) { sp.TLS.SkipVerify, sp.TLS.CA = true, "" }
	unnamed := func(sp *healthcheck.Spec) { sp.HTTP.Host = "" }
	return pemFile(t, certBlock(known.cert), certBlock(expired.cert)), []httpsTest{
		{"a certificate of the known authority", nil, shows(good, fine), ""},
		{"a chunked body", nil, shows(good, ok+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), ""},
		{"a body that ends with the connection, without close_notify", nil,
			overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, func(conn net.Conn) {
				readRequest(conn)
				_, _ = io.WriteString(conn, ok+"\r\nhello")
			}), ""},
		{"a wrong status", nil, shows(good, "HTTP/1.1 503 no\r\n\r\n"), "status 503, want 200-299"},
		{"the host's port is not part of its name", func(sp *healthcheck.Spec) { sp.HTTP.Host = "www.example.com:8443" }, shows(good, fine), ""},
		{"a name that the check has been told", func(sp *healthcheck.Spec) { sp.HTTP.Host, sp.TLS.Name = "other.example", "www.example.com" }, shows(good, fine), ""},
		{"the address in the certificate", unnamed,
			bad(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }), ""},
		{"a client's certificate", clientFiles, mutual(0), ""},
		{"HTTP/1.1 is agreed on with a server that knows HTTP/2", nil,
			secureWith(&tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"h2", "http/1.1"}}, fine), ""},
		{"an old server, by request", func(sp *healthcheck.Spec) { sp.TLS.MinVersion = "1.0" },
			secureWith(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, fine), ""},
		{"any certificate, by request", skip, shows(stranger.issue(t, func(c *x509.Certificate) { c.DNSNames = nil }), fine), ""},

		{"another name", nil, bad(func(c *x509.Certificate) { c.DNSNames = []string{"a.example.org"} }), "certificate is for a.example.org, want www.example.com"},
		{"several other names", nil, bad(func(c *x509.Certificate) {
			c.DNSNames = []string{"a.example.org", "*.b.example.org", "c\x01", "d.example.org"}
			c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")}
		}), "certificate is for a.example.org, *.b.example.org, c? and 2 more, want www.example.com"},
		{"a long name", nil, bad(func(c *x509.Certificate) { c.DNSNames = []string{strings.Repeat("x", 1000)} }),
			"certificate is for " + strings.Repeat("x", 60) + "..., want www.example.com"},
		{"no name but a Common Name", nil, bad(func(c *x509.Certificate) { c.DNSNames = nil }), "certificate is for no host, want www.example.com"},
		{"an address is wanted", unnamed, shows(good, fine), "certificate is for www.example.com, want 127.0.0.1"},
		{"expired", nil, bad(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = longPast.AddDate(-1, 0, 0), longPast }), "certificate expired 2020-01-02"},
		{"not valid yet", nil, bad(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = farFuture, farFuture.AddDate(1, 0, 0) }), "certificate not valid before 2120-03-04"},
		{"unknown authority", nil, shows(stranger.issue(t, nil), fine), "certificate signed by unknown authority"},
		{"an authority that has expired", nil, shows(expired.issue(t, nil), fine), "certificate of its authority expired 2020-01-02"},
		{"signed by itself", nil, shows(tls.Certificate{Certificate: [][]byte{itself.cert.Raw}, PrivateKey: itself.key}, fine),
			"certificate signed by itself, and by no known authority"},
		{"an authority that nobody knows, shown by the server", nil, shows(withAuthority(stranger.issue(t, nil), stranger), fine), "certificate signed by unknown authority"},
		{"an authority between that has expired", nil, shows(withAuthority(pastBetween.issue(t, nil), pastBetween), fine), "certificate of its authority expired 2020-01-02"},
		{"an authority between", nil, shows(withAuthority(between.issue(t, nil), between), fine), ""},
		{"an authority between that is not shown", nil, shows(between.issue(t, nil), fine), "certificate signed by unknown authority"},
		{"a certificate for all hosts of a domain", nil, bad(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }), ""},
		{"a certificate for all hosts of a domain is not for those below", func(sp *healthcheck.Spec) { sp.HTTP.Host = "a.www.example.com" },
			bad(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }), "certificate is for *.example.com, want a.www.example.com"},
		{"the dot at the host's end is not part of its name", func(sp *healthcheck.Spec) { sp.HTTP.Host = "www.example.com.:443" }, shows(good, fine), ""},
		{"an IPv6 address as host", func(sp *healthcheck.Spec) { sp.HTTP.Host = "[2001:db8::1]:8443" },
			bad(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")} }), ""},
		{"an address as a name", func(sp *healthcheck.Spec) { sp.TLS.Name = "2001:db8::1" },
			bad(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")} }), ""},
		{"signed by itself, and known", func(sp *healthcheck.Spec) { sp.TLS.CA = pemFile(t, certBlock(itself.cert)) },
			shows(tls.Certificate{Certificate: [][]byte{itself.cert.Raw}, PrivateKey: itself.key}, fine), ""},
		{"an expired certificate, by request", skip,
			bad(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = longPast.AddDate(-1, 0, 0), longPast }), ""},
		{"a certificate for other use", nil, bad(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }),
			"certificate refused: certificate specifies an incompatible key usage"},
		{"a client's certificate is wanted", nil, mutual(tls.VersionTLS13), "TLS alert: certificate required"},
		{"the same in TLS 1.2", nil, mutual(tls.VersionTLS12), "TLS alert: handshake failure"},
		{"an old server", nil, secureWith(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, fine),
			"TLS alert: protocol version not supported"},
		{"an alert", nil, bytesOf("\x15\x03\x03\x00\x02\x02\x28"), "TLS alert: handshake failure"},
		{"an alert that nobody knows", nil, bytesOf("\x15\x03\x03\x00\x02\x02\xfe"), "TLS alert: alert(254)"},

		{"plain HTTP", nil, bytesOf("HTTP/1.1 400 Bad Request\r\n\r\n"), "TLS handshake: server answered with plain HTTP"},
		{"another protocol", nil, bytesOf("220 mail.example.com ESMTP\r\n"), `TLS handshake: server answered with something else, "220 m"`},
		{"garbage", nil, bytesOf("\xff\xfe\xfd\xfc\xfb\xfa\xf9"), `TLS handshake: server answered with something else, "\xff\xfe\xfd\xfc\xfb"`},
		{"a record that is too long", nil, bytesOf("\x16\x03\x03\xff\xff" + strings.Repeat("x", 70000)), "TLS handshake: oversized record received with length 65535"},
		{"an empty message", nil, bytesOf("\x16\x03\x03\x00\x04\x02\x00\x00\x00"), "TLS handshake: error decoding message"},
		{"a handshake message that is huge", nil, bytesOf("\x16\x03\x03\x00\x04\x02\xff\xff\xff"), "TLS handshake: handshake message of length 16777215 bytes exceeds maximum of 65536 bytes"},
		{"closed in the handshake", nil, func(conn *net.TCPConn) {
			_, _ = conn.Read(make([]byte, 4096))
		}, "closed by peer while doing the TLS handshake"},
		{"reset in the handshake", nil, func(conn *net.TCPConn) {
			_, _ = conn.Read(make([]byte, 4096))
			_ = conn.SetLinger(0)
		}, "reset by peer while doing the TLS handshake"},
		{"closed before the answer", nil, shows(good, ""), "closed by peer while waiting for the status line"},
		{"garbage after the handshake", nil, func(conn *net.TCPConn) {
			overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, func(secure net.Conn) { readRequest(secure) })(conn)
			_, _ = io.WriteString(conn, "\x17\x03\x03\x00\x20"+strings.Repeat("x", 32))
			untilClosed(conn)
		}, "TLS broken while waiting for the status line: bad record MAC"},

		{"a file of authorities that is not there", func(sp *healthcheck.Spec) { sp.TLS.CA = "/nonexistent/ca.pem" }, shows(good, fine),
			"not asked: /nonexistent/ca.pem cannot be read: no such file or directory"},
		{"a directory in its place", func(sp *healthcheck.Spec) { sp.TLS.CA = "/" }, shows(good, fine), "not asked: / cannot be read: not a regular file"},
		{"a file without a certificate", func(sp *healthcheck.Spec) { sp.TLS.CA = "/proc/self/status" }, shows(good, fine),
			"not asked: /proc/self/status holds no certificate in PEM form"},
		{"a file without a client's certificate", func(sp *healthcheck.Spec) {
			clientFiles(sp)
			sp.TLS.Certificate = "/proc/self/status"
		}, shows(good, fine), "not asked: client certificate /proc/self/status: failed to find any PEM data in certificate input"},
	}
}

func TestHTTPS(t *testing.T) {
	ca, tests := httpsTests(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sp := httpsSpec(ca)
			if tt.change != nil {
				tt.change(&sp)
			}
			c, err := New(sp, listen(t, tt.serve))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			err = c.Check(t.Context())
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
			if notAsked := strings.HasPrefix(tt.want, "not asked: "); errors.Is(err, healthcheck.ErrNotAsked) != notAsked {
				t.Errorf("ErrNotAsked: %t, want %t", !notAsked, notAsked)
			}
		})
	}
}

// What the server hears: the name that is wanted, and no name in place of an address.
func TestHTTPSServerName(t *testing.T) {
	a := newAuthority(t, "known", nil)
	good := a.issue(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	names := make(chan string, 1)
	config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- hello.ServerName
		return &good, nil
	}}
	target := listen(t, secureWith(config, fine))
	ca := pemFile(t, certBlock(a.cert))
	for _, tt := range []struct{ host, name, want string }{
		{"www.example.com", "", "www.example.com"},
		{"WWW.example.com:443", "", "WWW.example.com"},
		{"other.example", "www.example.com", "www.example.com"},
		{"", "", ""},
	} {
		sp := httpsSpec(ca)
		sp.HTTP.Host, sp.TLS.Name = tt.host, tt.name
		c, err := New(sp, target)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("host %q, name %q: cause %q, want healthy", tt.host, tt.name, err)
		}
		if got := <-names; got != tt.want {
			t.Errorf("host %q, name %q: the server was asked for %q, want %q", tt.host, tt.name, got, tt.want)
		}
	}
}

// A handshake that does not go on ends with the probe.
func TestHTTPSHandshakeThatStalls(t *testing.T) {
	c, err := newHTTP(httpsSpec(""), direct(listen(t, bytesOf("\x16\x03\x03"))), new(tlsStore))
	if err != nil {
		t.Fatal(err)
	}
	ctx := newDeadlineContext(t.Context())
	c.dial = stall(c.dial, ctx, 3)
	got := c.Check(ctx)
	if diff := cmp.Diff("timeout after 2s doing the TLS handshake", got.Error()); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
}

// What a certificate is refused for is said, also when the deadline passes meanwhile; and what
// the server has put into it is made printable and short.
func TestHTTPSRefusedAtTheDeadline(t *testing.T) {
	a := newAuthority(t, "known", nil)
	leaf := a.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"a\x1b[2J.example.org"} }).Leaf
	c, err := newHTTP(httpsSpec(""), direct(listen(t, untilClosedTCP)), new(tlsStore))
	if err != nil {
		t.Fatal(err)
	}
	ctx := newDeadlineContext(t.Context())
	ctx.pass()
	refused := &tls.CertificateVerificationError{
		UnverifiedCertificates: []*x509.Certificate{leaf}, Err: x509.HostnameError{Certificate: leaf, Host: "www.example.com"},
	}
	got := c.secure.explain(ctx, refused)
	if diff := cmp.Diff("certificate is for a?[2J.example.org, want www.example.com", got.Error()); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
}

// Files that have changed are read again, and files that can be read again end the
// director's trouble.
func TestHTTPSFilesAreReadAgain(t *testing.T) {
	first, second := newAuthority(t, "first", nil), newAuthority(t, "second", nil)
	target := listen(t, shows(second.issue(t, nil), fine))
	ca := pemFile(t, certBlock(first.cert))
	sp := httpsSpec(ca)
	c, err := New(sp, target)
	if err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		got := ""
		if err := c.Check(t.Context()); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cause (-want +got):\n%s", diff)
		}
	}
	check("certificate signed by unknown authority")
	replacement := pemFile(t, certBlock(second.cert))
	if err := os.Rename(replacement, ca); err != nil {
		t.Fatal(err)
	}
	check("")
	if err := os.WriteFile(ca, []byte("half of a"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("not asked: " + ca + " holds no certificate in PEM form")
	writePEM(t, ca, certBlock(first.cert), certBlock(second.cert))
	check("")
}

// Checks of the same files share what is in them.
func TestTLSMaterialIsShared(t *testing.T) {
	a := newAuthority(t, "known", nil)
	files := tlsFiles{ca: pemFile(t, certBlock(a.cert))}
	store := new(tlsStore)
	one, err := store.load(files)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := store.load(files); err != nil || other != one {
		t.Errorf("read again: %v, error %v", other != one, err)
	}
}

func TestTLSFileTooLong(t *testing.T) {
	path := pemFile(t, &pem.Block{Type: "X"})
	if err := os.Truncate(path, maxPEM+1); err != nil {
		t.Fatal(err)
	}
	_, err := new(tlsStore).load(tlsFiles{ca: path})
	if want := "not asked: " + path + " is longer than 4 MiB"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestTLSKeyOfAnotherCertificate(t *testing.T) {
	a := newAuthority(t, "known", nil)
	path, key := pemFile(t, certBlock(a.issue(t, nil).Leaf)), pemFile(t, keyBlock(t, a.issue(t, nil)))
	_, err := new(tlsStore).load(tlsFiles{certificate: path, key: key})
	if want := "not asked: client certificate " + path + ": private key does not match public key"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A pipe that has taken the place of a file is not waited for, though somebody has it open to
// write: all checks with TLS would wait with it.
func TestTLSFileThatBecomesAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Who waits gets an end of file, and the test fails instead of hanging.
	timer := time.AfterFunc(5*time.Second, func() { writer.Close() })
	defer timer.Stop()
	_, err = readPEM(path)
	if want := "not asked: " + path + " cannot be read: not a regular file"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	writer.Close()
}

// Hostile servers cost a bounded amount of memory under TLS too.
func TestHTTPSMemoryIsBounded(t *testing.T) {
	a := newAuthority(t, "known", nil)
	ca := pemFile(t, certBlock(a.cert))
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
	endless := func(first, again string) func(*net.TCPConn) {
		return overTLS(config, func(conn net.Conn) {
			readRequest(conn)
			more := []byte(again)
			_, err := io.WriteString(conn, first)
			for err == nil {
				_, err = conn.Write(more)
			}
		})
	}
	for _, tt := range []struct {
		name  string
		serve func(*net.TCPConn)
	}{
		{"endless body", endless(ok+"\r\n", strings.Repeat("x", 64<<10))},
		{"endless header", endless(ok+"X: ", strings.Repeat("x", 64<<10))},
		{"endless records in the handshake", repeatsAtOnce("\x16\x03\x03\x40\x00" + "\x02\x00\xff\xff" + strings.Repeat("\x00", 16380))},
		{"endless garbage in the handshake", repeatsAtOnce(strings.Repeat("\x16", 64<<10))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(httpsSpec(ca), listen(t, tt.serve))
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

// repeatsAtOnce says the same again and again, whatever it is asked.
func repeatsAtOnce(again string) func(*net.TCPConn) {
	more := []byte(again)
	return func(conn *net.TCPConn) {
		for err := error(nil); err == nil; {
			_, err = conn.Write(more)
		}
	}
}

// A director without authorities does not know who is up.
func TestSystemWithoutRoots(t *testing.T) {
	defer func(was func() bool) { systemHasNoRoots = was }(systemHasNoRoots)
	systemHasNoRoots = func() bool { return true }
	a := newAuthority(t, "stranger", nil)
	c, err := newHTTP(httpsSpec(""), direct(listen(t, shows(a.issue(t, nil), fine))), new(tlsStore))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{c.Check(t.Context()), "not asked: this director has no certificates of authorities (install ca-certificates, or set tls_ca)"},
		{c.secure.explain(t.Context(), x509.SystemRootsError{Err: os.ErrPermission}), "not asked: this director cannot read the system's certificates of authorities"},
	} {
		if diff := cmp.Diff(tt.want, fmt.Sprint(tt.err)); diff != "" {
			t.Errorf("cause (-want +got):\n%s", diff)
		}
		if !errors.Is(tt.err, healthcheck.ErrNotAsked) {
			t.Errorf("%v is a verdict", tt.err)
		}
	}
}
