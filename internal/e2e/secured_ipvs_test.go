//go:build ipvs

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// securedServer is a virtual server whose real server is checked over https. %s is a file
// of authorities.
const securedServer = `
[virtual_server.secured]
address  = "10.0.0.100:1004"
protocol = "tcp"
check    = "secured"
real_server = { rs-1 = { address = "10.0.0.21:1004", weight = 10 } }

[check.secured]
type     = "https"
host     = "www.example.org"
tls_ca   = "%s"
interval = "1s"
timeout  = "10s"
fall     = 1
`

// selfSigned makes a certificate for a name, which is its own authority.
func selfSigned(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secured answers on a machine's port with 200 over TLS, and shows the certificate that it
// is told to. It returns the configuration of a virtual server that trusts all of them.
func (b *bed) secured(machine string, port int, shown *atomic.Pointer[tls.Certificate], trusted ...*tls.Certificate) string {
	b.t.Helper()
	var text []byte
	for _, c := range trusted {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})...)
	}
	path := filepath.Join(b.t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	var l net.Listener
	err := b.Do(machine, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	server := &http.Server{
		Handler:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ErrorLog:  log.New(io.Discard, "", 0), // handshakes that the check broke off
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown.Load(), nil }},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeTLS(l, "", "")
	}()
	b.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return fmt.Sprintf(securedServer, path)
}
