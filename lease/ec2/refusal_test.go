package ec2_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
)

func TestErrorsAreOneSentenceThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	because := errors.New("connection reset")
	for _, c := range []struct {
		err  error
		want []string
	}{
		{&ec2.SettingsError{What: "region"}, []string{"AWS_REGION"}},
		{&ec2.SettingsError{What: "credentials", Err: because}, []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID"}},
		{&ec2.SettingsError{What: "process", Err: because}, []string{"credential_process", "connection reset", "by hand"}},
		{&ec2.SettingsError{What: "sso", Err: because}, []string{"connection reset", "aws sso login"}},
		{&ec2.SettingsError{What: "settings", Err: because}, []string{"~/.aws"}},
		{&ec2.UnreachableError{Op: "list instances", Err: because}, []string{"list instances", "region", "AWS_ENDPOINT_URL", "connection reset"}},
		{
			&ec2.UnreachableError{Op: "list instances", Err: fmt.Errorf("attempts: %w", &url.Error{Op: "Post", URL: "https://ec2", Err: because})},
			[]string{`AWS_ENDPOINT_URL (Post "https://ec2": connection reset)`},
		},
		{&ec2.AnswerError{Op: "list instances", Code: "AuthFailure", Message: "no", RequestID: "r-1"}, []string{"list instances", "AuthFailure", "r-1"}},
		{&ec2.RequestError{Field: "KeyName", Why: "must be a string"}, []string{"KeyName must be a string"}},
		{&ec2.RequestError{Why: "names no image; give --image-id"}, []string{"--image-id"}},
		{&ec2.UnattendedError{Location: here()}, []string{"123456789012/us-east-1", "janitor run", "--unattended"}},
		{
			&ec2.UnattendedError{Location: here(), Last: time.Now(), Swept: []lease.Location{{Account: "123456789012", Region: "eu-west-1"}}},
			[]string{"names only 123456789012/eu-west-1", "correct the region", "janitor run", "--unattended"},
		},
		{&ec2.UnattendedError{Location: here(), Last: at}, []string{"does not name it"}},
		{&ec2.UnattendedError{Location: here(), Last: at, Named: true}, []string{"2027-01-02T03:04:05Z"}},
		{&ec2.ClockError{Skew: 90 * time.Second}, []string{"1m30s ahead of", "10s", "chrony"}},
		{&ec2.ClockError{Skew: -90 * time.Second}, []string{"1m30s behind"}},
		{&ec2.StaleTokenError{Token: "job-7", Generated: at}, []string{"job-7", "--id"}},
		{&ec2.LocationError{Token: "job-7", Launched: here()}, []string{"job-7", "AWS_REGION"}},
		{&ec2.RegistryError{Token: "job-7", Frozen: "a", Here: "b"}, []string{"job-7", "registry a", "this is b", "another token"}},
		{&ec2.RefusedError{Token: "job-7", Code: "Unsupported"}, []string{"job-7", "Unsupported", "another token"}},
		{&ec2.RefusedError{Token: "job-7", Code: "Unsupported", Reason: "Unsupported: not there"}, []string{"Unsupported: not there"}},
		{&ec2.UnknownOutcomeError{Token: "job-7", Err: because}, []string{"not known", "--id job-7", "connection reset"}},
		{&ec2.UnknownOutcomeError{Token: "job-7", Err: &lease.WindowError{Token: "job-7", Since: at}}, []string{"janitor settles", "lease show job-7"}},
		{&ec2.UnfinishedError{Token: "job-7", Err: because}, []string{"not finished", "--id job-7"}},
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
	if !errors.Is(&ec2.UnfinishedError{Err: because}, because) || !errors.Is(&ec2.UnreachableError{Err: because}, because) {
		t.Error("the cause is lost")
	}
}
