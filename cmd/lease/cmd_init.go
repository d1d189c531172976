package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/ec2/launch"
	"lapse/lease/etcd"
)

func initCommand() *ucli.Command {
	return &ucli.Command{
		Name: "init", Usage: "create the registry",
		Description: "A new registry observes: janitors report what they would terminate, and terminate nothing until `janitor\n" +
			"arm`. A registry that exists already is left as it is; --armed counts only where it is created.\n\n" +
			"   lease init\n" +
			"   lease init --namespace staging --armed\n" +
			"   lease init --anima key-pair --region region-1\n" +
			"   lease init --api https://lapse.example.com:8443\n\n" +
			"--anima notes, also in a registry that exists, how launches into these regions find what they create: by a\n" +
			"client token, or by a key pair of their own where the EC2 endpoint ignores client tokens.\n\n" +
			"--api notes, also in a registry that exists, where instances reach the API. From then on, each launch gives\n" +
			"its instances this URL and a join token in their user-data. https+srv://NAME finds the API through the DNS\n" +
			"records _lapse._tcp.NAME. --api none takes it away.\n\n" +
			"--uuid recreates a lost registry under the UUID that its instances bear in their tag lapse:registry; `lease\n" +
			"recover` then rebuilds their leases.\n\n" +
			"--rbac also creates the roles lapse-NAMESPACE-operator, -janitor and -sidecar in etcd, each with the keys that\n" +
			"it needs, or completes them. It takes nothing away, creates no user and enables nothing: it prints the etcdctl\n" +
			"commands for that. SECURITY.md says what the roles prevent, and what they cannot.\n\n" +
			"   lease init --rbac --dry-run\n" +
			"   lease init --rbac",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(),
			&ucli.StringFlag{Name: "anima", Usage: "note for --region that launches use `ANIMA`: client-token or key-pair", Category: cli.OtherFlags},
			&ucli.StringSliceFlag{Name: "region", Usage: "with --anima, note it for `REGION`; repeatable", DefaultText: "AWS settings", Category: cli.OtherFlags},
			cli.AccountFlag(),
			&ucli.StringFlag{Name: "api", Usage: "note `URL` at which instances reach the API, or none"},
			&ucli.BoolFlag{Name: "armed", Usage: "let janitors terminate from the start"},
			&ucli.BoolFlag{Name: "rbac", Usage: "also create etcd roles for operators, janitors and sidecars"},
			&ucli.BoolFlag{Name: "dry-run", Usage: "with --rbac, print what is missing; create nothing"},
			&ucli.StringFlag{Name: "uuid", Usage: "create the registry under `UUID`, to recover a lost one"}),
		Action: registry.WithStore(readInit, initialize),
	}
}

// readInit reads what a registry is to be created with.
func readInit(c *ucli.Context) (lost string, err error) {
	switch anima := c.String("anima"); anima {
	case "", string(launch.ClientTokens), string(lease.AnimaKeyPair):
	default:
		return "", cli.Usage("--anima %s must be client-token or key-pair", anima)
	}
	if api := c.String("api"); api != "" && api != noAPI {
		if err := lease.CheckAPI(api); err != nil {
			return "", err
		}
	}
	if c.IsSet("region") && c.String("anima") == "" {
		return "", cli.Usage("--region goes with --anima; a registry is for all regions")
	}
	if c.Bool("dry-run") && (!c.Bool("rbac") || c.Bool("armed") || c.String("anima") != "" || c.String("uuid") != "") {
		return "", cli.Usage("--dry-run goes with --rbac alone")
	}
	return readUUID(c)
}

// readUUID reads the UUID of a registry that was lost; empty if none was.
func readUUID(c *ucli.Context) (string, error) {
	lost := c.String("uuid")
	if _, err := uuid.Parse(lost); lost != "" && (err != nil || len(lost) != len(uuid.Nil.String())) {
		return "", cli.Usage("--uuid %q is not a UUID; copy it from an instance's tag %s", lost, lease.TagRegistry)
	}
	return lost, nil
}

func initialize(c *ucli.Context, store *etcd.Store, lost string) error {
	if c.Bool("rbac") {
		return initRoles(c, store, lost)
	}
	registry, err := initRegistry(c, store, lost)
	if err != nil {
		return err
	}
	return cli.Show(c, registry, func() error { return printRegistry(c, registry) })
}

