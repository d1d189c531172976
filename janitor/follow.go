package janitor

import (
	"context"
	"time"

	"lapse/lease"
)

// Pace and bound of the looks at what others checkpoint. They are constants, however long the schedule pauses; a schedule of
// seconds asks for a look with each sweep.
const (
	followMax     = time.Minute
	followReadMax = 15 * time.Second
)

// follow keeps the watermark up while another replica leads.
func (j *Janitor) follow(ctx context.Context) {
	if j.LastCheckpoint == nil {
		j.Observe.Turned(0)
		return
	}
	table := timetable{schedule: j.schedule, now: j.Now}
	for {
		j.Observe.Turned(2*followMax + turnMax)
		reading, cancel := context.WithTimeout(ctx, followReadMax)
		reg, checkpoint, err := j.LastCheckpoint(reading)
		cancel()
		if err == nil {
			err = j.watermark.Load(reg.UUID)
		}
		if err == nil {
			j.watermark.See(j.Now(), lease.Snapshot{Registry: reg, Checkpoint: checkpoint}, false)
			j.Observe.Checkpoint(checkpoint)
		}
		if !pause(ctx, min(followMax, table.pause())) {
			return
		}
	}
}
