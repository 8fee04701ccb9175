// Package director is the one place where configuration and facts meet. Its loop
// gathers what happens (a virtual router changed state, a real server failed its
// check, the kernel refused a service, a new configuration) and after each event
// compiles, with the pure function [Compile], what the kernel should look like. The
// reconciler makes the kernel agree.
//
//	config + facts ──Compile──▶ Desired ──mailbox, newest wins──▶ reconciler ──▶ kernel
//
// The loop waits for nothing but its events. Readers get [Director.Status], which is
// put together from published snapshots and never asks an owner.
//
// The package knows kernels, virtual routers and peers only through the small
// interfaces in ifaces.go, so the whole director runs in a test without any of them.
package director
