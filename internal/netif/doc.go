// Package netif is the machine's network interfaces as the daemon needs them: what
// state a link is in, virtual addresses on it, and the announcements that tell the
// segment where an address is now.
//
//   - [Watcher] follows links and addresses through rtnetlink and implements
//     router.Links.
//   - [Addresses] writes virtual addresses and implements router.Addresser.
//   - [Devices] makes the links of virtual routers that have one of their own and
//     implements router.Devices.
//   - [PrivateLink] makes an interface that leads nowhere, for the sync daemons.
//   - [Routing] writes routes and policy rules and implements router.Routing.
//   - [Announcer] sends gratuitous ARP and unsolicited neighbour advertisements and
//     implements router.Announcer.
//   - [Prober] asks a segment who answers for an address.
//
// The decisions (what a message changes, which addresses, routes and rules to add and
// remove, whose a link is and what it needs, what a frame looks like) are pure functions
// in link.go, plan.go, routing.go, device.go, private.go and frame.go.
//
// Sockets are opened in the network namespace of the calling thread. A process
// lives in one namespace; one that moved single threads would get sockets in
// either.
package netif
