package ec2sim_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

const public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== test"

// importKey imports a public key under a name, with a tag.
func (w world) importKey(t *testing.T, name string) (*ec2.ImportKeyPairOutput, error) {
	t.Helper()
	return w.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{
		KeyName: aws.String(name), PublicKeyMaterial: []byte(public),
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeKeyPair, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
		}},
	})
}

func withKey(name string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.KeyName = aws.String(name) }
}

func TestAKeyPairIsThereOnceByItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{KeyPairs: []string{"old"}})
	ctx := t.Context()
	made, err := w.importKey(t, "new")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.importKey(t, "new")
	wantCode(t, err, "InvalidKeyPair.Duplicate")
	_, err = w.importKey(t, "old")
	wantCode(t, err, "InvalidKeyPair.Duplicate")
	_, err = w.ec2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: aws.String("bad"), PublicKeyMaterial: []byte("no key")})
	wantCode(t, err, "InvalidKey.Format")

	_, err = w.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{"new", "none"}})
	wantCode(t, err, "InvalidKeyPair.NotFound")
	found, err := w.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{"new"}})
	if err != nil || len(found.KeyPairs) != 1 || aws.ToString(found.KeyPairs[0].KeyPairId) != aws.ToString(made.KeyPairId) || len(found.KeyPairs[0].Tags) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
	tagged, err := w.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: []types.Filter{{Name: aws.String("tag:k"), Values: []string{"v"}}}})
	if err != nil || len(tagged.KeyPairs) != 1 {
		t.Errorf("by its tag: %+v, %v", tagged, err)
	}

	id := w.run(t, withKey("new"))[0]
	if got := w.describe(t, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("key-name"), Values: []string{"new"}}}}); len(got) != 1 || aws.ToString(got[0].InstanceId) != id {
		t.Errorf("by its key pair: %v", idsOf(got))
	}
	for range 2 { // what is deleted already is no error
		if _, err := w.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String("new")}); err != nil {
			t.Error(err)
		}
	}
	_, err = w.ec2.RunInstances(ctx, order(withKey("new")))
	wantCode(t, err, "InvalidKeyPair.NotFound")
	if aws.ToString(w.one(t, id).KeyName) != "new" {
		t.Error("an instance does not show its key pair any longer, once that is deleted")
	}
	if left := w.KeyPairs(); !slices.ContainsFunc(left, func(k ec2sim.KeyPair) bool { return k.Name == "old" }) {
		t.Errorf("left %+v", left)
	}
}

func TestQuirks(t *testing.T) {
	t.Parallel()
	ask := []func(*ec2.RunInstancesInput){token("one.1"), tagged(types.ResourceTypeInstance, "k", "v")}
	for name, c := range map[string]struct {
		quirks    ec2sim.Quirks
		instances int    // after a replay
		token     string // that they show
		tags      map[string]string
		found     int // by a filter that none of them passes
	}{
		"EC2":                  {ec2sim.Quirks{}, 1, "one.1", map[string]string{"k": "v"}, 0},
		"ignores client token": {ec2sim.Quirks{IgnoresClientToken: true}, 2, "one.1", map[string]string{"k": "v"}, 0},
		"hides client token":   {ec2sim.Quirks{HidesClientToken: true}, 1, "", map[string]string{"k": "v"}, 0},
		"drops tags":           {ec2sim.Quirks{DropsTags: true}, 1, "one.1", map[string]string{}, 0},
		"ignores filters":      {ec2sim.Quirks{IgnoresFilters: true}, 1, "one.1", map[string]string{"k": "v"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{Quirks: c.quirks})
			w.run(t, ask...)
			id := w.run(t, ask...)[0]
			if n := len(w.Instances()); n != c.instances {
				t.Errorf("%d instances, want %d", n, c.instances)
			}
			shown, tags := w.one(t, id), map[string]string{}
			for _, tag := range shown.Tags {
				tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
			}
			if aws.ToString(shown.ClientToken) != c.token || !maps.Equal(tags, c.tags) {
				t.Errorf("shows client token %q and tags %v, want %q and %v", aws.ToString(shown.ClientToken), tags, c.token, c.tags)
			}
			if got := w.describe(t, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("key-name"), Values: []string{"none"}}}}); len(got) != c.found {
				t.Errorf("a filter that none passes finds %v, want %d", idsOf(got), c.found)
			}
		})
	}
}
