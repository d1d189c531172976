package observe

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
)

// Watermark is what this replica has seen of the registry last, leading or not: by it, it tells that the registry was set back.
// A file keeps it beyond the process. It is safe for concurrent use.
type Watermark struct {
	dir string // of the file; empty: nothing outlives the process
	log *slog.Logger

	disk stateFile

	mu     sync.Mutex
	uuid   string // of the registry that is known; empty: none yet
	known  known
	loaded struct {
		uuid string
		data []byte
		err  error
	} // what was read beforehand
}

// OpenWatermark prepares the directory, so that it is known from the start whether anything can be kept there.
func OpenWatermark(dir string, log *slog.Logger) (*Watermark, error) {
	if dir != "" {
		if err := owndir.Make(dir, 0o750); err != nil {
			return nil, fmt.Errorf("prepare the state directory: %w", err)
		}
	}
	return &Watermark{dir: dir, log: log}, nil
}

// See takes in the registry and its checkpoint as read. leading says whether this replica leads.
func (w *Watermark) See(now time.Time, s lease.Snapshot, leading bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recall(s.Registry.UUID)
	before, keep := w.known, false
	if w.known, keep = w.known.see(sightingOf(now, time.Now(), s, leading)); keep {
		w.keep(before.watermark)
	}
}

// Enter notes that this replica has become leader.
func (w *Watermark) Enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = w.known.enter()
}

// Settle judges what a new leader has found, by EC2's clock; told says whether that is what now is.
func (w *Watermark) Settle(now time.Time, told bool) {
	w.change(func(k known) known { return k.settle(now, time.Now(), told) })
}

// Wrote takes in a checkpoint that this replica has written.
func (w *Watermark) Wrote(s lease.Checkpoint) {
	w.change(func(k known) known { return k.wrote(s) })
}

// SetBack engages the brake for what a leader has noticed in the records themselves.
func (w *Watermark) SetBack(now time.Time, why string) {
	w.change(func(k known) known {
		return k.engage(now, lease.BrakeRollback, why+": the registry was set back to an older state")
	})
}

// change keeps what comes of it.
func (w *Watermark) change(to func(known) known) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.known.watermark
	w.known = to(w.known)
	w.keep(before)
}

// Sequence is the number of the last checkpoint that could be read, or was written.
func (w *Watermark) Sequence() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known.Sequence
}

// Nonce is that of the same checkpoint.
func (w *Watermark) Nonce() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known.Nonce
}

// Standing are the brakes that stay engaged until a person releases them.
func (w *Watermark) Standing() []lease.Brake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.known.Standing)
}

// file is in the directory, whatever somebody called the registry.
func (w *Watermark) file(uuid string) string {
	return filepath.Join(w.dir, "registry-"+url.PathEscape(uuid)+".json")
}

// Load reads what is remembered of a registry beforehand, so that whoever takes it in need not wait for a disk. It fails if
// the disk does not answer: the file must not be mistaken for a missing one and overwritten.
func (w *Watermark) Load(uuid string) error {
	w.mu.Lock()
	known := w.dir == "" || w.uuid == uuid || w.loaded.uuid == uuid
	w.mu.Unlock()
	if known {
		return nil
	}
	data, err := readFile(w.file(uuid))
	if _, slow := errors.AsType[*slowError](err); slow {
		return fmt.Errorf("remember the registry: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded.uuid, w.loaded.data, w.loaded.err = uuid, data, err
	return nil
}

// Flush returns once what is remembered is on disk, or fails within 5 s.
func (w *Watermark) Flush(ctx context.Context) error {
	if w.dir == "" {
		return nil
	}
	return w.disk.wait(ctx)
}

// recall begins with what is remembered of a registry, from the file if need be. What cannot be read is no memory.
func (w *Watermark) recall(uuid string) {
	if w.uuid == uuid {
		return
	}
	w.uuid = uuid
	w.known = known{enters: w.known.enters, found: w.known.found}
	if w.dir == "" {
		return
	}
	data, err := w.loaded.data, w.loaded.err
	if w.loaded.uuid != uuid {
		data, err = readFile(w.file(uuid))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(data, &w.known.watermark)
	}
	if err != nil {
		w.known.watermark = watermark{}
		w.log.Error("cannot read what was remembered of the registry; continuing without it", "file", w.file(w.uuid), "error", err)
		return
	}
	w.known.any = true
}

// keep writes the file if anything changed. If it cannot, a later start remembers less.
func (w *Watermark) keep(before watermark) {
	if w.dir == "" || w.known.same(before) {
		return
	}
	data, err := json.Marshal(w.known.watermark)
	if err != nil {
		w.log.Error("cannot remember the registry", "file", w.file(w.uuid), "error", err)
		return
	}
	w.disk.put(w.dir, w.file(w.uuid), data)
}
