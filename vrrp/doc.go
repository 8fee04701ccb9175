// Package vrrp is the Virtual Router Redundancy Protocol as values: the
// advertisement and its wire form, the protocol's timers, and the virtual
// router's state machine. It opens no socket, reads no clock and starts no
// goroutine, so the same inputs always give the same outputs.
//
// # Shape
//
// A [VirtualRouter] is fed with events and the time at which they happened, and
// answers with actions in the order in which they must be carried out:
//
//	actions := vr.Handle(now, vrrp.AdvertReceived{From: peer, Advert: a})
//
// [VirtualRouter.Deadline] tells when it next wants a [Timeout] event. Package
// vrrp/router is the shell that owns the clock, the socket and the addresses.
//
// # Names
//
// The states are Master, Backup and Fault, the words of RFC 3768, of keepalived
// and of operators. RFC 9568 calls the Master the Active Router and its
// Active_Down_Interval is our MasterDownInterval; docs/rfc9568.md has the whole
// correspondence. Fault is RFC 9568's Initialize with a reason.
//
// # Invariants
//
//   - Virtual addresses are on the interface exactly as long as the state is Master:
//     they are acquired on the way in, released on every way out, and a change of
//     parameters as Master acquires and announces the new ones before it releases
//     those that are gone.
//   - An advertisement that is ignored leaves every timer as it was.
//   - A shutdown as Master sends priority 0 before it releases an address.
//   - A Transitioned action is the last of its Handle, and there is at most one.
//   - However often another router contests, announcements keep their spacing and
//     answers half an advertisement interval.
//   - Arithmetic on intervals multiplies before it divides and never leaves
//     time.Duration; wire units exist only in the codec.
package vrrp
