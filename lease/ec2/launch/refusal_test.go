package launch_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

func TestErrorsAreOneSentenceThatSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	because := errors.New("connection reset")
	for _, c := range []struct {
		err  error
		want []string
	}{
		{&launch.RequestError{Field: "KeyName", Why: "must be a string"}, []string{"KeyName must be a string"}},
		{&launch.RequestError{Why: "names no image", Option: "ImageID"}, []string{"request names no image"}},
		{&launch.UnattendedError{Location: ec2test.Here()}, []string{"123456789012/us-east-1"}},
		{
			&launch.UnattendedError{Location: ec2test.Here(), Last: time.Now(), Swept: []lease.Location{{Account: "123456789012", Region: "eu-west-1"}}},
			[]string{"included only 123456789012/eu-west-1"},
		},
		{&launch.UnattendedError{Location: ec2test.Here(), Last: at}, []string{"did not include it"}},
		{&launch.UnattendedError{Location: ec2test.Here(), Last: at, Named: true}, []string{"2027-01-02T03:04:05Z"}},
		{&launch.StaleTokenError{Token: "job-7", Generated: at}, []string{"job-7", "2027-01-02T03:04:05Z"}},
		{&launch.LocationError{Token: "job-7", Launched: ec2test.Here()}, []string{"job-7", "AWS_REGION"}},
		{&launch.RegistryError{Token: "job-7", Frozen: "a", Here: "b"}, []string{"job-7", "registry a", "this is b", "another token"}},
		{&launch.RefusedError{Token: "job-7", Code: "Unsupported"}, []string{"job-7", "Unsupported", "another token"}},
		{&launch.RefusedError{Token: "job-7", Code: "Unsupported", Reason: "Unsupported: not there"}, []string{"Unsupported: not there"}},
		{&launch.UnknownOutcomeError{Token: "job-7", Err: because}, []string{"is unknown", "job-7", "connection reset"}},
		{&launch.UnknownOutcomeError{Token: "job-7", Err: &lease.WindowError{Token: "job-7", Since: at}}, []string{"janitor settles", "2027-01-02T03:04:05Z"}},
		{&launch.UnfinishedError{Token: "job-7", Err: because}, []string{"not finished", "connection reset"}},
	} {
		text := c.err.Error()
		if strings.Contains(text, "\n") || strings.HasSuffix(text, ".") {
			t.Errorf("%T is not one sentence: %q", c.err, text)
		}
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%T lacks %q: %s", c.err, want, text)
			}
		}
	}
	if !errors.Is(&launch.UnfinishedError{Err: because}, because) {
		t.Error("the cause is lost")
	}
}
