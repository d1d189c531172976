package ec2sim

import "time"

// Fast returns a clock that begins now and runs speed times as fast as time
// itself, for [Config.Now] and for whoever must agree with it: an hour takes
// 72 s at a speed of 50. States, token buckets, stale reads and the Date
// header all go by it. Latency alone does not: that is for the transport.
func Fast(speed float64) func() time.Time {
	began := time.Now()
	return func() time.Time {
		return began.Round(0).Add(time.Duration(float64(time.Since(began)) * speed))
	}
}
