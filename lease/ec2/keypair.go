package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
)

// Codes of the errors of key pairs.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
const (
	KeyPairDuplicate = "InvalidKeyPair.Duplicate"
	keyPairNotFound  = "InvalidKeyPair.NotFound"
)

// ImportKeyPair makes a key pair of that name out of a public key, in OpenSSH's form, and returns its id.
//
// Errors: [UnreachableError], or AWS's own; one of that name is [KeyPairDuplicate].
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html
func (c *Cloud) ImportKeyPair(ctx context.Context, name string, public []byte, tags map[string]string) (id string, err error) {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.ImportKeyPair(bounded, &ec2.ImportKeyPairInput{
		KeyName: aws.String(name), PublicKeyMaterial: public,
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeKeyPair, Tags: TagList(tags)}},
	})
	if err != nil {
		return "", failed(ctx, "import the key pair "+name, err)
	}
	return aws.ToString(out.KeyPairId), nil
}

// KeyPair looks a key pair up by its name. One that EC2 does not know has no id, and is no error.
//
// Errors: [UnreachableError], or AWS's own.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeKeyPairs.html
func (c *Cloud) KeyPair(ctx context.Context, name string) (id string, tags map[string]string, err error) {
	if err := c.pace.describes.Wait(ctx); err != nil {
		return "", nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.DescribeKeyPairs(bounded, &ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
	if err != nil {
		if codeOf(err) == keyPairNotFound {
			return "", nil, nil
		}
		return "", nil, failed(ctx, "look up the key pair "+name, err)
	}
	for _, k := range out.KeyPairs {
		if aws.ToString(k.KeyName) != name {
			continue
		}
		tags = make(map[string]string, len(k.Tags))
		for _, t := range k.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		return aws.ToString(k.KeyPairId), tags, nil
	}
	return "", nil, nil
}

// DeleteKeyPair deletes a key pair by its id. One that EC2 does not know is deleted already.
//
// Errors: [UnreachableError], or AWS's own.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteKeyPair.html
func (c *Cloud) DeleteKeyPair(ctx context.Context, id string) error {
	if err := c.pace.removes.Wait(ctx); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := c.ec2.DeleteKeyPair(bounded, &ec2.DeleteKeyPairInput{KeyPairId: aws.String(id)})
	if codeOf(err) == keyPairNotFound {
		return nil
	}
	return failed(ctx, "delete the key pair "+id, err)
}

// Keyed returns the instances that show a key pair, whatever tags they bear. filtered leaves the choice to EC2; an endpoint
// that does not know the filter may answer with too many, or with none, and without it all instances are read.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) Keyed(ctx context.Context, name string, filtered bool) ([]lease.Instance, error) {
	filter := ""
	if filtered {
		filter = "key-name"
	}
	listing, err := c.list(ctx, filter, []string{name})
	if err != nil {
		return nil, err
	}
	var keyed []lease.Instance
	for _, i := range listing.Instances {
		if i.KeyName == name {
			keyed = append(keyed, i)
		}
	}
	return keyed, nil
}
