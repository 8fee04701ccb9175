// Package vrrptest plays a LAN segment with directors on it, in virtual time, and
// writes down what happens.
//
// A [Segment] delivers what one director's virtual router sends to all others at
// the same instant, in the order of sending. [Run] drives it with a script:
//
//	router a addr=192.0.2.2 priority=200     # and interval= version= preempt= delay= vips= auth=
//	start [NAME…]       the daemon starts; without a name, all of them
//	run 5s              time passes
//	cut a; heal a       a's frames neither leave nor arrive; they do again
//	stop a              the daemon stops as it should
//	kill a              the daemon is killed: it says nothing, its addresses stay
//	crash a             the machine dies: it says nothing, its addresses go with it
//	fail a link eth0 is down
//	recover a
//	set a priority=50   other parameters
//	inject 192.0.2.9 priority=100 [to=a]     an advertisement out of nowhere
//
// Commands are separated by line ends and semicolons; # starts a comment. In the
// transcript, every change of state and every answer to an event is a line with its
// time. What a Master does again and again by its timers is counted, and told at
// the end of each run with who holds the virtual addresses.
package vrrptest
