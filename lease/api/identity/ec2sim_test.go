package identity_test

import (
	"log/slog"
	"net/http/httptest"
	"testing"

	"lapse/lease/api/identity"
	"lapse/lease/ec2/ec2sim"
	"lapse/sidecar/imds"
)

// TestTheSimulatedEC2SignsAsEC2Does asks the metadata service of a simulated instance over HTTP, as the sidecar does.
func TestTheSimulatedEC2SignsAsEC2Does(t *testing.T) {
	t.Parallel()
	sim := ec2sim.New(ec2sim.Config{})
	t.Cleanup(sim.Close)
	text, err := sim.IdentityCertificates()
	if err != nil {
		t.Fatal(err)
	}
	known, err := identity.Read(text)
	if err != nil || len(known) < 2 {
		t.Fatalf("%v, %v", known, err)
	}
	i := sim.Create(ec2sim.Instance{})
	server := httptest.NewServer(sim.IMDS(i.ID))
	t.Cleanup(server.Close)
	signed, err := imds.New(server.URL, slog.New(slog.DiscardHandler)).SignedDocument(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := known.Verify(i.Region, signed)
	if err != nil || d.InstanceID != i.ID || d.Region != i.Region || d.PrivateIP != i.PrivateIP || !d.PendingTime.Equal(i.LaunchTime) || d.Account == "" {
		t.Errorf("%+v, %v, want that of %+v", d, err, i)
	}
	if _, err := known.Verify("eu-west-1", signed); err == nil {
		t.Error("another Region has signed it")
	}
}
