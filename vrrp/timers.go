package vrrp

import "time"

// SkewTime is Skew_Time: the lower the priority, the longer a Backup waits beyond
// the other intervals, so that the one with the highest priority comes first.
//
// Version 3 takes (256 - priority) / 256 of Master_Adver_Interval (RFC 9568
// section 6.1), version 2 the same part of one second, whatever the interval
// (RFC 3768 section 6.1). It multiplies before it divides: at 10 ms and priority
// 254 the skew is 78.125 µs.
func SkewTime(v Version, p Priority, masterAdverInterval time.Duration) time.Duration {
	unit := masterAdverInterval
	if v == Version2 {
		unit = time.Second
	}
	return time.Duration(256-int64(p)) * unit / 256
}

// MasterDownInterval is Master_Down_Interval: how long a Backup hears nothing
// before it calls the Master down, three intervals and the skew.
func MasterDownInterval(v Version, p Priority, masterAdverInterval time.Duration) time.Duration {
	return 3*masterAdverInterval + SkewTime(v, p, masterAdverInterval)
}
