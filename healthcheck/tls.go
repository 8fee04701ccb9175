package healthcheck

import "time"

// TLSSpec is how a check speaks TLS. It belongs to the types that do.
type TLSSpec struct {
	// SkipVerify takes whatever certificate the server shows.
	SkipVerify bool
	// CA is a file with the certificates (PEM) of the authorities that may sign the
	// server's; empty: the system's.
	CA string
	// Name is the server's name in its certificate, and what it is told as the name that
	// is wanted (SNI, RFC 6066 section 3); empty: the host that the check asks for, else
	// the target's address.
	Name string
	// Certificate and Key are files (PEM) of what the check shows to a server that wants a
	// client's certificate; empty: none. One file may hold both.
	Certificate, Key string
	// MinVersion is the oldest version of TLS that is spoken: "1.0" to "1.3". Empty: "1.2".
	MinVersion string
	// ExpiryWarning is how long before the end of the server's certificate a notice says
	// so; 0: never.
	ExpiryWarning time.Duration
}
