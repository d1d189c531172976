package launch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// send makes, or repeats to the letter, the call of the last attempt. That it is about to be sent is on record first.
func (r *run) send(ctx context.Context) error {
	in, err := input(r.launch)
	if err != nil {
		return err
	}
	if frozen := tagSets(in.TagSpecifications).registry(); frozen != r.registry.UUID {
		return &RegistryError{Token: r.launch.Token, Frozen: frozen, Here: r.registry.UUID}
	}
	if err := r.pause(ctx); err != nil {
		return err
	}
	if err := r.announce(ctx); err != nil {
		return err
	}
	a := r.launch.Last()
	wanted := howMany(a.Max)
	if a.Min < a.Max {
		wanted = fmt.Sprintf("%d to %s", a.Min, wanted)
	}
	r.tell(EventSending, r.launch, fmt.Sprintf("asking EC2 for %s (attempt %d, send %d)", wanted, len(r.launch.Attempts), a.Sends))
	instances, err := r.cloud.RunInstances(ctx, in, r.config.CallTimeout)
	return r.hear(ctx, a.ClientToken, instances, err)
}

// announce writes that the last attempt is about to be sent. Where that took longer than a call may, as on a machine
// that was suspended in between, it is written again: by now the launch may be settled.
func (r *run) announce(ctx context.Context) error {
	for {
		sending, err := r.launch.Sending(r.config.Now())
		if err != nil {
			return err
		}
		if err := r.put(ctx, sending); err != nil {
			return err
		}
		if r.config.Now().Sub(r.launch.Last().LastSend) <= r.config.CallTimeout {
			return nil
		}
		r.launch = r.launch.Unsent()
	}
}

// pause waits before a replay, longer each time, and gives up at the end of patience. It returns the error of the last
// send then.
func (r *run) pause(ctx context.Context) error {
	if r.replays == 0 {
		return nil
	}
	return r.wait(ctx, r.config.Pause<<min(r.replays-1, 5))
}

// wait waits within patience. At its end it returns the error of the last send.
func (r *run) wait(ctx context.Context, d time.Duration) error {
	if time.Now().Add(d).After(r.until) {
		return cmp.Or(r.lastErr, errOver)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errOver = errors.New("the time for an answer is over")

// input is the call of the last attempt, made from the record alone, so that whoever replays it sends the same. To the
// frozen request it adds what the record says of the attempt, and nothing that this version knows better: the client
// token, the counts, the type and the subnet, the client token once more wherever the frozen tags name [lease.TagLaunch], and the
// join token beside the user-data.
//
// Errors: [lease.MalformedError].
func input(l lease.Launch) (*awsec2.RunInstancesInput, error) {
	in, err := thaw(l.Request)
	if err != nil {
		return nil, &lease.MalformedError{Kind: "launch", ID: l.Token, Err: err}
	}
	sets := tagSets(in.TagSpecifications)
	if sets.registry() == "" {
		return nil, &lease.MalformedError{Kind: "launch", ID: l.Token, Err: errNoTags}
	}
	a := l.Last()
	sets.replace(lease.TagLaunch, a.ClientToken)
	in.TagSpecifications = sets.specifications()
	in.ClientToken = aws.String(a.ClientToken)
	in.MinCount, in.MaxCount = aws.Int32(int32(a.Min)), aws.Int32(int32(a.Max)) //nolint:gosec // at most lease.MaxCount
	if a.InstanceType != "" {
		in.InstanceType = types.InstanceType(a.InstanceType)
	}
	if l.Anima == lease.AnimaKeyPair {
		in.KeyName = aws.String(lease.KeyName(l.Registry, a.ClientToken))
	}
	if a.Subnet != "" {
		setSubnet(in, a.Subnet)
	}
	if err := join(in, l); err != nil {
		return nil, &lease.MalformedError{Kind: "launch", ID: l.Token, Err: err}
	}
	if in.UserData != nil { // plain in the CLI's form, which encodes it in the same way
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(*in.UserData)))
	}
	return in, nil
}

// thaw reads a frozen request as it stands: what counts as a placeholder was decided when it was frozen. A field that this
// version does not know is an error, because the call without it would be another one.
func thaw(frozen []byte) (*awsec2.RunInstancesInput, error) {
	var request struct {
		awsec2.RunInstancesInput
		UserDataBase64 []byte
	}
	strict := json.NewDecoder(bytes.NewReader(frozen))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&request); err != nil {
		return nil, fmt.Errorf("read its frozen request: %w", err)
	}
	if request.UserDataBase64 != nil {
		request.UserData = aws.String(string(request.UserDataBase64))
	}
	return &request.RunInstancesInput, nil
}

var errNoTags = errors.New("its frozen request lacks the tags of Lapse")

// setSubnet puts the subnet where EC2 takes it: in the first interface if the request describes interfaces.
func setSubnet(in *awsec2.RunInstancesInput, subnet string) {
	if len(in.NetworkInterfaces) == 0 {
		in.SubnetId = aws.String(subnet)
		return
	}
	for n := range in.NetworkInterfaces {
		if i := &in.NetworkInterfaces[n]; i.NetworkInterfaceId == nil && aws.ToInt32(i.DeviceIndex) == 0 {
			i.SubnetId = aws.String(subnet)
		}
	}
}
