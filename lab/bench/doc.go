// Package bench measures hadirector beside keepalived: in turn, in one run, on one machine,
// with the same clients. Everything runs in network namespaces (package cluster). What needs
// neither IPVS nor emulation has real milliseconds.
//
// [Failover] measures the client-visible gap when a Master goes. Each round happens at
// another point of the time between two advertisements, and at the same points for both
// programs: without that, the rounds of one program would differ by as much as that time.
//
// [VRRP] measures what 255 virtual routers cost, and whether they keep their Master while
// other programs want all of the machine.
//
// [Sync] counts the connections that go on when a Master loses its power and when it comes
// back, and measures what keeping them costs. It needs IPVS, as [Reload] and [Check] do.
//
// Absolute figures belong to the machine. What holds elsewhere is the comparison.
package bench
