package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// Request is what somebody asks to be launched. Its fields win over the same ones in Skeleton.
type Request struct {
	Token            string            // launch token; generated if empty
	Count            int               // instances; that of Skeleton, or 1, if 0
	Term             time.Duration     // until the leases end, from now; 0: no term
	Until            time.Time         // when the leases end; instead of Term
	MaxTerm          time.Duration     // until the latest date to which they may be extended, from now; 0: no limit
	HeartbeatTimeout time.Duration     // longest time allowed between renewals; 0: no renewal asked for
	Holder           string            // who asks
	Labels           map[string]string // of the leases
	Tags             map[string]string // of instances, volumes, network interfaces and spot requests
	ImageID          string            // AMI, or resolve:ssm:PARAMETER
	InstanceTypes    []string          // to try in each subnet, in this order
	Subnets          []string          // to try, in this order
	KeyName          string
	SecurityGroups   []string // ids
	InstanceProfile  string   // name or ARN
	UserData         []byte   // as the instance shall see it, or base64 of that; none if nil
	Skeleton         []byte   // JSON in the form of `aws ec2 run-instances --generate-cli-skeleton`; may be empty

	Anima       lease.Anima     // how what was created is found again: [lease.AnimaKeyPair], [ClientTokens], or as the registry says if empty
	Consistency time.Duration   // with [lease.AnimaKeyPair]: how late the endpoint may show what a call created; 5 min if 0
	SelfExtend  *lease.Duration // how far from now an instance may extend itself; nil: up to the maximum
	NoJoin      bool            // give the instances no join token, although the registry names an API

	Unattended bool          // launch although no janitor sweeps the location
	Patience   time.Duration // how long to replay while the outcome is not known; 5 min if 0
}

// ClientTokens asks for [lease.AnimaClientToken], whatever the registry says.
const ClientTokens lease.Anima = "client-token"

// maxTagValue is how long a tag's value may be, and with it a holder.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
const maxTagValue = 256

// maxConsistency is the longest time that a search takes: the window of a launch must be longer.
const maxConsistency = 10 * time.Minute

// check refuses what no launch can be asked to do, before the skeleton is read.
//
// Errors: [lease.LimitError].
func (r Request) check() error {
	if r.Token != "" {
		if err := lease.CheckToken(r.Token); err != nil {
			return err
		}
	}
	switch {
	case r.Term < 0:
		return &lease.LimitError{What: "term " + r.Term.String(), Why: "must be positive"}
	case r.Anima != "" && r.Anima != ClientTokens && r.Anima != lease.AnimaKeyPair:
		return &lease.LimitError{What: "anima " + string(r.Anima), Why: "must be client-token or key-pair"}
	case r.Consistency < 0 || r.Consistency > maxConsistency:
		return &lease.LimitError{What: "consistency " + r.Consistency.String(), Why: "must be between 0 and " + maxConsistency.String()}
	case r.MaxTerm < 0:
		return &lease.LimitError{What: "not-after " + r.MaxTerm.String(), Why: "must be positive"}
	case !r.Until.IsZero() && r.Term != 0:
		return &lease.LimitError{What: "term " + r.Term.String(), Why: "cannot be combined with until " + date(r.Until)}
	case r.MaxTerm > 0 && r.Term == 0 && r.Until.IsZero():
		return &lease.LimitError{What: "term none", Why: "must not be later than not-after " + r.MaxTerm.String() + "; set both to none"}
	case r.MaxTerm > 0 && r.Term > r.MaxTerm:
		return &lease.LimitError{What: "term " + r.Term.String(), Why: "must not be later than not-after " + r.MaxTerm.String()}
	case len(r.Holder) > maxTagValue:
		return &lease.LimitError{What: "holder", Why: fmt.Sprintf("must have at most %d bytes", maxTagValue)}
	}
	return lease.CheckHeartbeatTimeout(r.HeartbeatTimeout)
}

// order is a request as it was asked for: checked, with the skeleton read, the fields beside it put in, and a token.
type order struct {
	Request
	in        *awsec2.RunInstancesInput
	digest    string               // of all that is asked for
	tagged    []types.ResourceType // kinds for which the skeleton itself has tags
	encoded   bool                 // the user-data was base64 already
	rehearsal bool                 // the skeleton says DryRun, as a new one does: no answer to anything
}

// order reads the request. Nothing is resolved yet, so that the same words always give the same digest.
//
// Errors: [RequestError], [lease.LimitError].
func (r Request) order() (order, error) {
	if err := r.check(); err != nil {
		return order{}, err
	}
	in, err := readSkeleton(r.Skeleton)
	if err != nil {
		return order{}, err
	}
	if r.Count == 0 {
		r.Count = int(max(aws.ToInt32(in.MaxCount), aws.ToInt32(in.MinCount), 1))
	}
	if err := lease.CheckCount(r.Count); err != nil {
		return order{}, err
	}
	rehearsal := aws.ToBool(in.DryRun)
	in.MinCount, in.MaxCount, in.DryRun = nil, nil, nil
	o := order{Request: r, in: in, rehearsal: rehearsal}
	if err := o.override(); err != nil {
		return order{}, err
	}
	if err := allowed(in); err != nil {
		return order{}, err
	}
	if err := o.tag(); err != nil {
		return order{}, err
	}
	if o.digest, err = o.sum(); err != nil {
		return order{}, err
	}
	if o.Token == "" {
		o.Token, err = newToken()
	}
	return o, err
}

