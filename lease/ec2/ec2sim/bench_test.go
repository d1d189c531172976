package ec2sim_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease/ec2/ec2sim"
)

func benchWorld(b *testing.B, instances int) (*ec2sim.Sim, *ec2.Client) {
	b.Helper()
	sim := ec2sim.New(ec2sim.Config{Latency: -1})
	server := httptest.NewServer(sim)
	b.Cleanup(server.Close)
	for range instances {
		sim.Create(ec2sim.Instance{Tags: map[string]string{"lapse:registry": "r", "lapse:launch": "l", "lapse:holder": "h"}})
	}
	c, err := config.LoadDefaultConfig(b.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(server.URL),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", "")))
	if err != nil {
		b.Fatal(err)
	}
	c.HTTPClient = patientClient{c.HTTPClient}
	return sim, ec2.NewFromConfig(c)
}

// BenchmarkDescribe10000 lists 10,000 instances by tag key, 1,000 a page,
// client included.
func BenchmarkDescribe10000(b *testing.B) {
	_, client := benchWorld(b, 10_000)
	for b.Loop() {
		pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{
			MaxResults: aws.Int32(1000), Filters: filterBy("tag-key", "lapse:registry"),
		})
		for pages.HasMorePages() {
			if _, err := pages.NextPage(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkTerminate50 ends batches of 50 out of 10,000 instances, client
// included.
func BenchmarkTerminate50(b *testing.B) {
	sim, client := benchWorld(b, 10_000)
	for n := 0; b.Loop(); n++ {
		ids := make([]string, 50)
		for i := range ids {
			ids[i] = sim.Create(ec2sim.Instance{ID: fmt.Sprintf("i-%08x", n*50+i)}).ID
		}
		if _, err := client.TerminateInstances(b.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
			b.Fatal(err)
		}
	}
}
