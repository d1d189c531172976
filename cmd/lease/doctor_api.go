package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/identity"
	"lapse/lease/ec2"
)

// apiAnswers bounds the question to the API.
const apiAnswers = 5 * time.Second

// examineAPI checks whether the API that launches name to their instances can be reached from here, when its certificate ends,
// and whether the instances of all Regions that are swept can prove themselves to it.
func (e *examination) examineAPI(c *ucli.Context) {
	url := e.registry.API
	if e.registry.UUID == "" {
		return
	}
	if url == "" {
		e.add("api", levelNote, "none: sidecars reach etcd itself, unless `lease init --api URL` names one")
		return
	}
	certificate, err := askAPI(c.Context, url, c.String("api-cacert"))
	untrusted, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, misnamed := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, missing := errors.AsType[*fs.PathError](err)
	_, malformed := errors.AsType[*lease.LimitError](err)
	switch {
	case unknown:
		e.add("api", levelWarn, "the certificate of %s is not trusted here (%v): name its CA with --api-cacert", url, untrusted)
	case missing, malformed:
		e.add("api", levelWarn, "%s was not asked: %v; correct --api-cacert", url, err)
	case misnamed, invalid:
		e.add("api", levelFail, "no instance trusts %s: %v; replace its certificate", url, err)
	case err != nil:
		e.add("api", levelWarn, "%s cannot be reached from here: %v; instances may still reach it", url, err)
	default:
		e.add("api", levelOK, "%s answers", url)
		e.judgeCertificate("the certificate of "+url, certificate, time.Now())
	}
	known, err := identity.ReadFile(c.String("identity-certificates"))
	if err != nil {
		return // said of this machine
	}
	for _, location := range e.sweep.Locations {
		if len(known[location.Region]) == 0 {
			e.add("api", levelWarn, "no instance of %s can enrol: no certificate for its identity documents is known here; if the API knows one, "+
				"give its file here, too, with --identity-certificates", location.Region)
		}
	}
}

// askAPI returns the certificate of the API, if that answers.
func askAPI(ctx context.Context, url, caFile string) (*x509.Certificate, error) {
	client, err := api.NewClient(api.ClientConfig{URL: url, CAFile: caFile, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiAnswers)
	defer cancel()
	return client.Certificate(ctx)
}

// examineHops names instances whose user-data and identity document a container on them may read.
func (e *examination) examineHops(ctx context.Context, cloud *ec2.Cloud) {
	if e.registry.API == "" {
		return
	}
	ids, err := cloud.FarMetadata(ctx, e.registry.UUID)
	switch {
	case err != nil:
		e.add("hop limit", levelNote, "not checked: %v", advice.EC2(err))
	case len(ids) > 0:
		e.add("hop limit", levelWarn, "a container on %s may prove to be the instance, for the metadata service answers over several hops; unless one needs that: "+
			"`aws ec2 modify-instance-metadata-options --instance-id %s --http-put-response-hop-limit 1`", some(ids), ids[0])
	default:
		e.add("hop limit", levelOK, "the metadata service of each instance answers that instance alone")
	}
}
