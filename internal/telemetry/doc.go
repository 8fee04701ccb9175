// Package telemetry is the optional HTTP listener for monitoring: /metrics in
// Prometheus text format and /healthz. Both are computed from the director's published
// status when they are asked for.
//
// Metric names are constants with their unit in the name; a state is one series per
// value, 0 or 1, so that an alert can be written on either.
package telemetry
