package ec2_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

// alien answers every call of one action with that status, of success, and something else than EC2 would say.
func alien(t *testing.T, w world, action string, status int, body string) aws.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err == nil && r.Form.Get("Action") != action {
			w.Sim.ServeHTTP(rw, r)
			return
		}
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	cfg := w.AWS()
	cfg.BaseEndpoint = aws.String(server.URL)
	return cfg
}

func TestAnswersThatAreNotEC2sAreRecognised(t *testing.T) {
	t.Parallel()
	const ok = http.StatusOK
	one := []string{"i-0123456789abcdef0"}
	calls := map[string]func(context.Context, *ec2.Cloud) error{
		"DescribeInstances": func(ctx context.Context, c *ec2.Cloud) error { _, err := c.List(ctx); return err },
		"RunInstances": func(ctx context.Context, c *ec2.Cloud) error {
			_, err := c.RunInstances(ctx, &awsec2.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}, time.Minute)
			return err
		},
		"TerminateInstances": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Terminate(ctx, one)[0].Err
		},
		"CreateTags": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Tag(ctx, one, map[string]string{"a": "b"})[0].Err
		},
		"DeleteTags": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Untag(ctx, one[0], map[string]string{"a": "b"})
		},
		"DeleteVolume": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Remove(ctx, lease.Leftover{Kind: lease.LeftoverVolume, ID: "vol-1"}).Err
		},
		"DeleteNetworkInterface": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Remove(ctx, lease.Leftover{Kind: lease.LeftoverInterface, ID: "eni-1"}).Err
		},
		"DeleteKeyPair": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Remove(ctx, lease.Leftover{Kind: lease.LeftoverKeyPair, ID: "key-1"}).Err
		},
		"CancelSpotInstanceRequests": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Remove(ctx, lease.Leftover{Kind: lease.LeftoverSpot, ID: "sir-1"}).Err
		},
		"DescribeFleets": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Replacers(ctx, []lease.Instance{{ID: "i-1", Tags: map[string]string{"aws:ec2:fleet-id": "fleet-1"}}})["i-1"].Err
		},
		"DescribeSpotFleetRequests": func(ctx context.Context, c *ec2.Cloud) error {
			return c.Replacers(ctx, []lease.Instance{{ID: "i-1", Tags: map[string]string{"aws:ec2spot:fleet-request-id": "sfr-1"}}})["i-1"].Err
		},
	}
	for _, action := range []string{"DescribeVolumes", "DescribeNetworkInterfaces", "DescribeSpotInstanceRequests", "DescribeKeyPairs"} {
		calls[action] = func(ctx context.Context, c *ec2.Cloud) error {
			_, err := c.Leftovers(ctx, []string{"web.1"}, []string{"key"})
			return err
		}
	}
	for kind, body := range map[string]string{
		"empty": "", "html": "<!DOCTYPE html><html><body>Please log in</body></html>", "json": `{"status": "ok"}`,
		"another operation's":  "<DescribeThingsResponse><requestId>1</requestId></DescribeThingsResponse>",
		"no request id":        "<ACTIONResponse></ACTIONResponse>",
		"an error in disguise": "<Response><Errors><Error><Code>InternalError</Code></Error></Errors><RequestID>1</RequestID></Response>",
	} {
		for action, call := range calls {
			t.Run(action+" "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, ec2sim.Config{})
				cfg := alien(t, w, action, ok, strings.ReplaceAll(body, "ACTION", action))
				ec2test.WantError[*ec2.UnreachableError](t, call(t.Context(), w.Cloud(t, cfg, ec2.Options{})))
			})
		}
		t.Run("GetCallerIdentity "+kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			_, err := ec2.Open(t.Context(), alien(t, w, "GetCallerIdentity", ok, strings.ReplaceAll(body, "ACTION", "GetCallerIdentity")), "", ec2.Options{})
			ec2test.WantError[*ec2.UnreachableError](t, err)
		})
	}
}

func TestARequestIDAtTheEndCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	body := "<DescribeInstancesResponse><reservationSet>" + strings.Repeat("<!-- filler -->", 1000) +
		"</reservationSet><requestId>1</requestId></DescribeInstancesResponse>"
	if _, err := w.Cloud(t, alien(t, w, "DescribeInstances", http.StatusOK, body), ec2.Options{}).List(t.Context()); err != nil {
		t.Error(err)
	}
}

// AWS answers with 200 or with an error. Every other success is of something in between, whatever its body says.
func TestAnUnknownSuccessIsNoAnswer(t *testing.T) {
	t.Parallel()
	const empty = "<ACTIONResponse><requestId>1</requestId><RequestId>1</RequestId></ACTIONResponse>"
	for status, body := range map[int]string{
		http.StatusAccepted: "", http.StatusNonAuthoritativeInfo: empty, http.StatusNoContent: "", http.StatusResetContent: "",
		http.StatusPartialContent: empty, 299: empty,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			cfg := alien(t, w, "DescribeInstances", status, strings.ReplaceAll(body, "ACTION", "DescribeInstances"))
			_, err := w.Cloud(t, cfg, ec2.Options{}).List(t.Context())
			ec2test.WantError[*ec2.UnreachableError](t, err)
			_, err = ec2.Open(t.Context(), alien(t, w, "GetCallerIdentity", status, strings.ReplaceAll(body, "ACTION", "GetCallerIdentity")), "", ec2.Options{})
			ec2test.WantError[*ec2.UnreachableError](t, err)
			cfg = alien(t, w, "RunInstances", status, strings.ReplaceAll(body, "ACTION", "RunInstances"))
			_, err = w.Cloud(t, cfg, ec2.Options{}).RunInstances(t.Context(), &awsec2.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}, time.Minute)
			ec2test.WantError[*ec2.UnreachableError](t, err)
		})
	}
}
