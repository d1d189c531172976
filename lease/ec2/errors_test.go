package ec2_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"lapse/lease/ec2"
)

func TestErrorsAreOneSentenceThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
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
		{&ec2.AnswerError{Op: "list instances", Code: "AuthFailure", Message: "no", RequestID: "r-1"}, []string{"list instances", "AuthFailure", "r-1"}},
		{&ec2.ClockError{Skew: 90 * time.Second}, []string{"1m30s ahead of", "10s", "chrony"}},
		{&ec2.ClockError{Skew: -90 * time.Second}, []string{"1m30s behind"}},
		{
			&ec2.UnreachableError{Op: "list instances", Err: fmt.Errorf("attempts: %w", &url.Error{Op: "Post", URL: "https://ec2", Err: because})},
			[]string{`AWS_ENDPOINT_URL (Post "https://ec2": connection reset)`},
		},
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
	if !errors.Is(&ec2.UnreachableError{Err: because}, because) {
		t.Error("the cause is lost")
	}
}