// initRegistry creates the registry if there is none, notes in it what is to be noted, and says what comes next.
func initRegistry(c *ucli.Context, store *etcd.Store, lost string) (lease.Registry, error) {
	mode := lease.ModeObserve
	if c.Bool("armed") {
		mode = lease.ModeArmed
	}
	registry, created, err := create(c.Context, store, cmp.Or(lost, uuid.NewString()), mode)
	if err != nil {
		return registry, err
	}
	if lost != "" && registry.UUID != lost {
		return registry, cli.WithCode(cli.ExitRefused, fmt.Errorf("namespace %s already has registry %s; choose another --namespace, or leave out --uuid",
			c.String("namespace"), registry.UUID))
	}
	if c.String("anima") != "" {
		if registry, err = noteAnima(c, store); err != nil {
			return registry, err
		}
	}
	if c.String("api") != "" {
		if registry, err = noteAPI(c, store); err != nil {
			return registry, err
		}
	}
	sayNext(c, registry, created, mode)
	return registry, nil
}

// noAPI takes the URL of the API away from the registry.
const noAPI = "none"

// noteAPI notes where instances reach the API.
func noteAPI(c *ucli.Context, store *etcd.Store) (lease.Registry, error) {
	api := c.String("api")
	if api == noAPI {
		api = ""
	}
	_, noted, err := store.UpdateRegistry(c.Context, func(r lease.Registry) (lease.Registry, error) {
		r.API = api
		return r, nil
	})
	if err != nil {
		return noted, registry.Advise(err)
	}
	if api == "" {
		cli.Say(c, "noted: launches give their instances no join token")
	} else {
		cli.Say(c, "noted: launches give their instances a join token for %s unless they say otherwise", api)
	}
	return noted, nil
}

// noteAnima notes how launches into the regions of --region find what they create.
func noteAnima(c *ucli.Context, store *etcd.Store) (noted lease.Registry, err error) {
	anima := lease.Anima(c.String("anima"))
	if anima == launch.ClientTokens {
		anima = lease.AnimaClientToken
	}
	for _, region := range cloud.Regions(c) {
		here, err := openCloud(c.Context, c, region)
		if err != nil {
			return noted, err
		}
		_, noted, err = store.UpdateRegistry(c.Context, func(r lease.Registry) (lease.Registry, error) {
			return r.WithAnima(here.Location(), anima), nil
		})
		if err != nil {
			return noted, registry.Advise(err)
		}
		cli.Say(c, "noted: launches into %s use --anima %s unless they say otherwise", here.Location(), c.String("anima"))
	}
	return noted, nil
}

// create makes the registry, or returns the one that exists.
func create(ctx context.Context, store *etcd.Store, id string, mode lease.Mode) (r lease.Registry, created bool, err error) {
	r, err = store.Registry(ctx)
	if !cli.Is[*lease.NotFoundError](err) {
		return r, false, err
	}
	made := lease.NewRegistry(time.Now(), id, mode)
	made.ModeBy = cli.Actor()
	r, err = store.PutRegistry(ctx, made)
	if cli.Is[*lease.ConflictError](err) { // somebody else created it first
		r, err = store.Registry(ctx)
		return r, false, err
	}
	if err != nil {
		err = cli.WithCode(cli.ExitUnknown, fmt.Errorf("the registry may or may not have been created (%w); run `lease init` again", registry.Advise(err)))
	}
	return r, true, err
}

func sayNext(c *ucli.Context, r lease.Registry, created bool, asked lease.Mode) {
	switch {
	case !created && c.String("anima")+c.String("api") != "":
	case !created && asked == lease.ModeArmed && r.Mode != lease.ModeArmed:
		cli.Say(c, "the registry already exists and was not changed; arm it with `janitor arm`")
	case !created:
		cli.Say(c, "the registry already exists and was not changed")
	case asked == lease.ModeObserve:
		cli.Say(c, "next: start `janitor run`, read what it would terminate, then run `janitor arm`")
	}
}

func printRegistry(c *ucli.Context, r lease.Registry) error {
	_, err := fmt.Fprintf(c.App.Writer, "registry %s in namespace %s, mode %s\n", r.UUID, c.String("namespace"), r.Mode)
	return err
}
