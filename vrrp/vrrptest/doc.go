// Package vrrptest plays a LAN segment with directors on it, in virtual time, and
// writes down what happens.
//
// A [Segment] delivers what one director's virtual router sends to all others at
// the same instant, in the order of sending, unless told otherwise. [Run] drives it with
// a script:
//
//	router a addr=192.0.2.2 priority=200     # and interval= version= preempt= delay= startdelay= hold= vips= excluded= auth=
//	router a/v6 group=pair addr=fe80::a …    # one of several virtual routers; those of a group move together
//	start [NAME…]       the daemon starts; without a name, all of them
//	run 5s              time passes
//	cut a; heal a       a's frames neither leave nor arrive; they do again
//	stop a              the daemon stops as it should
//	kill a              the daemon is killed: it says nothing, its addresses stay
//	crash a             the machine dies: it says nothing, its addresses go with it
//	adopt a             the daemon starts, and goes on being Master of what a killed one left
//	switchover a        hands over
//	stall a; resume a   the process does nothing, its queue fills; it goes on
//	suspend a           the machine stands still until resume: its clock too, and it hears nothing
//	fail a link eth0 is down
//	recover a
//	set a priority=50   other parameters
//	inject 192.0.2.9 priority=100 [to=a]     an advertisement out of nowhere
//	seed 7              decides what is left to chance
//	net loss=0.1 delay=1ms jitter=5ms dup=0.05
//	path a b loss=1     the same from a to b alone
//	partition a,b c     two components; a>b: b does not hear a
//	heal                everything passes
//	settle              no more losses; then every election must end as it should
//
// Where a director has several virtual routers, a is all of them and a/v6 is one.
//
// Commands are separated by line ends and semicolons; # starts a comment. In the
// transcript, every change of state and every answer to an event is a line with its
// time. What a Master does again and again by its timers is counted, and told at
// the end of each run with who holds the virtual addresses.
//
// A judge looks at every step; a rule that is broken ends the script with a
// [Violation]. [Schedule] makes scripts by chance, [Shrink] makes those that fail short,
// and [Explain] also writes down what was lost.
package vrrptest
