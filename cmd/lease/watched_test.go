package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

var (
	watchBegan = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	everything = watched{filter: filter{states: []lease.State{
		lease.StateAdopting, lease.StateActive, lease.StateRevoked, lease.StateEnded, lease.StateUnmanaged,
	}}, heartbeats: true, all: true}
)

// heldBy is an active lease with two transitions.
func heldBy(id, holder string) lease.Lease {
	l := lease.Adopt(watchBegan, lease.Instance{ID: id}, watchBegan.Add(time.Hour), time.Time{}, holder, nil, lease.By{})
	l, _ = l.Activate(watchBegan, lease.By{})
	return l
}

// unmarked is the lease after n unmarks, one a minute.
func unmarked(l lease.Lease, n int) lease.Lease {
	for i := range n {
		l, _ = l.Unmark(watchBegan.Add(time.Duration(i+1)*time.Minute), lease.By{})
	}
	return l
}

func at(revision int64, l lease.Lease) lease.Lease {
	l.Revision = revision
	return l
}

// told is what a watcher prints for changes, in short.
func told(w *watcher, changes ...lease.Change) []string {
	said := []string{}
	for _, c := range changes {
		for _, l := range w.see(c, watchBegan) {
			said = append(said, l.InstanceID+" "+string(l.Action))
		}
	}
	return said
}

func TestAWatchReportsMissedChangesAfterAnInterruption(t *testing.T) {
	t.Parallel()
	over, _ := heldBy("i-over", "").End(watchBegan, lease.CauseGone, lease.By{})
	before := lease.Snapshot{
		Revision: 10, Leases: []lease.Lease{at(1, heldBy("i-1", "ada")), at(2, heldBy("i-2", "bob")), at(3, over)},
		Heartbeats: map[string]lease.Heartbeat{"i-1": {InstanceID: "i-1", BootID: "a"}, "i-2": {InstanceID: "i-2", BootID: "b"}},
	}
	ended, _ := unmarked(heldBy("i-2", "bob"), 2).End(watchBegan.Add(time.Hour), lease.CauseGone, lease.By{})
	after := lease.Change{Snapshot: &lease.Snapshot{
		Revision: 30, Leases: []lease.Lease{at(21, unmarked(heldBy("i-1", "ada"), 30)), at(22, ended), at(3, over), at(23, heldBy("i-3", ""))},
		Heartbeats: map[string]lease.Heartbeat{"i-1": {InstanceID: "i-1", BootID: "a2"}},
	}}
	got := told(newWatcher(before, everything), after)
	want := slices.Concat([]string{"i-3 adopt", "i-3 activate", "i-2 unmark", "i-2 unmark"},
		slices.Repeat([]string{"i-1 unmark"}, 12), []string{"i-2 end", "i-2 heartbeat-lost", "i-1 renewing"})
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	w := newWatcher(before, everything)
	told(w, after)
	if again := told(w, after); len(again) > 0 {
		t.Errorf("printed twice: %q", again)
	}
}

func TestAWatchReportsHeartbeatsOnce(t *testing.T) {
	t.Parallel()
	heartbeat := func(id, boot string, changes int64) lease.Change {
		return lease.Change{Heartbeat: &lease.Heartbeat{InstanceID: id, BootID: boot, Changes: changes}}
	}
	s := lease.Snapshot{Leases: []lease.Lease{heldBy("i-1", "ada"), heldBy("i-2", "bob")}}
	ofAda := everything
	ofAda.holder, ofAda.all = "ada", false
	one := everything
	one.ids, one.all = []string{"i-9"}, false
	changes := []lease.Change{
		heartbeat("i-1", "a", 1), heartbeat("i-1", "a", 2), heartbeat("i-2", "b", 1), heartbeat("i-9", "c", 0), heartbeat("i-1", "a2", 2),
		{Lapsed: "i-1"},
		{Lapsed: "i-1"},
		{Lapsed: "i-9"},
	}
	for name, c := range map[string]struct {
		w    watched
		want []string
	}{
		"all":                          {everything, []string{"i-1 renewing", "i-2 renewing", "i-9 renewing", "i-1 renewing", "i-1 heartbeat-lost", "i-9 heartbeat-lost"}},
		"of a holder":                  {ofAda, []string{"i-1 renewing", "i-1 renewing", "i-1 heartbeat-lost"}},
		"of an instance without lease": {one, []string{"i-9 renewing", "i-9 heartbeat-lost"}},
		"none":                         {watched{filter: everything.filter, all: true}, []string{}},
	} {
		if got := told(newWatcher(s, c.w), changes...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAWatchSaysWhereAndWhatASidecarIs(t *testing.T) {
	t.Parallel()
	monitor := heldBy("i-1", "ada")
	monitor.Launch, monitor.Labels = "web", map[string]string{"role": "monitor"}
	w := newWatcher(lease.Snapshot{Leases: []lease.Lease{monitor}}, everything)
	renews := func(boot, address string) lease.Change {
		return lease.Change{Heartbeat: &lease.Heartbeat{InstanceID: "i-1", BootID: boot, Address: address, Held: true}}
	}
	extended := monitor
	extended, _ = extended.Unmark(watchBegan, lease.By{})
	for _, c := range []struct {
		name            string
		change          lease.Change
		action, address string
	}{
		{"it starts to renew", renews("a", "10.0.0.7"), "renewing", "10.0.0.7"},
		{"its lease changes", lease.Change{Lease: &extended}, "unmark", "10.0.0.7"},
		{"its address changes", renews("a", "10.0.0.8"), "renewing", "10.0.0.8"},
		{"its heartbeat is lost", lease.Change{Lapsed: "i-1"}, "heartbeat-lost", "10.0.0.8"},
	} {
		lines := w.see(c.change, watchBegan)
		if len(lines) != 1 || string(lines[0].Action) != c.action || lines[0].Address != c.address || lines[0].Labels["role"] != "monitor" || lines[0].Launch != "web" {
			t.Errorf("%s: %+v", c.name, lines)
		}
	}
}

// A watch that runs for months must not grow with all leases that ever existed.
func TestAWatchForgetsEndedLeases(t *testing.T) {
	t.Parallel()
	w := newWatcher(lease.Snapshot{}, everything)
	for i := range 1000 {
		l := heldBy(fmt.Sprintf("i-%d", i), "")
		w.see(lease.Change{Lease: &l}, watchBegan)
		w.see(lease.Change{Heartbeat: &lease.Heartbeat{InstanceID: l.InstanceID, BootID: "a"}}, watchBegan)
		w.see(lease.Change{Lapsed: l.InstanceID}, watchBegan)
		l, _ = l.End(watchBegan, lease.CauseGone, lease.By{})
		w.see(lease.Change{Lease: &l}, watchBegan)
	}
	if len(w.leases) > 0 || len(w.renewing) > 0 {
		t.Errorf("%d leases and %d heartbeats are kept", len(w.leases), len(w.renewing))
	}
}
