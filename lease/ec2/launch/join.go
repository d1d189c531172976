package launch

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// joining gives the last attempt a join token of its own, if the launch is one whose instances enrol. Write the result before that
// is sent: a replay must have the same one.
func (l *Launcher) joining(record lease.Launch) (lease.Launch, error) {
	if record.API == "" {
		return record, nil
	}
	token, err := lease.NewJoinToken(l.config.Random)
	if err != nil {
		return lease.Launch{}, err
	}
	return record.WithJoinToken(token), nil
}

// takeUserData takes over the user-data of the launch template, which that of the call would push aside.
func takeUserData(in *awsec2.RunInstancesInput, template *types.ResponseLaunchTemplateData) error {
	if in.UserData != nil || aws.ToString(template.UserData) == "" {
		return nil
	}
	plain, err := base64.StdEncoding.DecodeString(*template.UserData)
	if err != nil {
		return &RequestError{Field: "LaunchTemplate", Why: "has user-data that is not base64", Option: "NoJoin"}
	}
	in.UserData = aws.String(string(plain))
	return nil
}

// checkJoin refuses a new launch whose user-data has no room for a join token. All its attempts have as many bytes.
//
// Errors: [RequestError], and [lease.LimitError] for the URL of the API.
func checkJoin(record lease.Launch, in *awsec2.RunInstancesInput) error {
	trial := *in
	err := join(&trial, record)
	if form, is := errors.AsType[*lease.WrapError](err); is {
		return &RequestError{Field: "UserData", Why: "is " + form.Form + ", so it cannot carry a join token", Option: "NoJoin"}
	}
	if n := len(aws.ToString(trial.UserData)); err == nil && record.API != "" && n > maxUserData {
		return &RequestError{Field: "UserData", Option: "NoJoin", Why: fmt.Sprintf(
			"has %d bytes, and %d with the join token, but EC2 allows %d; shorten it, or have it download the rest", len(aws.ToString(in.UserData)), n, maxUserData)}
	}
	return err
}

// join puts the join token of the last attempt beside the user-data of its call, which is not encoded yet.
//
// Errors: [lease.WrapError], and others for a record that somebody else changed.
func join(in *awsec2.RunInstancesInput, l lease.Launch) error {
	if l.API == "" {
		return nil
	}
	wrapped, err := lease.Join{Token: l.Last().JoinToken, API: l.API}.Wrap([]byte(aws.ToString(in.UserData)))
	if err != nil {
		return err
	}
	in.UserData = aws.String(string(wrapped))
	return nil
}
