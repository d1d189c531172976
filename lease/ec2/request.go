package ec2

import "time"

// Request is what somebody asks to be launched. Its fields win over the same ones in Skeleton.
type Request struct {
	Token         string            // launch token; generated if empty
	Count         int               // instances; that of Skeleton, or 1, if 0
	Term          time.Duration     // until the leases end, from now; 0: no term
	NotAfter      time.Duration     // until the latest date to which they may be extended, from now; 0: no limit
	TTL           time.Duration     // silence allowed between renewals; 0: no renewal asked for
	Holder        string            // who asks
	Labels        map[string]string // of the leases
	Tags          map[string]string // of instances, volumes, network interfaces and spot requests
	ImageID       string            // AMI, or resolve:ssm:PARAMETER
	InstanceTypes []string          // to try in each subnet, in this order
	Subnets       []string          // to try, in this order
	Skeleton      []byte            // JSON in the form of `aws ec2 run-instances --generate-cli-skeleton`; may be empty

	Unattended bool          // launch although no janitor sweeps the place
	Patience   time.Duration // how long to replay while the outcome is not known; 5 min if 0
}
