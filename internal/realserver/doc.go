// Package realserver prepares a real server for direct routing and for tunnels: the
// virtual addresses are on an interface of this machine, so that it takes the clients'
// packets, and it says nothing about them by ARP, so that the packets go to the director
// first.
//
// For direct routing that is the loopback interface. For a tunnel it is an interface at
// which tunnels from anywhere to one own address of this machine end; Generic UDP
// Encapsulation (GUE) comes to a UDP port of the kernel first. IPv4 packets that leave a
// tunnel would be dropped by a strict rp_filter.
//
// [Start] puts in place what is missing, takes back what an earlier Start did for
// addresses that are virtual no more, and remembers in a file, before the first
// change, what the machine looked like; [Stop] brings exactly that back, also after
// a Start that was interrupted, but for the kernel modules that were loaded; [Status]
// tells item by item what is in place. What Status finds wrong, Start mends, except for
// the items that say ByHand. What to change is planned by pure functions (plan.go) as
// steps that print themselves as the commands that an operator would type.
//
// IPv6 needs no silence: a machine answers neighbour solicitations only for
// the addresses of the interface that they come in on.
package realserver
