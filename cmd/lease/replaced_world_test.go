package main

import (
	"fmt"

	"github.com/rogpeppe/go-internal/testscript"

	"lapse/lease/ec2/ec2sim"
)

// fleet ID [type=TYPE] [state=STATE]: a fleet, or a Spot Fleet if the id begins with sfr-.
func addFleet(w *world, _ *testscript.TestScript, args []string) error {
	given := settings(args[1:])
	w.sim.AddFleet(ec2sim.Fleet{ID: args[0], Type: given["type"], State: given["state"]})
	return nil
}

// spot INSTANCE STATE: checks the spot request of an instance.
func checkSpot(w *world, _ *testscript.TestScript, args []string) error {
	i, _ := w.sim.Instance(args[0])
	for _, r := range w.sim.SpotRequests() {
		if r.ID == i.SpotRequest && r.State == args[1] {
			return nil
		}
	}
	return fmt.Errorf("%s of %s is not %s: %+v", i.SpotRequest, args[0], args[1], w.sim.SpotRequests())
}
