// Package relay carries connections between directors: what the kernel's master sync
// daemon tells goes into the shadow table and over the streams to every peer, and what peers
// tell goes into the table and to the kernel's backup daemon.
//
// One goroutine, [Relay.Run]'s, owns the table (a [syncd.Exchange]). Beside it each of
// these has one of its own, so that none waits for another: the capture, the injector, the
// tick, a listing of the kernel's connections, and the streams with theirs.
//
// The kernel's side comes and goes: the private interface is made anew, a daemon is
// started again, an order says that there is none. Peers never wait for it. What they tell
// meanwhile is in the table, and the kernel is told all of it when its daemon is back; what
// the kernel may have told meanwhile is read from its list.
package relay
