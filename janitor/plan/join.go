package plan

import (
	"slices"
	"time"

	"lapse/lease"
)

// Row is one lease beside what EC2 shows of its instance, what its sidecar says, and what this leader saw of that. What a
// decision needs of them is worked out once, when one of them changes.
type Row struct {
	*lease.Lease
	Instance  *lease.Instance // where the lease says that it is; nil if EC2 does not show it there
	Heartbeat lease.Heartbeat // zero if there is none
	Renewal   Renewal         // set before each decision by whoever watches heartbeats

	location  int // its place in Joined.Listed; -1 if it is not swept
	state     lease.InstanceState
	ownership ownership
	expired   bool             // its date has passed, by the decision that is being made
	launch    *LaunchRow       // of which it is a lease; nil if no record speaks of it
	zone      string           // of its instance, as EC2 shows it
	written   Written          // onto its instance since the listing
	tag       lease.Expiry     // the date on its instance, as far as it is known
	keys      lease.Keys       // how record and tag agree
	kept      lease.KeptReason // what keeps its instance, whatever the dates say
	writes    bool             // its instance may lack a tag
	raised    bool             // its record was raised to its tag some time
}

// LaunchRow is one launch with the leases that are of it.
type LaunchRow struct {
	*lease.Launch
	leases int // records of them, except those of the unmanaged
}

// Joined is what EC2 and the registry said, side by side. It is made once a listing, and what a watch tells is taken in, so
// that a decision looks nothing up. Records in it are replaced and never changed, so that they may be handed on. It is not
// safe for concurrent use.
type Joined struct {
	Registry   lease.Registry
	Checkpoint lease.Checkpoint
	Rows       []Row
	Launches   []*LaunchRow
	Heartbeats map[string]lease.Heartbeat // by instance id
	Bad        []lease.BadRecord
	Planned    bool // a plan is published beside the checkpoint
	Revision   int64
	Term       uint64

	listed     []LocationView
	instances  map[SeenAt]*lease.Instance
	at         map[string]int        // rows by instance id
	launches   map[string]*LaunchRow // by token
	attempts   map[string]*LaunchRow // by client token
	location   map[lease.Location]int
	launchless map[string][]int  // rows by the token of a launch of which there was no record; some may have it by now
	strays     map[string]bool   // instance ids of heartbeats of which no lease can be read
	leaseless  []shown           // instances of which there was no lease that can be read when this was joined
	counted    []lease.Census    // of the other instances, by location
	zoneIDs    map[SeenAt]string // ids of zones, by location and name: not every record tells them
}

// shown is an instance where EC2 showed it.
type shown struct {
	location int // its place in Joined.Listed
	instance *lease.Instance
}

// SeenAt is an instance, or a zone, where EC2 showed it. Elsewhere than where its lease says, it is not the one that is
// meant.
type SeenAt struct {
	Location lease.Location
	ID       string
}

// Indexed finds instances by where EC2 showed them.
func Indexed(locations []LocationView) map[SeenAt]*lease.Instance {
	n := 0
	for at := range locations {
		n += len(locations[at].Instances)
	}
	instances := make(map[SeenAt]*lease.Instance, n)
	for at := range locations {
		p := &locations[at]
		for i := range p.Instances {
			instances[SeenAt{p.Location, p.Instances[i].ID}] = &p.Instances[i]
		}
	}
	return instances
}

// Join puts what was observed side by side. instances are those of the locations, as [Indexed] finds them; written is what
// was written onto them since they were listed. The result takes over what it is given.
func Join(s lease.Snapshot, locations []LocationView, instances map[SeenAt]*lease.Instance, written map[string]Written) *Joined {
	j := &Joined{
		Registry: s.Registry, Checkpoint: s.Checkpoint, Heartbeats: s.Heartbeats, Bad: s.Bad, Planned: s.Planned, Revision: s.Revision, Term: s.Term,
		Rows: make([]Row, len(s.Leases)), Launches: make([]*LaunchRow, 0, len(s.Launches)),
		at: make(map[string]int, len(s.Leases)), launches: make(map[string]*LaunchRow, len(s.Launches)),
		attempts: make(map[string]*LaunchRow, len(s.Launches)), launchless: map[string][]int{}, strays: map[string]bool{},
	}
	if j.Heartbeats == nil {
		j.Heartbeats = map[string]lease.Heartbeat{}
	}
	for n := range s.Launches {
		j.putLaunch(&s.Launches[n])
	}
	for n := range s.Leases {
		l := &s.Leases[n]
		r := &j.Rows[n]
		j.at[l.InstanceID] = n
		r.Lease = l
		j.record(n)
	}
	for id := range j.Heartbeats {
		if j.Row(id) == nil {
			j.strays[id] = true
		}
	}
	j.List(locations, instances, written)
	return j
}

