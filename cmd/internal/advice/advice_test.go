package advice

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/launch"
)

func TestAnErrorOfEC2SaysWhatToDoAtACommandLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	because := errors.New("connection reset")
	here, there := lease.Location{Account: "1", Region: "us-east-1"}, []lease.Location{{Account: "1", Region: "eu-west-1"}}
	request := func(option string) error { return &launch.RequestError{Field: "X", Why: "is wrong", Option: option} }
	for _, c := range []struct {
		err  error
		want string // its end
	}{
		{ec2.ErrNoImage, "no image is known to launch from: give one with --image-id"},
		{&ec2.SettingsError{What: "account", Err: because}, "connection reset; correct --account or leave it out"},
		{&ec2.SettingsError{What: "region"}, "that AWS_PROFILE names"},
		{&ec2.ProofError{Err: because}, "connection reset"},
		{&ec2.ProofError{Err: because, NoSTS: true}, "connection reset; if this endpoint has no STS, give --account"},
		{&launch.UnattendedError{Location: here}, "no janitor sweeps 1/us-east-1; start `janitor run` for this region, or use --unattended"},
		{&launch.UnattendedError{Location: here, Last: at, Named: true, Swept: there}, "; start `janitor run` for this region, or use --unattended"},
		{
			&launch.UnattendedError{Location: here, Last: at, Swept: there},
			"included only 1/eu-west-1; correct the region, start `janitor run` for this one, or use --unattended",
		},
		{&launch.StaleTokenError{Token: "job-7", Generated: at}, "have been deleted; leave out --id for a new launch"},
		{request("Token"), "is wrong; choose a launch token with --id"},
		{request("ImageID"), "is wrong; give --image-id, or ImageId or LaunchTemplate in the request"},
		{request("InstanceTypes"), "is wrong; give --instance-type, or InstanceType or LaunchTemplate in the request"},
		{request("SecurityGroups"), "is wrong; leave out --security-group-id"},
		{request("Subnets"), "is wrong; leave out --subnet-id"},
		{request("UserData"), "is wrong; give user-data that is not text with --user-data"},
		{request("NoJoin"), "is wrong; to launch without one use --no-join, and `lease join-token ID` for each instance (it has one hour to enrol)"},
		{request(""), "is wrong"},
		{&launch.UnfinishedError{Token: "job-7", Err: because}, "(connection reset); run again with --id job-7"},
		{&launch.UnknownOutcomeError{Token: "job-7", Err: because}, "(connection reset); run again with --id job-7"},
		{
			&launch.UnfinishedError{Token: "job-7", Err: &lease.LaunchStateError{Token: "job-7", Verb: "bind", State: lease.LaunchClosed}},
			"it is closed); `lease show job-7` lists what it launched; run again with --id job-7",
		},
		{
			&launch.UnknownOutcomeError{Token: "job-7", Err: &lease.WindowError{Token: "job-7", Since: at}},
			"the janitor settles it; `lease show job-7` shows how",
		},
		{&lease.NotFoundError{Kind: "checkpoint"}, ": start `janitor run`"},
	} {
		if got := EC2(c.err).Error(); !strings.HasSuffix(got, c.want) {
			t.Errorf("%T says\n%s\nwant\n%s", c.err, got, c.want)
		}
	}
}

// Options name fields of a request: none is forgotten when a field is renamed.
func TestOptionsAreFieldsOfARequest(t *testing.T) {
	t.Parallel()
	for option := range options() {
		if _, is := reflect.TypeFor[launch.Request]().FieldByName(option); !is {
			t.Errorf("a launch.Request has no %s", option)
		}
	}
}

func TestEachWarningThatHasANameSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, about := range []launch.Warning{launch.WarnPaused, launch.WarnMode, launch.WarnDryRun} {
		if Warning(about) == "" {
			t.Errorf("%s: nothing", about)
		}
	}
	if Warning("") != "" {
		t.Error("something about nothing")
	}
}
