// Package e2e tests the whole daemon, from its command line to the kernel, in the cluster
// of lab/cluster. It has tests only:
//
//   - tag integration: what any kernel can do, VRRP and the virtual addresses. They run on
//     the machine itself, as root, in namespaces.
//   - tag ipvs: what needs IPVS. They run in the virtual machine.
//   - tags ipvs and systemd: what changes the kernel's modules under a live systemd. They run
//     in a virtual machine of their own, which has no other tests ("make vm-systemd").
//
// Tests wait for what the daemons say and not for a time to pass, unless the time is what is
// tested: one second after a crash the address is where it belongs. Where a duration counts
// in the virtual machine, keepalived is measured beside it in the same run, because an
// emulated machine that others keep busy is slow for both.
package e2e
