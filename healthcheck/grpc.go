package healthcheck

// GRPCSpec is what a gRPC check asks: grpc.health.v1.Health/Check.
type GRPCSpec struct {
	// Service is the name of the service that is asked for; empty: the server as a whole.
	Service string
	// Host is the authority of the request; empty: the target's address.
	Host string
	// TLS says that the connection is encrypted, as the Spec's TLS has it; else it is HTTP/2
	// in clear with prior knowledge (h2c, RFC 9113 section 3.3).
	TLS bool
}
