package syncconn

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// KeyPurpose is what the stream's keys are derived from the cluster's secret for.
const KeyPurpose = "director stream ed25519"

// errWrongKey says that the other side has not proved to have the key.
var errWrongKey = errors.New("it has another cluster key")

// identity is what a director proves to be: one that has the key. All directors of a
// cluster have the same; which of them it is says the Hello, inside.
type identity struct {
	name   string // tells the other side which of two keys is meant, and nothing about it
	public ed25519.PublicKey
	cert   tls.Certificate
}

// newIdentity makes the key pair of a seed, and a certificate, because TLS wants one.
// Nobody reads more of it than the public key.
func newIdentity(seed [32]byte) (*identity, error) {
	private := ed25519.NewKeyFromSeed(seed[:])
	public := private.Public().(ed25519.PublicKey)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "hadirector"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // "no end", RFC 5280 4.1.2.5
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, fmt.Errorf("make the stream's certificate: %w", err)
	}
	sum := sha256.Sum256(public)
	return &identity{
		name:   "key-" + hex.EncodeToString(sum[:4]),
		public: public,
		cert:   tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private},
	}, nil
}

func newIdentities(seeds [][32]byte) ([]*identity, error) {
	if len(seeds) == 0 {
		return nil, errors.New("no key")
	}
	var ids []*identity
	for _, seed := range seeds {
		if seed == [32]byte{} {
			return nil, errors.New("key is empty")
		}
		id, err := newIdentity(seed)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// config is TLS as both sides speak it: 1.3 alone, no tickets, so no resumption and no
// early data, and the one public key on the other side.
func (id *identity) config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		MaxVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{id.cert},
		ClientAuth:             tls.RequireAnyClientCert,
		ServerName:             id.name,
		SessionTicketsDisabled: true,
		// There is no authority and no name to be verified: VerifyConnection pins the
		// key, and the handshake proves that the other side has it.
		InsecureSkipVerify: true,
		VerifyConnection:   id.verify,
	}
}

func (id *identity) verify(s tls.ConnectionState) error {
	if len(s.PeerCertificates) != 1 {
		return errWrongKey
	}
	public, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || !bytes.Equal(public, id.public) {
		return errWrongKey
	}
	return nil
}

// serverConfig answers with the key that the other side names, or with the first, which
// it will refuse.
func serverConfig(ids []*identity) *tls.Config {
	c := ids[0].config()
	c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, id := range ids {
			if id.name == h.ServerName {
				return id.config(), nil
			}
		}
		return nil, nil
	}
	return c
}
