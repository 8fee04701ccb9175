// Package syncconn carries what the kernel's IPVS sync daemons say from one director to
// another: the sockets of the relay.
//
//   - [Capture] hears the kernel's master daemon on the private interface.
//   - [Ticker] makes that daemon send at once what it would hold back for seconds.
//   - [Injector] hands messages to the kernel's backup daemon, no faster than it takes
//     them.
//
// What a message says, and which messages belong where, is package syncd's.
//
// Sockets are opened in the network namespace of the calling thread.
package syncconn
