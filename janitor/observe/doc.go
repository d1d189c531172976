// Package observe reads EC2 and the registry, and follows how they change. It writes to neither: by type, what it needs from
// them cannot terminate anything.
//
//   - cloud.go: [Cloud] and [Registry], what it needs from others.
//   - inventory.go: [Inventory.Observe], the one order in which sweeps and previews observe: EC2 first (what may be
//     destroyed), the registry second (what excuses it), then a look-up by id of what the listing lacks; [Clock], how far our
//     clock was set since.
//   - empty.go: [Listings.KnownEmpty], locations that are listed less often.
//   - heartbeats.go: [Renewals], what this leader itself has seen, and for how long, by its own monotonic clock.
//   - watermark.go: [Watermark], what this replica saw of the registry last, so that it notices when the registry was set
//     back; statefile.go: the file that outlives the process; older.go: the records that show a set-back.
package observe
