// Package peers keeps the directors of a cluster in sight of each other, with
// hashicorp/memberlist over encrypted UDP and TCP: who is there, since when, in which
// roles, with which configuration. One text, which is the caller's matter, it brings to all
// of them.
//
// It is the second heartbeat and the carrier of small state. It never decides who is
// Master: with two directors each side of a partition takes the other for dead, so
// mastership stays with VRRP; and it carries no connection state.
//
// memberlist alone is not enough for that, so the package adds what it lacks:
//
//   - It never looks for a peer again that it has once given up. Here every configured
//     peer that is not there is called again and again, for the life of the process.
//   - It takes in whoever holds the key. Here only the configured directors at their
//     configured addresses are let in; datagrams and connections from elsewhere are
//     dropped before they are decrypted.
//   - It dials TCP from any local address. Here from the director's own, because a
//     virtual address that is the source today is another director's tomorrow.
//   - It wants its address to exist when it starts. Here the start is tried again.
//   - It repeats itself in the log. Here one line per change, and a kind of complaint
//     at most once in ten minutes.
//
// One goroutine, in [Peers.Run], owns all state. memberlist's callbacks run under its
// locks, so they only put what they heard into an inbox. Readers take snapshots.
package peers
