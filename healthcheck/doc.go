// Package healthcheck says what a check is, when a real server counts as up or
// down, and runs the checks: [Spec] is a check as configuration, [Tracker] the
// decision, [Monitor] the loop that asks. The ways to ask are in package
// healthcheck/probe.
package healthcheck
