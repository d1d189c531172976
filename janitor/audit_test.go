package janitor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/audit"
)

// lines are the events in an audit log, without what differs from run to run.
func lines(t *testing.T, log []byte) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(string(log)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Time.IsZero() {
			t.Errorf("without a time: %s", line)
		}
		if e.Actor == "" {
			t.Errorf("without an actor: %s", line)
		}
		var said []string
		for _, word := range []string{
			string(e.Kind), e.InstanceID, e.Launch, e.Actor, string(e.Cause), e.Brake, e.Scope, e.Code, e.RequestID, e.Reason,
		} {
			if word != "" {
				said = append(said, word)
			}
		}
		all = append(all, strings.Join(said, " | "))
	}
	return all
}

// audited runs a janitor with an audit log in a bubble of its own clock, until the test's function returns.
func audited(t *testing.T, ids []string, observe Observer, test func(r *rig)) []string {
	t.Helper()
	var written bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ids...)
		j := r.janitorOf(slog.New(slog.DiscardHandler))
		j.Audit = audit.To(&written).Write
		if observe != nil {
			j.Observe = observe
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		synctest.Wait()
		test(r)
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return lines(t, written.Bytes())
}

// TestTheAuditLogHasEveryEvent has what others do between sweeps, what the janitor does, and what EC2 answers.
func TestTheAuditLogHasEveryEvent(t *testing.T) {
	t.Parallel()
	got := audited(t, []string{"i-1", "i-2", "i-3"}, nil, func(r *rig) {
		r.cloud.Refuse["i-2"] = "OperationNotPermitted"
		r.extend("i-1", 20*time.Second) // shortens: each is what another has done, and told
		after(time.Second)
		r.update("i-3", func(l lease.Lease) (lease.Lease, error) {
			return l.Unmark(r.now(), lease.By{Actor: "cli:ada@laptop", Reason: "still needed"})
		})
		r.update("i-2", func(l lease.Lease) (lease.Lease, error) {
			return l.Revoke(r.now(), lease.CauseRelease, lease.By{Actor: "cli:ada@laptop", Reason: "done with it"})
		})
		after(30 * time.Second)
		r.cloud.Turn("i-1", lease.InstanceTerminated)
		after(40 * time.Second)
		if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
			return g.To(r.now(), lease.ModePaused, lease.By{Actor: "cli:ada@laptop", Reason: "incident 4711"}), nil
		}); err != nil {
			r.t.Fatal(err)
		}
		after(time.Second)
	})
	want := []string{
		`lead | janitor:janitor`,
		`brake-engage | janitor:janitor | heartbeats | 3 of 3 heartbeats are lost or in doubt, more than 2`,
		`brake-engage | janitor:janitor | heartbeats | eu-west-1a | 3 of 3 heartbeats are lost or in doubt, more than 2`,
		`shorten | i-1 | web | test`,
		`unmark | i-3 | web | cli:ada@laptop | still needed`,
		`revoke | i-2 | web | cli:ada@laptop | release | done with it`,
		`brake-disengage | janitor:janitor | heartbeats | 3 of 3 heartbeats are lost or in doubt, more than 2`,
		`brake-disengage | janitor:janitor | heartbeats | eu-west-1a | 3 of 3 heartbeats are lost or in doubt, more than 2`,
		`authorise | i-2 | web | janitor:janitor | release | revoked (release), but EC2 says running`,
		`retry | i-2 | web | janitor:janitor | release | revoked (release), but EC2 says running`,
		`refuse | i-2 | web | janitor:janitor | release | OperationNotPermitted | req-1 | refused`,
		`stuck | i-2 | web | janitor:janitor | release | EC2 refuses: OperationNotPermitted`,
		`authorise | i-1 | web | janitor:janitor | expired | its lease expired at 2000-01-01T00:00:20Z`,
		`revoke | i-1 | web | janitor:janitor | expired | its lease expired at 2000-01-01T00:00:20Z`,
		`terminate | i-1 | web | janitor:janitor | expired | req-1 | its lease expired at 2000-01-01T00:00:20Z`,
		`end | i-1 | web | janitor:janitor | expired | EC2 says terminated`,
		`authorise | i-2 | web | janitor:janitor | release | revoked (release), but EC2 says running`,
		`retry | i-2 | web | janitor:janitor | release | revoked (release), but EC2 says running`,
		`refuse | i-2 | web | janitor:janitor | release | OperationNotPermitted | req-1 | refused`,
		`mark | i-3 | web | janitor:janitor | no-heartbeat | no heartbeat, and no other instance in its zone has renewed since`,
		`pause | cli:ada@laptop | incident 4711`,
		`leave | janitor:janitor | asked to stop`,
	}
	// Notes and ends are made side by side; all else has an order.
	slices.Sort(got[16:21])
	slices.Sort(want[16:21])
	if !slices.Equal(got, want) {
		t.Errorf("the story:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnEventThatCannotBeLoggedIsAnError(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	j := &Janitor{&replica{Config: Config{Observe: blind{}, Log: quiet(), Now: time.Now, Audit: func(audit.Event) error { return full }}}}
	defer j.open()()
	if err := j.record(audit.Event{Kind: lease.ActionRevoke}); !errors.Is(err, full) {
		t.Errorf("%v, want the log's: whoever is about to terminate something must know", err)
	}
}

// TestASnapshotReportsChangesThatNoWatchDid has a leader whose watch was broken: the next sweep tells what it missed, once. What
// was there when it became leader, or when the registry was set back, is not told.
func TestASnapshotReportsChangesThatNoWatchDid(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	var told []string
	j := r.janitorOf(quiet())
	j.Audit = func(e audit.Event) error {
		told = append(told, string(e.Kind))
		return nil
	}
	closeLog := j.open()
	term := newLeader(j.replica, r.leadership)
	look := func() lease.Snapshot {
		s, err := r.store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		term.takeIn(s, term.joining()(s), 0)
		return s
	}
	first := look()
	r.extend("i-1", 2*time.Hour)
	look()
	look()
	term.takeIn(first, term.joining()(first), 0)
	closeLog()
	if want := []string{"lead", "extend"}; !slices.Equal(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
}
