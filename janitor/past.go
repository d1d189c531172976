package janitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"lapse/lease"
	"lapse/lease/owndir"

	"lapse/janitor/plan"
)

// past is what this replica remembers of the registry, leading or not: the newest checkpoint that it has seen, and the brakes
// that stand until a person lifts them. Only leaders write checkpoints, and each counts on from the one before it, so a lower
// number, or the same with another nonce, means that the registry was set back. A file keeps it beyond the process.
type past struct {
	dir string // of the file; empty: nothing outlives the process
	log *slog.Logger

	disk stateFile

	mu     sync.Mutex
	uuid   string // of the registry that memory is about; empty: of none yet
	memory remembered
	enters bool   // this replica has taken office, and not looked since
	found  *found // what it found then, or when it looked first of all, until that is settled
	loaded struct {
		uuid string
		data []byte
		err  error
	} // what was read beforehand
	stale string // why somebody who remembers nothing, or too little, cannot tell what the registry is; empty if there is no such reason
}

// found is what a new leader found, or what was found before there was any memory.
type found struct {
	checkpoint lease.Checkpoint // the last
	at         time.Time        // when that was, by the monotonic clock
	first      bool             // nothing was remembered
}

// remembered is the content of the file.
type remembered struct {
	Sequence  int64         `json:"sequence"`
	Nonce     string        `json:"nonce"`
	Time      time.Time     `json:"time"`
	NextSweep time.Time     `json:"next_sweep"`
	Standing  []lease.Brake `json:"standing,omitempty"`
}

// openPast prepares the directory, so that it is known from the start whether anything can be kept there.
func openPast(dir string, log *slog.Logger) (*past, error) {
	if dir != "" {
		if err := owndir.Make(dir, 0o750); err != nil {
			return nil, fmt.Errorf("prepare the state directory: %w", err)
		}
	}
	return &past{dir: dir, log: log}, nil
}

// see takes in the registry and its checkpoint as read. leading says whether this replica holds the leadership. A memory that is
// far older than a checkpoint which nobody keeps up is as good as none: higher checkpoints may have come between, and been lost.
// Until that is settled, nothing is kept, for a new process would take it for what it had seen in time.
func (p *past) see(now time.Time, snapshot lease.Snapshot, leading bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reg, read := snapshot.Registry, snapshot.Checkpoint
	unreadable := slices.ContainsFunc(snapshot.Bad, func(bad lease.BadRecord) bool { return bad.Kind == plan.BadCheckpoint })
	known := p.recall(reg.UUID)
	before := p.memory
	p.memory.Standing = reg.Stands(p.memory.Standing) // one that was lifted while nobody looked is not the next
	switch {
	case !known && unreadable:
		p.stale = "the last checkpoint cannot be read, and this janitor remembers nothing of the registry"
	case !known && read.Sequence > 0:
		p.found = &found{read, time.Now(), true}
	case known && !unreadable && (read.Sequence < before.Sequence || read.Sequence == before.Sequence && read.Nonce != before.Nonce):
		p.stand(now, lease.BrakeRollback, fmt.Sprintf(
			"the checkpoint is number %d, and number %d was seen before: the registry was set back to an older state", read.Sequence, before.Sequence))
		p.enters = false // there is no doubt
	case known && read.Sequence > before.Sequence && (read.Fresh(now) || before.upTo(read)):
		p.stale = "" // others go on, and hold what they have to
		if !leading {
			p.found = nil
		}
	case known && read.Sequence > before.Sequence && !before.upTo(read):
		p.stale = fmt.Sprintf("the last checkpoint is of %s, and what this janitor remembers of the registry is of %s",
			read.Time.Format(time.RFC3339), before.Time.Format(time.RFC3339))
	}
	if leading && p.enters {
		p.enters = false
		p.find(known, before, read)
	}
	if leading && p.stale != "" {
		p.stand(now, lease.BrakeUnwatched, p.stale+"; it may have been set back since")
		p.stale = ""
	}
	p.memory.Standing = joined(reg.Stands(read.Standing), p.memory.Standing)
	if !unreadable {
		p.memory.Sequence, p.memory.Nonce, p.memory.Time, p.memory.NextSweep = read.Sequence, read.Nonce, read.Time, read.NextSweep
	}
	if p.stale == "" && (p.found == nil || !p.found.first || p.found.checkpoint.Fresh(now)) {
		p.keep(before)
	}
}

// checkpoint is what is remembered of the last one.
func (r remembered) checkpoint() lease.Checkpoint {
	return lease.Checkpoint{Time: r.Time, NextSweep: r.NextSweep}
}

// upTo reports whether the memory was kept up until about the time of a checkpoint, as those who follow keep it: the one that
// it knows was still fresh.
func (r remembered) upTo(s lease.Checkpoint) bool { return r.checkpoint().Fresh(s.Time) }

// unwatchedMax is for how long nobody may have recorded a registry that a new leader takes at its word because it remembers
// it, unless the schedule pauses for longer. Memory tells that a registry was set back to before what was seen, and not
// that it was changed, and set back to the last checkpoint, since then.
const unwatchedMax = time.Hour

// enter notes that this replica has taken office.
func (p *past) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enters = true
	if p.found != nil && !p.found.first {
		p.found = nil
	}
}

// find notes what a new leader has found. Where the checkpoint cannot be read, it is that which was seen last.
func (p *past) find(known bool, before remembered, read lease.Checkpoint) {
	last := before.checkpoint()
	if read.Sequence > 0 {
		last = read
	}
	if known && p.found == nil && !last.Time.IsZero() {
		p.found = &found{checkpoint: last, at: time.Now()}
	}
}

