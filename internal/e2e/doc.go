// Package e2e tests the whole daemon, from its command line to the kernel, in the cluster
// of lab/cluster. It has tests only:
//
//   - tag integration: what any kernel can do, VRRP and the virtual addresses. They run on
//     the machine itself, as root, in namespaces.
//   - tag ipvs: what needs IPVS. They run in the virtual machine.
//
// Tests wait for what the daemons say and never for a time to pass. Where a duration
// counts, keepalived is measured beside it in the same run, because an emulated machine
// that others keep busy is slow for both.
package e2e
