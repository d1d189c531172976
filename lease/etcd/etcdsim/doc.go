// Package etcdsim is etcd in memory, with faults to inject: for simulations
// that run the real store, launcher, sidecar and janitor through very many
// schedules. It speaks clientv3's interfaces, so that lease/etcd and etcd's own
// concurrency package run on it unchanged.
//
//   - [Cluster], made by [New], is one etcd: all its members, as clients see
//     them. [Options.Observe] is told each change of what it keeps.
//   - [Client], made by [Cluster.Client], is one program's connection. Its
//     [Link] decides what happens to each call on its way ([Op], [Fate]).
//   - [Cluster.Stall], [Cluster.Freeze], [Cluster.Elect], [Cluster.SetTerm],
//     [Cluster.Alarm], [Cluster.ExpireAll], [Cluster.Restore], [Cluster.Wipe]
//     and [Cluster.Compact] are its faults.
//   - [Cluster.Dump], [Cluster.Revision] and [Cluster.Image] look at it;
//     [Cluster.Write] and [Cluster.Erase] are a foreign hand.
//
// A call travels: client.go or lease.go (what clientv3 would send) → link.go
// (whether and when it arrives) → cluster.go (one at a time, unless stalled) →
// read.go, txn.go, grant.go (the deed) → store.go (keys, their history, who is
// told) → link.go (the way back). watch.go tells events.
//
// Time is package time's own, so that testing/synctest drives it. There is no
// goroutine besides one for each open watch, and nothing is random: the same
// calls in the same order give the same answers. What falls on the same instant
// is done in the order in which Go's scheduler brings it, so give delays that
// differ where that matters.
//
// What is answered is shared between clients: read it, and do not write to it.
//
// It answers as etcd 3.7 does, which a test compares. It knows no users, no
// members and no progress notifications; a nested transaction is refused, and so
// are the options of requests that nobody here uses.
package etcdsim
