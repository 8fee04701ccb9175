// Package doctor finds out what is wrong with a machine's set-up, and names the command
// that mends it.
//
// [Gather] reads what the machine looks like, [Facts], and [Diagnose] compares it with
// the configuration: a pure function, so that every sentence that an operator may read at
// night has a test. Nothing is changed and nothing is sent; what cannot be told without
// sending is not told. To ask the kernel whether it has a scheduler makes it load the
// module.
//
// What could not be looked at, mostly for lack of privileges, is a finding of its own: it
// must not pass for fine.
package doctor
