package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/sidecar"
	"lapse/sidecar/imds"
)

// hereTimeout bounds each question to this machine, which answers at once if it answers at all.
const hereTimeout = 2 * time.Second

// examineHere checks whether this machine is an instance, and its sidecar.
func (e *examination) examineHere(c *ucli.Context) {
	instance := e.examineMetadata(c.Context)
	ctx, cancel := context.WithTimeout(c.Context, hereTimeout)
	defer cancel()
	s, err := sidecar.NewClient(c.String("socket")).Status(ctx)
	switch {
	case cli.Is[*sidecar.NotRunningError](err) && instance == "":
		e.add("sidecar", levelNote, "none on this machine, and only an EC2 instance needs one")
	case cli.Is[*sidecar.ClosedError](err):
		e.add("sidecar", levelNote, "could not check: %v", cli.Advise(err))
	case err != nil:
		e.add("sidecar", levelWarn, "%v; without it a lease with a heartbeat timeout loses its heartbeat", cli.Advise(err))
	case instance != "" && s.InstanceID != instance:
		e.add("sidecar", levelFail, "it renews the lease of %s, but this is %s: restart it", s.InstanceID, instance)
	case s.Failure != "":
		e.add("sidecar", levelFail, "it renews the lease of %s, but is not acknowledged: %s", s.InstanceID, s.Failure)
	case s.Version != version:
		e.add("sidecar", levelWarn, "it renews the lease of %s with version %s, but this is %s: restart it after an upgrade", s.InstanceID, s.Version, version)
	case s.ClockBehind > 0:
		e.add("sidecar", levelWarn, "it renews the lease of %s, but %s: set the clock", s.InstanceID, cli.ClockBehind(time.Duration(s.ClockBehind)))
	default:
		e.add("sidecar", levelOK, "it renews the lease of %s with version %s", s.InstanceID, s.Version)
	}
}

// examineMetadata asks which instance this machine is; empty if it is not one.
func (e *examination) examineMetadata(ctx context.Context) string {
	if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		e.add("metadata", levelNote, "not checked: AWS_EC2_METADATA_DISABLED is set")
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, hereTimeout)
	defer cancel()
	me, err := imds.New(imds.Endpoint(os.Getenv), slog.New(slog.DiscardHandler)).Identity(ctx)
	if err != nil {
		e.add("metadata", levelNote, "this machine is not an EC2 instance, or its metadata service cannot be reached; only a sidecar needs it")
		return ""
	}
	e.add("metadata", levelOK, "this is %s in %s", me.InstanceID, me.Zone)
	return me.InstanceID
}