// List takes in a newer listing.
func (j *Joined) List(locations []LocationView, instances map[SeenAt]*lease.Instance, written map[string]Written) {
	j.listed, j.instances = locations, instances
	j.location, j.zoneIDs, j.leaseless = make(map[lease.Location]int, len(locations)), map[SeenAt]string{}, nil
	j.counted = make([]lease.Census, len(locations))
	for n := range locations {
		j.location[locations[n].Location] = n
	}
	for n := range j.Rows {
		r := &j.Rows[n]
		r.written = written[r.InstanceID]
		j.locate(r)
	}
	for n := range j.listed {
		p := &j.listed[n]
		for at := range p.Instances {
			i := &p.Instances[at]
			if zone := (SeenAt{p.Location, i.Zone}); i.ZoneID != "" && j.zoneIDs[zone] == "" {
				j.zoneIDs[zone] = i.ZoneID
			}
			if j.Row(i.ID) == nil {
				j.leaseless = append(j.leaseless, shown{n, i})
				continue
			}
			countLeased(&j.counted[n], i, j.Registry.UUID)
		}
	}
}

// record works out what the records say of the lease of a row.
func (j *Joined) record(n int) {
	r := &j.Rows[n]
	r.Heartbeat, r.launch, r.raised = j.Heartbeats[r.InstanceID], j.launches[r.Launch], wasRaised(r.Lease)
	r.belongs(1)
	if r.launch == nil {
		j.launchless[r.Launch] = append(j.launchless[r.Launch], n)
	}
}

// locate finds where a lease is, and its instance.
func (j *Joined) locate(r *Row) {
	r.location = -1
	if at, swept := j.location[r.Location()]; swept {
		r.location = at
	}
	r.Instance = j.instances[SeenAt{r.Location(), r.InstanceID}]
	r.compare(j.Registry.UUID)
}

func wasRaised(l *lease.Lease) bool {
	return slices.ContainsFunc(l.History, func(t lease.Transition) bool { return t.Action == lease.ActionRaise })
}

// ZoneKey is the zone in which EC2 shows the instance, or which its record says.
func (r *Row) ZoneKey() string {
	if r.Instance == nil {
		return ZoneOf(r.Lease, nil)
	}
	return r.zone
}

// belongs counts a lease among those of its launch.
func (r *Row) belongs(by int) {
	if r.launch != nil && r.State != lease.StateUnmanaged {
		r.launch.leases += by
	}
}

// compare works out how a lease and its instance agree.
func (r *Row) compare(uuid string) {
	i := r.Instance
	r.zone, r.state, r.ownership, r.tag, r.keys, r.kept, r.writes = "", "", 0, lease.Expiry{}, lease.Keys{}, "", false
	if i == nil {
		return
	}
	r.zone, r.state, r.ownership = ZoneOf(r.Lease, i), i.State, ownershipOf(i, uuid)
	if r.tag = r.written.Expires; r.tag.Number == 0 {
		r.tag = i.Expiry()
	}
	r.keys = lease.Compare(*r.Lease, r.tag)
	r.kept = r.Untouchable(uuid, i)
	leased := r.LeasedTag()
	r.writes = r.State == lease.StateAdopting || r.State == lease.StateActive &&
		(r.keys.State == lease.TagBehind || i.Tags[lease.TagLeased] != leased && r.written.Leased != leased)
}

// ownership says to whom an instance that is alive belongs, by its tags.
type ownership uint8

const (
	nobodys ownership = iota // it is not alive, or there is none
	exempt
	foreign
	ours
)

func ownershipOf(i *lease.Instance, uuid string) ownership {
	switch {
	case !i.Alive():
		return nobodys
	case i.Exempt():
		return exempt
	case !i.ManagedBy(uuid):
		return foreign
	}
	return ours
}