// override puts the fields beside the skeleton into the request.
func (o *order) override() error {
	in := o.in
	if o.ImageID != "" {
		in.ImageId = aws.String(o.ImageID)
	}
	if len(o.InstanceTypes) > 0 {
		in.InstanceType = types.InstanceType(o.InstanceTypes[0])
	}
	if o.KeyName != "" {
		in.KeyName = aws.String(o.KeyName)
	}
	if o.InstanceProfile != "" {
		profile, err := instanceProfile(o.InstanceProfile)
		if err != nil {
			return err
		}
		in.IamInstanceProfile = profile
	}
	if o.UserData != nil {
		in.UserData = aws.String(string(o.UserData))
	}
	if in.UserData != nil {
		var plain string
		plain, o.encoded = plainUserData(*in.UserData)
		if err := checkUserData(plain); err != nil {
			return err
		}
		in.UserData = &plain
	}
	return overrideNetwork(in, o.SecurityGroups)
}

// instanceProfile names an instance profile by its ARN or by its name.
func instanceProfile(given string) (*types.IamInstanceProfileSpecification, error) {
	switch {
	case !strings.HasPrefix(given, "arn:"):
		return &types.IamInstanceProfileSpecification{Name: &given}, nil
	case !strings.Contains(given, ":instance-profile/"):
		return nil, &RequestError{Field: "IamInstanceProfile", Why: "must be the name or ARN of an instance profile, not " + given +
			"; `aws iam list-instance-profiles` shows them"}
	}
	return &types.IamInstanceProfileSpecification{Arn: &given}, nil
}

// Why an instance that is launched so could never be terminated by its lease.
const (
	protected = "EC2 would refuse to terminate the instance when its lease expires"
	operated  = "EC2 lets only the service that operates an instance terminate it"
)

// allowed refuses what would break a promise, or what a launch sets itself.
func allowed(in *awsec2.RunInstancesInput) error {
	template := in.LaunchTemplate != nil
	switch {
	case aws.ToString(in.ClientToken) != "":
		return &RequestError{Field: "ClientToken", Why: "must be left out", Option: "Token"}
	case aws.ToBool(in.DisableApiTermination):
		return &RequestError{Field: "DisableApiTermination", Why: "must not be true: " + protected}
	case aws.ToBool(in.DisableApiStop):
		return &RequestError{Field: "DisableApiStop", Why: "must not be true: stop protection keeps an instance from being terminated, too; " + protected}
	case in.Operator != nil && aws.ToString(in.Operator.Principal) != "":
		return &RequestError{Field: "Operator.Principal", Why: "must be left out: " + operated}
	case persistent(in.InstanceMarketOptions):
		return &RequestError{Field: "InstanceMarketOptions.SpotOptions.SpotInstanceType", Why: "must be one-time: " +
			"a persistent spot request starts a new instance when Lapse terminates one"}
	case aws.ToString(in.ImageId) == "" && !template:
		return &RequestError{Why: "names no image", Option: "ImageID"}
	case in.InstanceType == "" && !template:
		return &RequestError{Why: "names no instance type", Option: "InstanceTypes"}
	}
	return nil
}

// ownKey is why a launch whose anima is a key pair takes no other.
const ownKey = "must be left out where a key pair is what the instances are found by, because an instance has one key pair; " +
	"give your public key to cloud-init instead, as ssh_authorized_keys in the user-data"

func persistent(market *types.InstanceMarketOptionsRequest) bool {
	return market != nil && market.SpotOptions != nil && market.SpotOptions.SpotInstanceType == types.SpotInstanceTypePersistent
}

func isSpot(market *types.InstanceMarketOptionsRequest) bool {
	return market != nil && market.MarketType == types.MarketTypeSpot
}

// tag merges the tags beside the skeleton into its own, for everything that a launch may create: what it does create is
// known when the launch template has been read.
func (o *order) tag() error {
	sets := tagSets(o.in.TagSpecifications)
	maps.DeleteFunc(sets, func(_ types.ResourceType, tags map[string]string) bool { return len(tags) == 0 }) // placeholders
	o.tagged = slices.Sorted(maps.Keys(sets))
	for _, kind := range taggable() {
		if kind == types.ResourceTypeSpotInstancesRequest && len(o.Tags) == 0 && !isSpot(o.in.InstanceMarketOptions) {
			continue // the digest is that of versions which named it only then
		}
		sets.add(kind, o.Tags)
	}
	for _, kind := range slices.Sorted(maps.Keys(sets)) {
		for _, key := range slices.Sorted(maps.Keys(sets[kind])) {
			if strings.HasPrefix(key, lease.TagPrefix) && key != lease.TagExempt {
				return &RequestError{Field: "tag " + key, Why: "is set by Lapse; of its tags, only " + lease.TagExempt + " can be given"}
			}
		}
	}
	o.in.TagSpecifications = sets.specifications()
	return nil
}

// sum is the digest of all that is asked for: two requests are the same if it is.
func (o order) sum() (string, error) {
	request, err := writeSkeleton(o.in)
	if err != nil {
		return "", err
	}
	asked, err := json.Marshal(struct {
		Count                           int
		Term, MaxTerm, HeartbeatTimeout lease.Duration
		Until                           time.Time `json:",omitzero"`
		Holder                          string
		Labels                          map[string]string `json:",omitempty"`
		Subnets, InstanceTypes          []string          `json:",omitempty"`
		Request                         json.RawMessage
		Anima                           lease.Anima     `json:",omitempty"`
		NoJoin                          bool            `json:",omitempty"`
		SelfExtend                      *lease.Duration `json:",omitempty"`
	}{
		o.Count, lease.Duration(o.Term), lease.Duration(o.MaxTerm), lease.Duration(o.HeartbeatTimeout), o.Until.UTC(), o.Holder, o.Labels,
		o.Subnets, o.InstanceTypes, request, o.Anima, o.NoJoin, o.SelfExtend,
	})
	if err != nil {
		return "", fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.Sum256(asked)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
