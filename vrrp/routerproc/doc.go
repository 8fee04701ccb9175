// Package routerproc runs virtual routers in a process of their own, and looks after
// it. What delays the daemon (a reload, ten thousand checks, a scrape of its metrics)
// then delays no advertisement, and the small process can have real-time scheduling
// and memory that is never paged out.
//
// # The two sides
//
// [Process] is the daemon's side, the parent. It starts the child, hands it the
// instances, passes its reports on, and starts it again when it ends. [Serve] is the
// child's side: it feeds a set of virtual routers ([Set]) with what the parent says.
// Between them is a socket pair with values as JSON (wire.go); neither side ever waits
// for the other.
//
// # Each guards the other
//
//   - The child ends: the parent sees the connection close and gives the same instances
//     to another one at once, the spare child that is ready for this. What was Master a
//     moment ago is adopted, with the addresses that are still on the interface, so that
//     the other directors notice nothing. After children that end again and again the
//     next one gives way to other directors for a while. If that one ends too, or there is
//     no Master to hand over, there is a growing pause, and before it the parent takes away
//     the addresses that are left.
//   - The child is stopped by a signal: the parent kills it, and goes on as above.
//   - The child hangs: a parent that gets no answer for a while, counted in its own
//     running time, kills it. By then another director is Master, so nothing is adopted. Nor
//     is it when the parent did not run either and cannot tell when the child ended.
//   - The parent ends: the child sees the connection close, hands mastership over, and
//     ends when it is Master of nothing. As long as nobody takes over it goes on, with
//     priority 1, so that whoever comes does.
//   - The parent hangs: the child, which hears nothing from the director loop for ten
//     seconds of its own running time, does the same until it hears from it again.
//
// # Invariants
//
//   - There is at most one child with instances at a time: the next is given them when
//     the last has closed its connection, which is the last that a child does, or has
//     been killed and does not end, in which case it does nothing any more either.
//   - Every report that the child could send is delivered once and in order. When a
//     child ends and a virtual router is not adopted, its end is reported in the child's
//     place.
//   - Nobody but the child writes addresses while it lives.
package routerproc
