package ec2_test

import (
	"slices"
	"testing"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

func TestInstancesWhoseMetadataReachFar(t *testing.T) {
	t.Parallel()
	for name, quirks := range map[string]ec2sim.Quirks{"EC2": {}, "an endpoint that ignores filters": {IgnoresFilters: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ec2test.Open(ec2sim.Config{Quirks: quirks})
			t.Cleanup(w.Close)
			create := func(state ec2sim.State, registry string, options ec2sim.MetadataOptions) string {
				return w.Sim.Create(ec2sim.Instance{State: state, Tags: map[string]string{lease.TagRegistry: registry}, Metadata: options}).ID
			}
			far := ec2sim.MetadataOptions{HopLimit: 2, HTTPEndpoint: "enabled"}
			want := []string{
				create(ec2sim.Running, ec2test.UUID, far), create(ec2sim.Running, ec2test.UUID, ec2sim.MetadataOptions{HopLimit: 64, HTTPEndpoint: "enabled"}),
			}
			create(ec2sim.Running, ec2test.UUID, ec2sim.MetadataOptions{HopLimit: 1, HTTPEndpoint: "enabled"})
			create(ec2sim.Running, ec2test.UUID, ec2sim.MetadataOptions{HopLimit: 2, HTTPEndpoint: "disabled"})
			create(ec2sim.Running, "00000000-0000-4000-8000-000000000000", far)
			if quirks == (ec2sim.Quirks{}) {
				create(ec2sim.Terminated, ec2test.UUID, far)
			}
			slices.Sort(want)
			got, err := w.Cloud(t, w.AWS(), ec2.Options{}).FarMetadata(t.Context(), ec2test.UUID)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
		})
	}
}
