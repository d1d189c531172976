package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease/api/identity"
	"lapse/sidecar"
	"lapse/sidecar/imds"
)

// hereTimeout bounds each question to this machine, which answers at once if it answers at all.
const hereTimeout = 2 * time.Second

// examineHere checks whether this machine is an instance, and its sidecar.
func (e *examination) examineHere(c *ucli.Context) {
	instance := e.examineMetadata(c.Context, c.String("identity-certificates"))
	ctx, cancel := context.WithTimeout(c.Context, hereTimeout)
	defer cancel()
	s, err := sidecar.NewClient(c.String("socket")).Status(ctx)
	switch {
	case cli.Is[*sidecar.NotRunningError](err) && instance == "":
		e.add("sidecar", levelNote, "none on this machine, and only an EC2 instance needs one")
	case cli.Is[*sidecar.ClosedError](err):
		e.add("sidecar", levelNote, "could not check: %v", registry.Advise(err))
	case err != nil:
		e.add("sidecar", levelWarn, "%v; without it a lease with a heartbeat timeout loses its heartbeat", registry.Advise(err))
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
func (e *examination) examineMetadata(ctx context.Context, certificates string) string {
	if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		e.add("metadata", levelNote, "not checked: AWS_EC2_METADATA_DISABLED is set")
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, hereTimeout)
	defer cancel()
	service := imds.New(imds.Endpoint(os.Getenv), slog.New(slog.DiscardHandler))
	me, err := service.Identity(ctx)
	if err != nil {
		e.add("metadata", levelNote, "this machine is not an EC2 instance, or its metadata service cannot be reached; only a sidecar needs it")
		return ""
	}
	e.add("metadata", levelOK, "this is %s in %s", me.InstanceID, me.Zone)
	e.examineProof(ctx, service, me, certificates)
	return me.InstanceID
}

// examineProof checks whether this instance could prove to others which one it is.
func (e *examination) examineProof(ctx context.Context, service *imds.Client, me imds.Identity, file string) {
	known, err := identity.ReadFile(file)
	if err != nil {
		e.add("identity", levelFail, "read --identity-certificates: %v", err)
		return
	}
	signed, err := service.SignedDocument(ctx)
	if err != nil {
		e.add("identity", levelNote, "not checked: the metadata service has no signed identity document (%v)", err)
		return
	}
	d, err := known.Verify(me.Region, signed)
	switch {
	case err != nil:
		e.add("identity", levelWarn, "this instance cannot prove which one it is: %v; --identity-certificates adds certificates of a Region", err)
	case d.InstanceID != me.InstanceID:
		e.add("identity", levelWarn, "this is %s, but its identity document is of %s", me.InstanceID, d.InstanceID)
	default:
		e.add("identity", levelOK, "its document proves that it is %s in %s/%s", d.InstanceID, d.Account, d.Region)
	}
}
