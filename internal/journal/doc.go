// Package journal is the event journal: what happened to this director and why, one
// record per event, in order, over restarts. The command events reads it.
//
// The newest records are in memory, where Append puts them and readers find them; a
// writer, Run, takes them from there to disk. So nobody waits for a disk, and one that
// is full, read-only or stuck costs nothing but the records on it: the journal goes on
// in memory, says so once, and tries again.
//
// On disk there are two files of at most Options.MaxBytes each, events.jsonl and the
// one before it, events.1.jsonl, with one JSON object per line. A power loss can cut
// the last line short; it is dropped, and said, at the next start.
package journal
