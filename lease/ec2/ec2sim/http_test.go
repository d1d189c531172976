package ec2sim_test

import (
	"encoding/xml"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"lapse/lease/ec2/ec2sim"
)

func TestDateIsTheSimsClock(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, ec2sim.Config{Now: c.Now})
	out, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := awsmiddleware.GetServerTime(out.ResultMetadata); !ok || !got.Equal(c.Now()) {
		t.Errorf("server time %v, want %v", got, c.Now())
	}
	_, err = w.in(t, "ap-south-1").DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	wantCode(t, err, "AuthFailure")
	if id, ok := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata); !ok || len(id) != 36 {
		t.Errorf("request id %q", id)
	}
}

func TestIdentityAndParameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Account: "210987654321", Parameters: map[string]string{"/img": image}})
	c := w.awsConfig(t, "eu-west-1")
	caller, err := sts.NewFromConfig(c).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *caller.Account != "210987654321" || *caller.Arn == "" || *caller.UserId == "" {
		t.Errorf("got %+v, %v", caller, err)
	}
	parameters := ssm.NewFromConfig(c)
	p, err := parameters.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/img")})
	if err != nil || *p.Parameter.Value != image {
		t.Errorf("got %+v, %v", p, err)
	}
	_, err = parameters.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/no")})
	wantCode(t, err, "ParameterNotFound")

	w.Inject(ec2sim.Fault{Effect: ec2sim.Refuse, Code: "Throttled", Status: http.StatusBadRequest})
	_, err = sts.NewFromConfig(c).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	wantCode(t, err, "Throttled")
	_, err = parameters.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/img")})
	wantCode(t, err, "Throttled")
}

// post sends a form as no client would have to.
func (w world) post(t *testing.T, authorization string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", authorization)
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	return answer
}

func TestAnswersAreWrittenAsEC2Does(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	text := w.post(t, "x", url.Values{"Action": {"DescribeInstances"}}).Body.String()
	start := `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>`
	end := `</requestId><reservationSet></reservationSet></DescribeInstancesResponse>`
	if !strings.Contains(text, start) || !strings.HasSuffix(text, end) {
		t.Errorf("answer %s", text)
	}
	text = w.post(t, "x", url.Values{"Action": {"GetCallerIdentity"}}).Body.String()
	for _, part := range []string{
		`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`,
		`</GetCallerIdentityResult><ResponseMetadata><RequestId>`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("answer %s lacks %s", text, part)
		}
	}
}

func TestRequestsThatNoClientSends(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	for _, c := range []struct {
		name, authorization, code string
		form                      url.Values
		status                    int
	}{
		{"unsigned", "", "MissingAuthenticationToken", url.Values{"Action": {"DescribeInstances"}}, http.StatusForbidden},
		{"unknown action", "x", "InvalidAction", url.Values{"Action": {"DescribeNothing"}}, http.StatusBadRequest},
		{"no action", "x", "MissingAction", url.Values{}, http.StatusBadRequest},
		{"no number", "x", "InvalidParameterValue", url.Values{"Action": {"DescribeInstances"}, "MaxResults": {"x"}}, http.StatusBadRequest},
		{"no truth", "x", "InvalidParameterValue", url.Values{"Action": {"DescribeInstances"}, "DryRun": {"x"}}, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := w.post(t, c.authorization, c.form)
			var refusal struct {
				Code string `xml:"Errors>Error>Code"`
				ID   string `xml:"RequestID"`
			}
			if err := xml.Unmarshal(answer.Body.Bytes(), &refusal); err != nil {
				t.Fatal(err)
			}
			if answer.Code != c.status || refusal.Code != c.code || refusal.ID == "" {
				t.Errorf("status %d, %+v; want %d, %s", answer.Code, refusal, c.status, c.code)
			}
		})
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	sim := ec2sim.New(ec2sim.Config{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	server, err := ec2sim.Serve(sim, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := world{Sim: sim, url: server.URL}
	w.ec2 = w.in(t, "us-east-1")
	w.run(t)
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "action=RunInstances") {
		t.Errorf("log %q", log.String())
	}
	if _, err := w.ec2.RunInstances(soon(t, time.Second), order()); err == nil {
		t.Error("a closed server answers")
	}
	if _, err := ec2sim.Serve(sim, "127.0.0.1:no"); err == nil {
		t.Error("an impossible address is listened on")
	}
}

// body reads a whole answer.
func body(t *testing.T, answer *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
