// Package load plays the clients of a cluster and measures what they see of a failover.
//
// [Requests] opens a new TCP connection every few milliseconds and asks for a page. What
// counts is the client-visible gap: the longest time during which no request was
// completed. Its resolution is the interval between two requests.
//
// [Pings] measures the same gap to the millisecond, by asking the kernel of whoever holds
// the address.
//
// [Conns] keeps connections open and exchanges a line on each, over and over. What counts
// is how many of them go on after the failover.
//
// [HearAdverts] listens to what the directors tell each other.
package load
