// Package e2e runs the three commands as processes, against an etcd server process and an EC2 that this project did not
// write: moto. It judges by moto's own word.
//
// Its tests need the build tag e2e, Python and moto (pip install 'moto[ec2,server]'), the AWS CLI, and the history of the
// repository, from which they build the release that runs beside this one. Run them with `make e2e`.
package e2e
