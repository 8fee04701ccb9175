// Package syncconn carries what the kernel's IPVS sync daemons say from one director to
// another: the sockets of the relay, and the stream between two directors.
//
//   - [Capture] hears the kernel's master daemon on the private interface.
//   - [Ticker] makes that daemon send at once what it would hold back for seconds.
//   - [Injector] hands messages to the kernel's backup daemon, no faster than it takes
//     them.
//   - [Streams] are the authenticated, encrypted connections to the other directors.
//
// What a message says, and which messages belong where, is package syncd's.
//
// Sockets are opened in the network namespace of the calling thread.
//
// The rules of a stream are those of [syncd.Link]. Of two directors the one with the
// lower name dials, from its own address, and never ceases to. The other listens at its
// own address, and closes what does not come from a configured one before it reads
// anything. Both speak TLS 1.3 and nothing else, and prove that they have the same
// Ed25519 key, derived from the cluster's secret: there is no certificate authority, no
// name, no ticket, no early data. Which director it is says the first frame. Two keys
// can be accepted at a time, so that the secret can be exchanged.
//
// Each peer has a goroutine that owns its Link and its connections. What goes out is
// fetched from the Link when a connection takes it, and what comes in waits until it is
// dealt with, so memory is bounded by the Link's limits, whatever the peer does.
package syncconn
