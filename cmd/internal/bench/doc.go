// Package bench measures what Lapse promises in figures: the commands as processes, beside an etcd server process
// and a simulated EC2. It prints each figure as wanted and as measured. A figure that is missed is no failure; one that
// could not be measured is.
//
// Its tests need the build tag bench. Run them with `make bench`; BENCH=short is a smaller form that takes a minute.
package bench
