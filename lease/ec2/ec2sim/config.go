package ec2sim

import (
	"cmp"
	"log/slog"
	"time"
)

// Config says what a [Sim] simulates. Its zero value is a working account with
// two regions whose instances change state at once.
type Config struct {
	// Account is the account id, 12 digits; 123456789012 if empty.
	Account string
	// Region is used where a request's signature names none, and where a
	// caller of Create names none; us-east-1 if empty.
	Region string
	// Regions holds the zones of every region. If nil: us-east-1 and
	// eu-west-1 with three zones each. Every zone has one default subnet.
	Regions map[string][]Zone
	// Now is EC2's clock, also that of the Date header; time.Now if nil. All
	// that takes time here goes by it, but Latency. [Fast] makes one.
	Now func() time.Time
	// Throttle puts EC2's token buckets before the actions, by region. They
	// are full when first used. A call that finds too few tokens does nothing
	// and is refused with RequestLimitExceeded:
	// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
	Throttle bool

	// PendingFor is how long an instance is pending. With 0 it is running
	// when it is next read.
	PendingFor time.Duration
	// ShuttingDownFor is how long an instance is shutting-down.
	// With 0 it has ended when it is next read.
	ShuttingDownFor time.Duration
	// TerminatedVisibleFor is how long a terminated instance can still be
	// described; one hour if 0, which is about what EC2 does:
	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
	TerminatedVisibleFor time.Duration

	// StaleFor is how old the world is that DescribeInstances shows: for so
	// long after a launch, an end or a change of tags it shows what was before.
	// https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
	StaleFor time.Duration
	// UnknownFor is for how long after its launch calls that name an instance, to describe, tag or terminate it, are
	// refused with InvalidInstanceID.NotFound.
	UnknownFor time.Duration
	// PageSizes are how many rows the pages of listings hold at most, one after
	// the other and again from the first, where the caller's MaxResults allows
	// more. With 0 a page is empty and has a token, unless it is the last.
	PageSizes []int

	// Latency is how long every answer takes at least; 2 ms if 0, none if
	// negative. The SDK for Go has a race that faster servers win: smithy-go
	// 1.28 closes a request's body when the answer begins, and where net/http
	// is still making sure that it is at its end, that closes the connection
	// with the rest of an answer of more than 4 KiB unread.
	Latency time.Duration

	// Parameters are the SSM parameters, by name. Images may be given as
	// resolve:ssm:NAME.
	Parameters map[string]string
	// KeyPairs are the names of the key pairs that each region has to begin with; a launch that names another is refused.
	KeyPairs []string
	// Quirks are what it does otherwise than EC2.
	Quirks Quirks
	// Logger gets one debug record a call; nothing is logged if nil.
	Logger *slog.Logger
}

// Quirks are what products do otherwise than EC2 that have its API. That a listing shows late what was created is no quirk:
// see [Config.StaleFor].
type Quirks struct {
	IgnoresClientToken bool // a launch that is replayed creates again
	HidesClientToken   bool // and what was launched shows none
	DropsTags          bool // of calls that create; CreateTags still works
	IgnoresFilters     bool // of calls that describe, which answer as if none was given
	// DeletesKeyPairsByName is to answer whoever deletes one by its id as if it were done.
	DeletesKeyPairsByName bool
}

// Zone is an availability zone: its name in this account, such as us-east-1a,
// and its id, the same in all accounts, such as use1-az1.
type Zone struct {
	Name string
	ID   string
}

func (c Config) withDefaults() Config {
	c.Account = cmp.Or(c.Account, "123456789012")
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.TerminatedVisibleFor = cmp.Or(c.TerminatedVisibleFor, time.Hour)
	c.Latency = cmp.Or(c.Latency, 2*time.Millisecond)
	if c.Regions == nil {
		c.Regions = map[string][]Zone{
			"us-east-1": {{"us-east-1a", "use1-az1"}, {"us-east-1b", "use1-az2"}, {"us-east-1c", "use1-az3"}},
			"eu-west-1": {{"eu-west-1a", "euw1-az1"}, {"eu-west-1b", "euw1-az2"}, {"eu-west-1c", "euw1-az3"}},
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
