// Package ipvsnl is the client of the kernel's IPVS: it carries out the operations
// of packages ipvs and syncd over generic netlink, and reads back what is there.
//
// Services are created, changed and deleted, the table is flushed and the timeouts
// are set by github.com/moby/ipvs. It is kept behind a fence, because it reports
// success on a kernel without IPVS and waits for ever for a reply that got lost:
// [Open] looks for IPVS first, and a call that hangs is cut off by closing its
// socket. All else is the package's own, since moby/ipvs lacks it or loses values:
// destinations with address family, tunnel and whole weight, every listing, sync
// daemons, counters.
//
// A client belongs to the network namespace of the thread that called Open. To work
// in another one, lock the goroutine to its thread, enter the namespace, and call
// Open; the client may then be used from anywhere.
//
// To watch the requests, run
//
//	modprobe nlmon; ip link add nlmon0 type nlmon; ip link set nlmon0 up; tcpdump -i nlmon0 -w nl.pcap
package ipvsnl
