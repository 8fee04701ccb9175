// Package ipvs is the kernel's IPVS table as values, in ipvsadm's words, and the
// ordered operations that lead from one table to another. It talks to no kernel;
// package ipvs/ipvsnl does.
//
// The kernel's nouns are used here: a [Service] is what the configuration calls a
// virtual server, a [Destination] is what it calls a real server.
package ipvs
