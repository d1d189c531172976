package janitor

import (
	"context"
	"time"

	"lapse/lease"
)

// Pace and bound of reading the checkpoints of others. They are constants, however long the schedule pauses; with a schedule
// of seconds, each sweep's checkpoint is read.
const (
	followMax     = time.Minute
	followReadMax = 15 * time.Second
)

// follow keeps the watermark up while another replica leads.
func (r *replica) follow(ctx context.Context) {
	if r.LastCheckpoint == nil {
		r.Observe.Turned(0)
		return
	}
	table := timetable{schedule: r.schedule, now: r.Now}
	for {
		r.Observe.Turned(2*followMax + turnMax)
		reading, cancel := context.WithTimeout(ctx, followReadMax)
		reg, checkpoint, err := r.LastCheckpoint(reading)
		cancel()
		if err == nil {
			err = r.watermark.Load(reg.UUID)
		}
		if err == nil {
			r.watermark.See(r.Now(), lease.Snapshot{Registry: reg, Checkpoint: checkpoint}, false)
			r.Observe.Checkpoint(checkpoint)
		}
		if !pause(ctx, min(followMax, table.pause())) {
			return
		}
	}
}

// pause waits, and reports whether it has: it is cut short by the end of ctx.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
