//go:build integration

package probe

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/internal/netnstest"
)

// nginxConfig has a server in clear, one with TLS, one that wants a client's certificate,
// one whose certificate has expired, and one that speaks HTTP/2 in clear. Beside them are mail
// proxies with STARTTLS: one that asks for it, one that insists on it, one that has not got it,
// and one whose certificate has expired.
const nginxConfig = `load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr notice;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s;
	proxy_temp_path %[1]s;
	fastcgi_temp_path %[1]s;
	uwsgi_temp_path %[1]s;
	scgi_temp_path %[1]s;
	default_type text/plain;
	root %[1]s;
	ssl_certificate %[1]s/good.pem;
	ssl_certificate_key %[1]s/good.pem;
	server {
		listen 80;
		listen 443 ssl;
		listen 81 http2;
		location = /health { return 200 "state: fine\n"; }
		location = /broken { return 503; }
		location = /moved { return 301 /health; }
		location = /slow { limit_rate 1k; alias %[1]s/large; }
		location = /large { }
		location = /token { if ($http_x_token != "s3cret") { return 403; } return 204; }
	}
	server {
		listen 8443 ssl;
		ssl_client_certificate %[1]s/ca.pem;
		ssl_verify_client on;
		location / { return 200 "hello $ssl_client_s_dn\n"; }
	}
	server {
		listen 9443 ssl;
		ssl_certificate %[1]s/expired.pem;
		ssl_certificate_key %[1]s/expired.pem;
	}
}
mail {
	server_name mail.example.org;
	auth_http 127.0.0.1:80/token;
	ssl_certificate %[1]s/good.pem;
	ssl_certificate_key %[1]s/good.pem;
	server { listen 25; protocol smtp; starttls on; }
	server { listen 587; protocol smtp; starttls only; }
	server { listen 26; protocol smtp; starttls off; }
	server { listen 27; protocol smtp; starttls on; ssl_certificate %[1]s/expired.pem; ssl_certificate_key %[1]s/expired.pem; }
}
`

