// Package scenario shows on the real thing what the janitor does when everything around it goes wrong: the commands as
// processes, etcd as a process that is stopped, emptied and set back, EC2 simulated over HTTP. Where nothing is wrong with
// the instances, none of them dies, and `janitor status` names what is wrong; what is over or dead indeed still ends, in
// its stated time.
//
// Its tests need the build tag e2e. Run them with `make e2e`.
package scenario