// settle judges what a new leader has found, by EC2's clock, if that is told: its own may be wrong. Where it is not, one
// that remembers the registry waits, and one that does not must not: its own checkpoint comes next, and is fresh.
func (p *past) settle(now time.Time, told bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil || !told && !p.found.first {
		return
	}
	f, before := *p.found, p.memory
	p.found = nil
	then := now.Add(-time.Since(f.at))
	if f.checkpoint.Fresh(then) {
		return
	}
	why := "and this janitor remembers nothing of the registry"
	if !f.first {
		if then.Sub(f.checkpoint.Watched()).Abs() <= unwatchedMax {
			return
		}
		why = "and nobody has watched the registry since"
	}
	p.stand(now, lease.BrakeUnwatched, fmt.Sprintf("the last checkpoint is of %s, %s; it may have been set back since", f.checkpoint.Time.Format(time.RFC3339), why))
	p.keep(before)
}

// sequence is the number of the last checkpoint that could be read, or was written.
func (p *past) sequence() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memory.Sequence
}

// wrote takes in a checkpoint that this replica has written.
func (p *past) wrote(w lease.Checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.memory
	p.memory = remembered{Sequence: w.Sequence, Nonce: w.Nonce, Time: w.Time, NextSweep: w.NextSweep, Standing: joined(w.Standing, p.memory.Standing)}
	p.keep(before)
}

// setBack trips the brake for what a leader has noticed in the records themselves.
func (p *past) setBack(now time.Time, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.memory
	p.stand(now, lease.BrakeRollback, why+": the registry was set back to an older state")
	p.keep(before)
}

// standing are the brakes that are held until a person lifts them.
func (p *past) standing() []lease.Brake {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.memory.Standing)
}

// stand trips a standing brake, unless it is held already.
func (p *past) stand(now time.Time, name, reason string) {
	b := lease.Brake{Name: name, Since: now.UTC().Truncate(time.Millisecond), Reason: reason}
	p.memory.Standing = joined(p.memory.Standing, []lease.Brake{b})
}

// joined are the brakes of both lists; where both have one of the same name and scope, that of the first.
func joined(first, second []lease.Brake) []lease.Brake {
	all := slices.Clone(first)
	for _, b := range second {
		if !slices.ContainsFunc(first, func(o lease.Brake) bool { return o.Name == b.Name && o.Scope == b.Scope }) {
			all = append(all, b)
		}
	}
	return all
}

// file is in the directory, whatever somebody called the registry.
func (p *past) file(uuid string) string {
	return filepath.Join(p.dir, "registry-"+url.PathEscape(uuid)+".json")
}

// load reads what is remembered of a registry beforehand, so that whoever takes it in need not wait for a disk. It fails if
// the disk does not answer: that is not to be taken for a memory that is not there, and written over.
func (p *past) load(uuid string) error {
	p.mu.Lock()
	known := p.dir == "" || p.uuid == uuid || p.loaded.uuid == uuid
	p.mu.Unlock()
	if known {
		return nil
	}
	data, err := readFile(p.file(uuid))
	if _, slow := errors.AsType[*slowError](err); slow {
		return fmt.Errorf("remember the registry: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded.uuid, p.loaded.data, p.loaded.err = uuid, data, err
	return nil
}

// flush returns once what is remembered is on disk, or fails within 5 s.
func (p *past) flush(ctx context.Context) error {
	if p.dir == "" {
		return nil
	}
	return p.disk.wait(ctx)
}

// recall reports whether anything is remembered of the registry, and reads it from the file if need be. What cannot be
// read is no memory.
func (p *past) recall(uuid string) bool {
	if p.uuid == uuid {
		return true
	}
	p.uuid, p.memory, p.stale = uuid, remembered{}, ""
	if p.dir == "" {
		return false
	}
	data, err := p.loaded.data, p.loaded.err
	if p.loaded.uuid != uuid {
		data, err = readFile(p.file(uuid))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err == nil {
		err = json.Unmarshal(data, &p.memory)
	}
	if err != nil {
		p.memory = remembered{}
		p.log.Error("the memory of the registry cannot be read; going on without", "file", p.file(p.uuid), "error", err)
	}
	return err == nil
}

// keep writes the file if anything changed. If it cannot, a later start remembers less.
func (p *past) keep(before remembered) {
	if p.dir == "" || p.memory.Sequence == before.Sequence && p.memory.Nonce == before.Nonce && slices.Equal(p.memory.Standing, before.Standing) {
		return
	}
	data, err := json.Marshal(p.memory)
	if err != nil {
		p.log.Error("the memory of the registry cannot be kept", "file", p.file(p.uuid), "error", err)
		return
	}
	p.disk.put(p.dir, p.file(p.uuid), data)
}

// Pace and bound of the looks at what others checkpoint. They are constants, however long the schedule pauses; a schedule of
// seconds asks for a look with each sweep.
const (
	followMax     = time.Minute
	followReadMax = 15 * time.Second
)

// follow keeps the memory up while another replica leads.
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
			err = j.past.load(reg.UUID)
		}
		if err == nil {
			j.past.see(j.Now(), lease.Snapshot{Registry: reg, Checkpoint: checkpoint}, false)
			j.Observe.Checkpoint(checkpoint)
		}
		if !pause(ctx, min(followMax, table.pause())) {
			return
		}
	}
}
