package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

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

// KeyPair looks a key pair up by its name. One that EC2 does not know has no id, which is no error.
//
// Errors: [UnreachableError], or AWS's own.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeKeyPairs.html
func (c *Cloud) KeyPair(ctx context.Context, name string) (lease.Leftover, error) {
	if err := c.pace.describes.Wait(ctx); err != nil {
		return lease.Leftover{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.DescribeKeyPairs(bounded, &ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
	if err != nil {
		if codeOf(err) == keyPairNotFound {
			return lease.Leftover{}, nil
		}
		return lease.Leftover{}, failed(ctx, "look up the key pair "+name, err)
	}
	for _, k := range out.KeyPairs {
		if aws.ToString(k.KeyName) == name {
			return c.keyPair(k), nil
		}
	}
	return lease.Leftover{}, nil
}

func (c *Cloud) keyPair(k types.KeyPairInfo) lease.Leftover {
	x := c.leftover(lease.LeftoverKeyPair, k.KeyPairId, "available", k.CreateTime, k.Tags)
	x.Name, x.Print = aws.ToString(k.KeyName), strings.TrimRight(aws.ToString(k.KeyFingerprint), "=")
	return x
}

// deleteKeyPair deletes a key pair by its id. Some endpoints know only names, and answer as if it had been deleted: if it is
// still there under its name, with the same id, it is deleted by that.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteKeyPair.html
func (c *Cloud) deleteKeyPair(ctx context.Context, x lease.Leftover) (middleware.Metadata, error) {
	out, err := c.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyPairId: &x.ID})
	switch {
	case err == nil && (aws.ToString(out.KeyPairId) == x.ID || x.Name == ""):
		return out.ResultMetadata, nil
	case err != nil && (codeOf(err) != "MissingParameter" || x.Name == ""):
		return middleware.Metadata{}, err
	}
	there, err := c.KeyPair(ctx, x.Name)
	if err != nil {
		return middleware.Metadata{}, err
	}
	if there.ID == x.ID {
		out, err = c.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: &x.Name})
	}
	if err != nil || out == nil {
		return middleware.Metadata{}, err
	}
	return out.ResultMetadata, nil
}

// Keyed returns the instances that show one of these key pairs, whatever tags they bear. filtered leaves the choice to EC2;
// an endpoint that does not know the filter may answer with too many, or with none, and without it all instances are read.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) Keyed(ctx context.Context, names []string, filtered bool) ([]lease.Instance, error) {
	var keyed []lease.Instance
	chunks := slices.Chunk(names, maxFilterValues)
	if !filtered {
		chunks = slices.Values([][]string{names})
	}
	for chunk := range chunks {
		filter := ""
		if filtered {
			filter = "key-name"
		}
		listing, err := c.list(ctx, filter, chunk)
		if err != nil {
			return nil, err
		}
		for _, i := range listing.Instances {
			if slices.Contains(chunk, i.KeyName) {
				keyed = append(keyed, i)
			}
		}
	}
	return keyed, nil
}

// keyPairs reads the key pairs that a query selects, which come on one page.
func (c *Cloud) keyPairs(ctx context.Context, q leftoverQuery) (answer leftoverAnswer, err error) {
	out, err := c.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: q.filters}, c.withSkew)
	if err != nil {
		return answer, err
	}
	for _, k := range out.KeyPairs {
		answer.found = append(answer.found, c.keyPair(k))
	}
	answer.metadata = out.ResultMetadata
	return answer, nil
}
