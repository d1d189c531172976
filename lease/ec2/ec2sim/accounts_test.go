package ec2sim_test

import (
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"lapse/lease/ec2/ec2sim"
)

func TestAccountsAreChosenByTheKey(t *testing.T) {
	t.Parallel()
	a, b := ec2sim.New(ec2sim.Config{}), ec2sim.New(ec2sim.Config{Account: "999999999999"})
	server := httptest.NewServer(ec2sim.Accounts{"KEYA": a, "KEYB": b})
	t.Cleanup(server.Close)
	a.Create(ec2sim.Instance{})
	for key, want := range map[string]struct {
		account   string
		instances int
	}{"KEYA": {"123456789012", 1}, "KEYB": {"999999999999", 0}} {
		cfg := world{url: server.URL}.awsConfig(t, "us-east-1")
		cfg.Credentials = credentials.NewStaticCredentialsProvider(key, "secret", "")
		who, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || aws.ToString(who.Account) != want.account {
			t.Errorf("%s: %+v, %v", key, who, err)
		}
		out, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
		if err != nil || len(out.Reservations) != want.instances {
			t.Errorf("%s: %d reservations, %v", key, len(out.Reservations), err)
		}
	}
	cfg := world{url: server.URL}.awsConfig(t, "us-east-1")
	cfg.Credentials = credentials.NewStaticCredentialsProvider("NOBODY", "secret", "")
	_, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	wantCode(t, err, "AuthFailure")
}

func TestAPolicyChecksEachResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ours, foreign := w.Create(ec2sim.Instance{Tags: map[string]string{"r": "1"}}).ID, w.Create(ec2sim.Instance{Tags: map[string]string{"r": "2"}}).ID
	w.LetTag(func(borne, set map[string]string) bool { return borne["r"] == "1" && set["k"] == "v" })
	tag := func(value string, ids ...string) error {
		_, err := w.ec2.CreateTags(t.Context(), &ec2.CreateTagsInput{
			Resources: ids, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String(value)}},
		})
		return err
	}
	wantCode(t, tag("v", ours, foreign), "UnauthorizedOperation")
	wantCode(t, tag("other", ours), "UnauthorizedOperation")
	if i, _ := w.Instance(ours); len(i.Tags) != 1 {
		t.Errorf("a call that was refused set %v", i.Tags)
	}
	if err := tag("v", ours); err != nil {
		t.Error(err)
	}
	w.LetTag(nil)
	if err := tag("v", foreign); err != nil {
		t.Error(err)
	}
}
