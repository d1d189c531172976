package janitor

import (
	"github.com/robfig/cron/v3"

	"lapse/janitor/audit"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// replica is one process, leading or not: what it keeps from one leadership to the next.
type replica struct {
	Config
	schedule  cron.Schedule
	watermark *observe.Watermark
	live      liveness
	statuses  chan string   // for the service manager, not told yet
	audit     *audit.Writer // nil without an audit log
	left      left
}

// left is what was observed when a leadership was left last.
type left struct {
	joined *plan.Joined // nil: nothing yet
	newest int64        // revision of etcd
	nonce  string       // of the last checkpoint
}

// then is what is known after another leadership, which may have seen no more than that it was elected.
func (l left) then(joined *plan.Joined, newest int64, nonce string) left {
	if nonce == l.nonce {
		newest = max(newest, l.newest)
	}
	if joined.Revision == 0 {
		joined = l.joined
	}
	return left{joined, newest, nonce}
}

// since is what a leader that reads this checkpoint knows from before: the records, and the newest revision. Nothing, if somebody
// else has led since, who has minded what there was to mind.
func (l left) since(c lease.Checkpoint) (joined *plan.Joined, newest int64) {
	if c.Nonce == "" {
		return nil, 0
	}
	if l.joined != nil && l.joined.Checkpoint.Nonce == c.Nonce {
		joined = l.joined
	}
	if l.nonce == c.Nonce {
		newest = l.newest
	}
	return joined, newest
}

func newReplica(c Config) (*replica, error) {
	c, schedule, err := c.complete()
	if err != nil {
		return nil, err
	}
	watermark, err := observe.OpenWatermark(c.StateDir, c.Log)
	if err != nil {
		return nil, err
	}
	return &replica{Config: c, schedule: schedule, watermark: watermark, statuses: make(chan string, 1)}, nil
}

// status is what the service manager shows. Of several that it has not been told yet, the last counts.
func (r *replica) status(s string) {
	select {
	case <-r.statuses:
	default:
	}
	select {
	case r.statuses <- s:
	default:
	}
}

// emit tells an event to the observer, and has it written to the audit log. It waits for nothing.
func (r *replica) emit(e audit.Event) {
	e = e.Complete()
	r.Observe.Happened(e)
	r.audit.Post(e)
}

// record is tell for what must not happen unrecorded: it fails unless the audit log has it, within 5 s.
func (r *replica) record(e audit.Event) error {
	e = e.Complete()
	r.Observe.Happened(e)
	return r.audit.Record(e)
}

// unaudited says that an event was not written to the audit log.
func (r *replica) unaudited(e audit.Event, err error) {
	r.Log.Error("not written to the audit log", "kind", string(e.Kind), "instance_id", e.InstanceID, "launch", e.Launch, "error", err)
	r.Observe.Happened(audit.Event{Time: r.Now(), Kind: lease.ActionAuditFail, Actor: "janitor", Reason: err.Error(), Own: true}.Complete())
}

// auditedAgain says that events are written to the audit log again.
func (r *replica) auditedAgain() {
	r.Log.Info("the audit log is written again")
	r.Observe.Happened(audit.Event{Time: r.Now(), Kind: lease.ActionAuditResume, Actor: "janitor", Own: true}.Complete())
}

// event is something that this janitor says of itself, by the name under which it leads.
func (r *replica) event(kind lease.Action, name, reason string) audit.Event {
	return audit.Event{Time: r.Now(), Kind: kind, Actor: actorName(name), Reason: reason, Own: true}
}

// actorName is how the histories of records name a leader.
func actorName(name string) string { return "janitor:" + name }