// Row is the row of an instance, or nil. It is valid until the next lease is put.
func (j *Joined) Row(id string) *Row {
	if n, there := j.at[id]; there {
		return &j.Rows[n]
	}
	return nil
}

// Launch is a launch as last observed, or nil.
func (j *Joined) Launch(token string) *lease.Launch {
	if l := j.launches[token]; l != nil {
		return l.Launch
	}
	return nil
}

// PutLease takes in a lease that was written.
func (j *Joined) PutLease(l lease.Lease) {
	n, there := j.at[l.InstanceID]
	if !there {
		n = len(j.Rows)
		j.at[l.InstanceID], j.Rows = n, append(j.Rows, Row{})
		delete(j.strays, l.InstanceID)
	}
	r := &j.Rows[n]
	r.belongs(-1)
	r.Lease = &l
	j.record(n)
	j.locate(r)
}

// PutLaunch takes in a launch that was written.
func (j *Joined) PutLaunch(l lease.Launch) {
	_, known := j.launches[l.Token]
	row := j.putLaunch(&l)
	if known {
		return
	}
	for _, n := range j.launchless[l.Token] { // of which leases may have been told before
		if r := &j.Rows[n]; r.launch == nil && r.Launch == l.Token {
			r.launch = row
			r.belongs(1)
		}
	}
	delete(j.launchless, l.Token)
}

// PutRegistry takes in the registry's own record.
func (j *Joined) PutRegistry(reg lease.Registry) {
	another := reg.UUID != j.Registry.UUID
	j.Registry = reg
	if !another {
		return
	}
	written := make(map[string]Written, len(j.Rows))
	for n := range j.Rows {
		written[j.Rows[n].InstanceID] = j.Rows[n].written
	}
	j.List(j.listed, j.instances, written)
}

func (j *Joined) putLaunch(l *lease.Launch) *LaunchRow {
	row := j.launches[l.Token]
	if row == nil {
		row = &LaunchRow{}
		j.launches[l.Token], j.Launches = row, append(j.Launches, row)
	}
	row.Launch = l
	for n := range l.Attempts {
		j.attempts[l.Attempts[n].ClientToken] = row
	}
	return row
}

// PutHeartbeat takes in a heartbeat that was written; what could not be read of it before no longer counts.
func (j *Joined) PutHeartbeat(hb lease.Heartbeat) {
	j.readable(BadHeartbeat, hb.InstanceID)
	j.Heartbeats[hb.InstanceID] = hb
	if r := j.Row(hb.InstanceID); r != nil {
		r.Heartbeat = hb
		return
	}
	j.strays[hb.InstanceID] = true
}

// DropHeartbeat takes in that a heartbeat is gone.
func (j *Joined) DropHeartbeat(id string) {
	j.readable(BadHeartbeat, id)
	j.forget(id)
}

// PutBad takes in a record that cannot be read: it spoils its own lease, and what it said before no longer counts.
func (j *Joined) PutBad(bad lease.BadRecord) {
	j.forget(bad.ID)
	j.readable(bad.Kind, bad.ID)
	j.Bad = append(j.Bad, bad)
}

func (j *Joined) forget(id string) {
	delete(j.Heartbeats, id)
	delete(j.strays, id)
	if r := j.Row(id); r != nil {
		r.Heartbeat = lease.Heartbeat{}
	}
}

// Circumstances are those that the registry tells. See [lease.Snapshot.Circumstances].
func (j *Joined) Circumstances(now time.Time) lease.Circumstances {
	return lease.Snapshot{Registry: j.Registry, Checkpoint: j.Checkpoint, Heartbeats: j.Heartbeats}.Circumstances(now)
}

// readable leaves out what was wrong with a record.
func (j *Joined) readable(kind, id string) {
	j.Bad = slices.DeleteFunc(j.Bad, func(b lease.BadRecord) bool { return b.Kind == kind && b.ID == id })
}

// Wrote takes in what was written onto an instance since it was listed.
func (j *Joined) Wrote(id string, written Written) {
	if r := j.Row(id); r != nil && r.written != written {
		r.written = written
		r.compare(j.Registry.UUID)
	}
}