// Debian's nginx, as each check finds it.
func TestNginx(t *testing.T) {
	known := newAuthority(t, "known", nil)
	good, client := known.issue(t, nil), known.issue(t, nil)
	expired := known.issue(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = longPast.AddDate(-1, 0, 0), longPast })
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	writePEM(t, file("ca.pem"), certBlock(known.cert))
	writePEM(t, file("good.pem"), certBlock(good.Leaf), keyBlock(t, good))
	writePEM(t, file("client.pem"), certBlock(client.Leaf), keyBlock(t, client))
	writePEM(t, file("expired.pem"), certBlock(expired.Leaf), keyBlock(t, expired))
	if err := os.WriteFile(file("large"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("nginx.conf"), fmt.Appendf(nil, nginxConfig, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	ns := netnstest.New(t, "web")
	ns.IP(t, "link set lo up")
	startNginx(t, ns, dir)

	https := func(port uint16, change func(*healthcheck.Spec)) healthcheck.Spec {
		sp := httpsSpec(file("ca.pem"))
		sp.Port = port
		if change != nil {
			change(&sp)
		}
		return sp
	}
	http := func(path string, change func(*healthcheck.HTTPSpec)) healthcheck.Spec {
		sp := httpSpec()
		sp.Port, sp.HTTP.Path = 80, path
		if change != nil {
			change(&sp.HTTP)
		}
		return sp
	}
	mail := func(port uint16, change func(*healthcheck.Spec)) healthcheck.Spec {
		sp := startTLSSpec(file("ca.pem"))
		sp.Port = port
		if change != nil {
			change(&sp)
		}
		return sp
	}
	rpc := grpcSpec("")
	rpc.Port = 81
	tests := []struct {
		name string
		sp   healthcheck.Spec
		want string
	}{
		{"http", http("/health", nil), ""},
		{"HEAD", http("/health", func(h *healthcheck.HTTPSpec) { h.Method = "HEAD" }), ""},
		{"a text", http("/health", func(h *healthcheck.HTTPSpec) { h.Expect = "fine" }), ""},
		{"another text", http("/health", func(h *healthcheck.HTTPSpec) { h.Expect = "bad" }), `no "bad" in the body`},
		{"a digest", http("/health", func(h *healthcheck.HTTPSpec) { h.ExpectDigest = "md5:a81a14c9f7ad5ce8ba1dd6a92a6c1b5e" }),
			"digest md5:d307bcdb5b4c22832268ebb73c1817f9, want md5:a81a14c9f7ad5ce8ba1dd6a92a6c1b5e"},
		{"a header", http("/token", func(h *healthcheck.HTTPSpec) { h.Headers = "X-Token: s3cret" }), ""},
		{"another header", http("/token", func(h *healthcheck.HTTPSpec) { h.Headers = "X-Token: other" }), "status 403, want 200-299"},
		{"503", http("/broken", nil), "status 503, want 200-299"},
		{"a redirect", http("/moved", nil), "status 301, want 200-299"},
		{"a redirect is accepted", http("/moved", func(h *healthcheck.HTTPSpec) { h.Status = "200-299,301" }), ""},
		{"a large page", http("/large", nil), ""},
		{"a slow page", func() healthcheck.Spec {
			sp := http("/slow", nil)
			sp.Timeout = 200 * time.Millisecond
			return sp
		}(), "timeout after 200ms reading the body"},
		{"http at the port of https", func() healthcheck.Spec { sp := http("/health", nil); sp.Port = 443; return sp }(), "status 400, want 200-299"},
		{"https", https(443, nil), ""},
		{"https at the port of http", https(80, nil), "TLS handshake: server answered with plain HTTP"},
		{"another name", https(443, func(sp *healthcheck.Spec) { sp.TLS.Name = "other.example" }), "certificate is for www.example.com, want other.example"},
		{"the system's authorities", https(443, func(sp *healthcheck.Spec) { sp.TLS.CA = "" }), "certificate signed by unknown authority"},
		{"without verification", https(443, func(sp *healthcheck.Spec) { sp.TLS.CA, sp.TLS.SkipVerify = "", true }), ""},
		{"TLS 1.3", https(443, func(sp *healthcheck.Spec) { sp.TLS.MinVersion = "1.3" }), "TLS alert: protocol version not supported"},
		{"expired", https(9443, nil), "certificate expired 2020-01-02"},
		{"a client's certificate", https(8443, func(sp *healthcheck.Spec) {
			sp.TLS.Certificate, sp.TLS.Key, sp.HTTP.Expect = file("client.pem"), file("client.pem"), "CN=www.example.com"
		}), ""},
		{"no client's certificate", https(8443, nil), "status 400, want 200-299"},
		{"no gRPC", rpc, "not gRPC: HTTP status 404"},
		{"STARTTLS", mail(25, nil), ""},
		{"STARTTLS that is insisted on", mail(587, nil), ""},
		{"STARTTLS, with TLS 1.3", mail(25, func(sp *healthcheck.Spec) { sp.TLS.MinVersion = "1.3" }), "TLS alert: protocol version not supported"},
		{"STARTTLS with another name", mail(25, func(sp *healthcheck.Spec) { sp.TLS.Name = "other.example" }), "certificate is for www.example.com, want other.example"},
		{"STARTTLS without verification", mail(25, func(sp *healthcheck.Spec) { sp.TLS.CA, sp.TLS.SkipVerify = "", true }), ""},
		{"STARTTLS with an expired certificate", mail(27, nil), "certificate expired 2020-01-02"},
		{"STARTTLS that is not offered", mail(26, nil), "STARTTLS is not offered"},
		{"mail in clear", mail(25, func(sp *healthcheck.Spec) { sp.SMTP.StartTLS = false }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.sp.TLS.CA == "" && tt.sp.Type == healthcheck.HTTPS && systemHasNoRoots() {
				tt.want = "not asked: this director has no certificates of authorities (install ca-certificates, or set tls_ca)"
			}
			c, err := New(tt.sp, healthcheck.Target{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.sp.Timeout)
			defer cancel()
			got := ""
			ns.Do(func() {
				if err := c.Check(ctx); err != nil {
					got = err.Error()
				}
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
		})
	}
}

// startNginx returns when it listens. It ends with the test.
func startNginx(t *testing.T, ns *netnstest.NS, dir string) {
	t.Helper()
	cmd := exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	ns.Start(t, cmd)
	var lines []string
	for s := bufio.NewScanner(said); s.Scan(); {
		lines = append(lines, s.Text())
		if strings.Contains(s.Text(), "event method") { // nginx says so once its sockets listen
			return
		}
	}
	t.Fatalf("nginx ended:\n%s", strings.Join(lines, "\n"))
}
