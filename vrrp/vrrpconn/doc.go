// Package vrrpconn sends and receives VRRP datagrams on Linux raw sockets.
//
// Virtual routers of one interface and family share a socket: a [Hub] opens it for
// the first, tells received datagrams apart by their VRID, and closes it after the
// last. Each virtual router gets a router.Conn of its own, which delivers to the inbox
// that it was opened with; several can share one.
//
// What counts is decided by package vrrp: the checks of the RFCs, who is a known sender,
// and what is signed. This package remembers for it which signed advertisements have
// been sent and heard.
//
// Whatever arrives, the receiving side goes on. A datagram that is not accepted is
// counted by reason, said in the log at a bounded rate and forgotten, an error of
// the socket is counted and waited out, and a virtual router that does not read
// loses its oldest advertisements and delays nobody.
package vrrpconn
