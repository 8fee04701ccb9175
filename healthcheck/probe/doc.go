// Package probe holds the ways to ask whether something is healthy: a [Prober] makes the
// Checker for a check of a real server or for a track, which asks the director itself:
// "script", "file", "process" and "ping".
//
// # What every probe keeps to
//
// A probe that connects to a real server does so anew, because the next client will, and
// because a connection that was kept says nothing about the server's willingness to take
// one. Echo requests share a socket, which is open as long as one is on its way.
//
// It ends with its context, at the latest: the context bounds the whole probe, from
// connect to verdict. A server that sends one byte a second does not prolong it. It
// needs bounded memory, whatever the server sends.
//
// It closes its connection with a reset. An orderly close would leave a socket in
// TIME_WAIT on the director, a minute for each probe: ten thousand probes a second
// would use up the local ports. The real server sees its connection reset, for "tcp"
// perhaps before it has accepted it, and may log that.
//
// Under TLS that reset comes without a close_notify: the verdict stands, and a peer that is
// told of the end would only answer.
//
// What a script says, what a file holds and how long either takes is bounded too, and
// nothing that a script starts outlives its probe, unless it leaves the script's process
// group.
//
// Every probe says why it failed in a sentence that an operator understands, without
// addresses and ephemeral ports, so that equal failures have equal text. The
// sentences are listed in docs/healthchecks.md. Failures that are the director's own
// wrap healthcheck.ErrNotAsked; errors.Is also finds the kernel's error inside.
package probe
