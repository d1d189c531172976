// Package observe looks: at EC2, at the registry, and at how either changes. It writes to neither; what it needs of them
// cannot terminate anything, by type.
//
//   - cloud.go: [Cloud] and [Registry], what it needs of others.
//   - inventory.go: [Inventory.Observe], the one order in which a sweep and a preview look: EC2 first (what may be
//     destroyed), the registry second (what excuses it), then by id what the listing lacks; [Clock], how far EC2's clock and
//     ours are apart.
//   - empty.go: [Listings.KnownEmpty], locations that are listed less often.
//   - heartbeats.go: [Renewals], what this leader itself has seen, and for how long, by its own monotonic clock.
//   - watermark.go: [Watermark], what this replica has seen of the registry last, by which it tells that it was set back;
//     statefile.go: the file that outlives the process; older.go: by which records it shows.
package observe
