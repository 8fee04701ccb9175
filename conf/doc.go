// Package conf turns a configuration file, the same on every director, into
// validated immutable values.
//
// [Load] and [Parse] report every mistake of a file at once, each with file, line,
// column and dotted key, so that "hadirector check" and a reload can refuse a bad
// file before anything changes. What they return is complete: defaults are filled
// in, names are resolved, addresses and durations are values, and nothing after
// them validates again.
//
// # How a file is read
//
// The TOML library decodes the text into plain values. It matches keys without
// regard to case, stops at the first value of a wrong type and does not tell where
// a key stands, so the rules of the grammar are not left to it: position.go notes
// the place of every key and value, node.go joins the two into one tree, and one
// function per table reads the keys it knows from that tree (director.go,
// virtualrouter.go, virtualserver.go, realserver.go, check.go, track.go, services.go).
// What a virtual router has beside the election is read by subject: transport.go,
// hmac.go, vmac.go, routing.go, announce.go, tracking.go, group.go, each with the rules
// about it. Other rules between tables are in contradict.go.
//
// # Secrets
//
// Passwords and keys are in the file in clear. No message repeats one (secret.go), and
// the effective text has a digest in their place (password.go, hmac.go).
//
// # Names
//
// Tables are named, [virtual_server.web], never arrays of tables: the names are the
// words that commands, logs and errors use. reference.toml explains every key.
package conf
