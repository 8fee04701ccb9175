package conf

import (
	"slices"
	"strings"
	"unicode"

	"github.com/hadirector/hadirector/healthcheck"
)

// grpcCheck is type "grpc".
var grpcCheck = checkKind{
	name: healthcheck.GRPC, connects: true,
	keys: slices.Concat([]string{"host", "service", "tls"}, tlsKeys),
	read: func(p *parser, t *node, s *healthcheck.Spec) {
		s.GRPC = p.grpcSpec(t)
		if s.GRPC.TLS {
			s.TLS = p.tlsSpec(t)
			return
		}
		for _, key := range tlsKeys {
			if k := t.kid(key); k != nil {
				p.keyErrorf(k, "%s is for tls = true", key)
			}
		}
	},
	write: func(w *writer, s healthcheck.Spec) {
		w.grpcSpec(s.GRPC)
		if s.GRPC.TLS {
			w.tlsSpec(s.TLS)
		}
	},
}

// maxGRPCService is our own.
const maxGRPCService = 1000

func (p *parser) grpcSpec(t *node) healthcheck.GRPCSpec {
	g := healthcheck.GRPCSpec{Host: p.host(t.kid("host")), TLS: p.boolean(t.kid("tls"), false)}
	n := t.kid("service")
	s, ok := read[string](p, n, "the name of a service, or an empty string for the server as a whole")
	switch {
	case !ok:
	case strings.ContainsFunc(s, unicode.IsControl):
		p.errorf(n, "%q has a control character", shorten(s))
	case len(s) > maxGRPCService:
		p.errorf(n, "has %d bytes, the limit is %d", len(s), maxGRPCService)
	default:
		g.Service = s
	}
	return g
}

func (w *writer) grpcSpec(g healthcheck.GRPCSpec) {
	if g.Host != "" {
		w.text("host", g.Host)
	}
	w.text("service", g.Service)
	w.boolean("tls", g.TLS)
}
