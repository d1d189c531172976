package ec2sim

import (
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// A bucket holds tokens, at most size of them, and gets refill back a second.
// EC2 adds them once a second; here they trickle, which comes to the same.
type bucket struct {
	size   int
	refill rate.Limit
}

// requestBucket returns the bucket that a call of an action takes one token
// from. Each action has its own. Describing calls that name neither a filter
// nor a page size take from a smaller one; naming ids does not help:
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html#throttling-limits-rate-based
func requestBucket(action string, selective bool) bucket {
	switch action {
	case "RunInstances":
		return bucket{5, 2}
	case "TerminateInstances", "DeleteNetworkInterface", "DeleteVolume":
		return bucket{100, 5}
	case "CreateTags", "DeleteTags":
		return bucket{100, 10}
	case "DescribeInstances", "DescribeNetworkInterfaces", "DescribeSpotInstanceRequests", "DescribeVolumes":
		if !selective {
			return bucket{50, 10}
		}
	}
	if strings.HasPrefix(action, "Describe") {
		return bucket{100, 20}
	}
	return bucket{50, 5} // mutating and resource-intensive actions
}

// instanceBucket returns the bucket that a call of an action takes one token
// from for each of its instances, if it has one:
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html#throttling-limits-cost-based
func instanceBucket(action string) (b bucket, limited bool) {
	switch action {
	case "RunInstances":
		return bucket{1000, 2}, true
	case "TerminateInstances":
		return bucket{1000, 20}, true
	}
	return bucket{}, false
}

// bucketKey tells a region's buckets apart.
type bucketKey struct {
	action    string
	selective bool // of calls that name a filter or a page size
	instances bool
}

// throttle takes a call's tokens, or refuses the call. A call that the bucket
// of requests lets pass has spent its token even if that of instances does not.
func (s *Sim) throttle(q *request) error {
	if !s.config.Throttle || q.protocol != ec2Query {
		return nil
	}
	now := s.config.Now() // and not q's: a bucket's time must not go back
	key := bucketKey{action: q.action, selective: q.form.Has("MaxResults") || len(q.structs("Filter")) > 0}
	taken := q.region.take(key, requestBucket(q.action, key.selective), now, 1)
	if b, limited := instanceBucket(q.action); taken && limited {
		taken = q.region.take(bucketKey{action: q.action, instances: true}, b, now, q.instances())
	}
	if !taken {
		return refusal("RequestLimitExceeded", "Request limit exceeded.")
	}
	return nil
}

// take takes n tokens, all or none. Buckets are full when they are first used.
func (r *region) take(key bucketKey, b bucket, now time.Time, n int) bool {
	l := r.buckets[key]
	if l == nil {
		l = rate.NewLimiter(b.refill, b.size)
		r.buckets[key] = l
	}
	return l.AllowN(now, n)
}

// instances returns how many instances a call is about. One that only asks
// whether it may is about none; a replay of a launch about as many as the
// launch, though it makes none: AWS does not say which of the two EC2 sees first.
func (q *request) instances() int {
	switch {
	case q.form.Get("DryRun") == "true":
		return 0
	case q.action == "RunInstances":
		return max(0, (&params{form: q.form}).int("MaxCount", 0))
	}
	return len(q.list("InstanceId"))
}
