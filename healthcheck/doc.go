// Package healthcheck says what a check is, when a real server counts as up or
// down, and runs the checks. The ways to ask are in package healthcheck/probe. A
// director's tracks, which are checks of itself, are made in the same way.
//
// # The words
//
// A check, [check.NAME] in the configuration, is a [Spec]: what to ask and when to
// believe the answer. A [Target] is an address together with a check. One asking is
// a probe, carried out by a [Checker]: nil is a success, an error is the cause of a
// failure, in words for the operator. A [Tracker] turns the successes and failures
// of one target into its [Status], and each change of status is an [Event]. A
// [Measurer] has a number to tell besides, whose changes are events too, and a [Noticer]
// a warning.
//
// # When a target is up or down
//
// The first verdict needs one probe: a target is Unknown until then, and up or down
// after it, so that a director that has just started knows its pool within seconds.
// From then on it takes Rise successes in a row to come up and Fall failures in a
// row to go down. A probe that the director could not make, for lack of a file
// descriptor or a local port, is no verdict ([ErrNotAsked]): a director's own
// trouble takes no real server out.
//
// # When a target is asked
//
// The first probe comes within three seconds (or one interval, if that is shorter)
// of the start, at a moment that a hash of the target decides, so that thousands of
// targets are not asked at once. Every further probe starts one interval after the
// last one started, give or take Jitter at random, so that rounds which happen to
// coincide drift apart: FastInterval while a run of verdicts against the status goes
// on, DownInterval while the target is down otherwise, and Interval else. A target is
// never asked twice at the same time: a probe that takes longer than the interval
// delays the next one.
//
// At most Concurrency probes run at once, and at most PerHost of them ask one address.
// A target that is due when all places are taken waits in line, and its timeout begins
// when it gets a place. Targets that took half their timeout or more the last time wait
// in a line of their own which may fill half of the places: a rack that has died cannot
// keep the director from noticing that another server dies.
//
// A director that was stopped for a while, or whose machine was, has seen timeouts pass
// that say nothing about anybody. It notices that its clock has run on without it, and
// then the probes that ran meanwhile and failed are no verdicts, and all that is planned
// comes as much later.
//
// # How it is built
//
// The decisions are plain values that get the time as an argument: [Tracker], the
// schedule of probes, and the box of events that wait for their reader. [Monitor] is
// the shell around them: one goroutine owns them, sleeps until the next probe is due
// on a single timer, starts each probe in a goroutine of its own, and gets the
// verdict back by a channel. A target at rest costs memory and no goroutine.
package healthcheck
