package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// secureLayer makes connections to one server secure. It is for one Checker, whose
// probes come one after the other.
//
// The connection below is the Checker's own, with its deadline, and ends with a reset as
// without TLS: a close_notify would tell the server nothing, since the verdict stands.
type secureLayer struct {
	store    *tlsStore
	files    tlsFiles
	timeout  time.Duration // for the cause's text
	template *tls.Config
	// warnBefore is how long before the end of the server's certificate there is a notice.
	warnBefore time.Duration
	// made is what the configuration was made from the last time.
	made   *tlsMaterial
	config *tls.Config
}

// tlsVersions are the versions by the names that a Spec has for them.
var tlsVersions = map[string]uint16{
	"":    tls.VersionTLS12,
	"1.0": tls.VersionTLS10,
	"1.1": tls.VersionTLS11,
	"1.2": tls.VersionTLS12,
	"1.3": tls.VersionTLS13,
}

// newSecure returns the layer for a server that is to show a certificate for name,
// unless sp has another. The protocols are those of ALPN (RFC 7301).
func newSecure(store *tlsStore, sp healthcheck.TLSSpec, name string, timeout time.Duration, protocols ...string) (*secureLayer, error) {
	files := tlsFiles{ca: sp.CA, certificate: sp.Certificate, key: sp.Key}
	for _, path := range []string{files.ca, files.certificate, files.key} {
		if path != "" && !filepath.IsAbs(path) {
			return nil, fmt.Errorf("file %q is not an absolute path", path)
		}
	}
	if (files.certificate == "") != (files.key == "") {
		return nil, fmt.Errorf("a client's certificate and its key go together")
	}
	version, ok := tlsVersions[sp.MinVersion]
	if !ok {
		return nil, fmt.Errorf("TLS version %q is not known", sp.MinVersion)
	}
	if sp.Name != "" {
		name = sp.Name
	}
	template := &tls.Config{
		ServerName: name, InsecureSkipVerify: sp.SkipVerify, MinVersion: version, NextProtos: protocols,
	}
	if version < tls.VersionTLS12 {
		template.CipherSuites = allCipherSuites()
	}
	return &secureLayer{store: store, files: files, timeout: timeout, template: template, warnBefore: sp.ExpiryWarning}, nil
}

// allCipherSuites are also those that servers of former times need: who asks for an old
// version means such a server.
func allCipherSuites() []uint16 {
	var all []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		all = append(all, s.ID)
	}
	return all
}

// prepare reads the files that are new or have changed since the last probe. It comes
// before the connection: a server is not asked about certificates that cannot be judged.
func (s *secureLayer) prepare() error {
	material, err := s.store.load(s.files)
	if err != nil {
		return err
	}
	if s.config == nil || s.made != material {
		s.config = s.template.Clone()
		s.config.RootCAs, s.config.Certificates = material.roots, material.certificates
		s.made = material
	}
	return nil
}

// handshake makes conn secure; prepare has succeeded. The deadline is conn's: given a
// context, the handshake would close the connection when that ends, and the cause would
// be lost.
func (s *secureLayer) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	secure := tls.Client(conn, s.config)
	if err := secure.Handshake(); err != nil {
		return nil, s.explain(ctx, err)
	}
	return secure, nil
}
