// Package netif is the machine's network interfaces as the daemon needs them: what
// state a link is in, virtual addresses on it, and the announcements that tell the
// segment where an address is now.
//
//   - [Watcher] follows links and addresses through rtnetlink and implements
//     router.Links.
//   - [Addresses] writes virtual addresses and implements router.Addresser.
//   - [Announcer] sends gratuitous ARP and unsolicited neighbour advertisements and
//     implements router.Announcer.
//   - [Prober] asks a segment who answers for an address.
//
// The decisions (what a message changes, which addresses to add and remove, what a
// frame looks like) are pure functions in link.go, plan.go and frame.go.
//
// Sockets are opened in the network namespace of the calling thread. A process
// lives in one namespace; one that moved single threads would get sockets in
// either.
package netif
